//! Things that are known by their place.

/// Values by number. The numbers of those that have gone are used again: who keeps a number must bear that it names
/// another value, or nothing.
#[derive(Debug)]
pub(super) struct Arena<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Arena<T> {
    pub(super) fn new() -> Self {
        Arena {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, value: T) -> usize {
        if let Some(place) = self.free.pop() {
            self.places[place] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        self.places.len() - 1
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<T> {
        let value = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(value)
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.places.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(place, value)| Some((place, value.as_ref()?)))
    }
}

/// Of a place that its holder knows to be taken.
impl<T> std::ops::Index<usize> for Arena<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        self.get(place).expect("what refers to a place goes before it")
    }
}

impl<T> std::ops::IndexMut<usize> for Arena<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        self.get_mut(place)
            .expect("what refers to a place goes before it")
    }
}

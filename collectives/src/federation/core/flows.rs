//! The channels between two parties in one direction, by number and by name.

use std::collections::HashMap;

use super::keyed::Keyed;
use super::packet::FlowKey;

/// Flows, numbered from 0 in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Flows<F> {
    by_key: HashMap<FlowKey, u32, Keyed>,
    list: Vec<(FlowKey, F)>,
}

impl<F> Default for Flows<F> {
    fn default() -> Self {
        Flows {
            by_key: HashMap::default(),
            list: Vec::new(),
        }
    }
}

impl<F> Flows<F> {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn number(&self, key: &FlowKey) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The number of a flow, which is made by `new` from its number if there may be one more.
    pub(crate) fn make(&mut self, key: &FlowKey, most: u32, new: impl FnOnce(u32) -> F) -> Option<u32> {
        if let Some(number) = self.number(key) {
            return Some(number);
        }
        let number = u32::try_from(self.list.len())
            .ok()
            .filter(|number| *number < most)?;
        self.by_key.insert(key.clone(), number);
        self.list.push((key.clone(), new(number)));
        Some(number)
    }

    pub(crate) fn get(&self, key: &FlowKey) -> Option<&F> {
        let number = self.number(key)?;
        Some(&self.list[number as usize].1)
    }

    pub(crate) fn at(&mut self, number: u32) -> Option<(&FlowKey, &mut F)> {
        let (key, flow) = self.list.get_mut(number as usize)?;
        Some((key, flow))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&FlowKey, &F)> {
        self.list.iter().map(|(key, flow)| (key, flow))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut F> {
        self.list.iter_mut().map(|(_, flow)| flow)
    }
}

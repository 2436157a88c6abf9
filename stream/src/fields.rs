//! The fields of a JSON object, in the order in which they came.

use std::fmt;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

/// The fields of a JSON object, in the order in which they came, each once.
///
/// A list, for headers have few fields, and each message has a header: to hash the names was a tenth of what a receiver
/// of 10 kB messages did. The map is made when it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    list: Vec<(String, Value)>,
    map: OnceLock<Map<String, Value>>,
}

impl Fields {
    /// With more fields, names are looked up in a map while an object is read: a hostile one may have a million.
    const FEW: usize = 32;

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        if let Some(map) = self.map.get() {
            return map.get(name);
        }
        let found = self.list.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// Adds or replaces a field, which keeps its place.
    pub(crate) fn set(&mut self, name: String, value: Value) {
        self.map = OnceLock::new();
        match self.list.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.list.push((name, value)),
        }
    }

    pub(crate) fn as_map(&self) -> &Map<String, Value> {
        self.map.get_or_init(|| self.list.iter().cloned().collect())
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.list.len() == other.list.len()
            && self
                .list
                .iter()
                .all(|(name, value)| other.get(name) == Some(value))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.list.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some((name, value)) = object.next_entry::<String, Value>()? {
            if fields.list.len() < Fields::FEW {
                // Of a name that is there twice the last value counts, as everywhere.
                fields.set(name, value);
                continue;
            }
            let mut map: Map<String, Value> = fields.list.into_iter().collect();
            map.insert(name, value);
            while let Some((name, value)) = object.next_entry()? {
                map.insert(name, value);
            }
            return Ok(Fields {
                list: map.into_iter().collect(),
                map: OnceLock::new(),
            });
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Fields {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn few_and_many_fields_are_what_a_map_has() {
        for count in [0, 1, 31, 32, 33, 100] {
            let mut text: Vec<_> = (0..count).map(|n| format!("\"f{n}\":{n}")).collect();
            for twice in [0, 30, 33] {
                if twice < count {
                    text.push(format!("\"f{twice}\":\"again\""));
                }
            }
            let text = format!("{{{}}}", text.join(","));
            let fields = parsed(&text);
            let map: Map<String, Value> = serde_json::from_str(&text).unwrap();
            for (name, value) in &map {
                assert_eq!(fields.get(name), Some(value), "{count} {name}");
            }
            assert_eq!(fields.get("none"), None);
            assert_eq!(
                serde_json::to_string(&fields).unwrap(),
                serde_json::to_string(&map).unwrap()
            );
            assert_eq!(fields.as_map(), &map);
            assert_eq!(fields, parsed(&text));
        }
    }

    #[test]
    fn a_field_that_is_set_is_seen_everywhere_and_keeps_its_place() {
        let mut fields = parsed(r#"{"b":1,"a":2}"#);
        assert_eq!(fields.as_map()["b"], 1);
        fields.set("b".to_owned(), Value::from(3));
        assert_eq!(
            (fields.get("b"), &fields.as_map()["b"]),
            (Some(&Value::from(3)), &Value::from(3))
        );
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"b":3,"a":2}"#);
        assert_eq!(fields, parsed(r#"{"a":2,"b":3}"#), "in whatever order");
        assert_ne!(fields, parsed(r#"{"a":2,"b":4}"#));
        assert_ne!(fields, parsed(r#"{"a":2}"#));
    }
}

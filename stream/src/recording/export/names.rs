//! The channels that messages have, to say which there are to choose from.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Names of channels, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Names {
    order: Vec<String>,
    known: BTreeSet<String>,
}

impl Names {
    /// More than any sender has; the rest are not told.
    const MAX: usize = 4096;

    pub(super) fn add(&mut self, name: &str) {
        if self.order.len() < Self::MAX && !self.known.contains(name) {
            self.known.insert(name.to_owned());
            self.order.push(name.to_owned());
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// All but one.
    pub(super) fn without(&self, name: Option<&str>) -> Vec<String> {
        let others = self.order.iter().filter(|other| Some(other.as_str()) != name);
        others.cloned().collect()
    }
}

/// `a, b, c and 12 more`.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        // Into a string, which takes everything.
        let _ = write!(text, " and {} more", names.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_once_in_their_order_and_not_without_end() {
        let mut names = Names::default();
        for number in [2, 0, 2, 1] {
            names.add(&number.to_string());
        }
        assert_eq!(names.without(Some("0")), ["2", "1"]);
        assert_eq!(listed(&names.without(None)), "2, 0, 1");
        for number in 0..5000 {
            names.add(&number.to_string());
        }
        let all = names.without(None);
        assert_eq!(all.len(), Names::MAX);
        assert!(listed(&all).ends_with("18, 19 and 4076 more"), "{}", listed(&all));
        assert!(names.contains("7") && !names.contains("4999") && !names.is_empty());
    }
}

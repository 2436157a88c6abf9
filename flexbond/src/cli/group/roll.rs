//! Who is in a session, by name, and the lines that tell of it.

use std::collections::HashMap;

use crate::group::{Event, Gone, MemberId};

/// How many names are kept of those who went, so that they can still be named.
const KEPT: usize = 4096;

/// The names of those who came.
#[derive(Default)]
pub(super) struct Roll {
    names: HashMap<MemberId, String>,
    came: u64,
    went: u64,
    dead: u64,
}

impl Roll {
    /// A line about what happened.
    pub(super) fn note(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Joined {
                member,
                address,
                name,
            } => {
                self.came += 1;
                if self.names.len() >= KEPT {
                    self.names.clear();
                }
                if !name.is_empty() {
                    // Names are others' words: nothing in them may steer a terminal.
                    self.names.insert(*member, name.escape_debug().to_string());
                }
                let place = address.map_or_else(String::new, |address| format!(", at {address}"));
                Some(format!("joined: {}{place}", self.name(*member)))
            }
            Event::Gone { member, why } => {
                self.went += 1;
                let why = match why {
                    Some(Gone::Left) => ", left",
                    Some(Gone::Dead) => {
                        self.dead += 1;
                        ", dead"
                    }
                    Some(Gone::Evicted) => ", evicted",
                    _ => "",
                };
                Some(format!("gone: {}{why}", self.name(*member)))
            }
            Event::TurnedAway { address } => Some(format!(
                "turned away: {address}, there are as many members as there may be"
            )),
            _ => None,
        }
    }

    /// How a member is called: its number, and its name if it has one.
    pub(super) fn name(&self, member: MemberId) -> String {
        match self.names.get(&member) {
            Some(name) => format!("{member} ({name})"),
            None => member.to_string(),
        }
    }

    /// All of them, with commas.
    pub(super) fn names(&self, members: &[MemberId]) -> String {
        let names: Vec<_> = members.iter().map(|member| self.name(*member)).collect();
        names.join(", ")
    }

    /// How many came and went.
    pub(super) fn summary(&self) -> String {
        let dead = match self.dead {
            0 => String::new(),
            dead => format!(" ({dead} of them dead)"),
        };
        format!("{} came, {} went{dead}", self.came, self.went)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_and_goes_is_named() {
        let mut roll = Roll::default();
        let member = MemberId::COORDINATOR;
        let joined = Event::Joined {
            member,
            address: Some(([10, 0, 0, 7], 5000).into()),
            name: "ada\u{1b}[2J".to_owned(),
        };
        let line = roll.note(&joined).expect("a line");
        assert_eq!(line, "joined: the coordinator (ada\\u{1b}[2J), at 10.0.0.7:5000");
        for (why, text) in [
            (Some(Gone::Left), ", left"),
            (Some(Gone::Dead), ", dead"),
            (Some(Gone::Evicted), ", evicted"),
            (None, ""),
        ] {
            let line = roll.note(&Event::Gone { member, why }).expect("a line");
            assert!(
                line.starts_with("gone: ") && line.ends_with(&format!("){text}")),
                "{line}"
            );
        }
        assert_eq!(roll.summary(), "1 came, 4 went (1 of them dead)");
    }
}

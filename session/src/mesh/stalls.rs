//! Which links have stood still for so long that it is worth looking whether the path is still there. Without I/O.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What is known of links that somebody waits for, by the ids of their ranks.
#[derive(Debug)]
pub(super) struct Stalls {
    /// How long a link may stand still.
    patience: Duration,
    known: HashMap<u32, Standing>,
}

#[derive(Debug)]
struct Standing {
    moves: u64,
    since: Instant,
}

impl Stalls {
    pub(super) fn new(patience: Duration) -> Self {
        Stalls {
            patience,
            known: HashMap::new(),
        }
    }

    /// How often it is to be told of the links.
    pub(super) fn interval(&self) -> Duration {
        self.patience / 4
    }

    /// Is told how often something has moved on a link, or that nobody waits for it. True if somebody has waited for
    /// long and nothing has moved meanwhile; then the waiting counts anew.
    pub(super) fn note(&mut self, now: Instant, id: u32, moves: Option<u64>) -> bool {
        let Some(moves) = moves else {
            self.known.remove(&id);
            return false;
        };
        let standing = self.known.entry(id).or_insert(Standing { moves, since: now });
        if standing.moves != moves {
            *standing = Standing { moves, since: now };
        }
        let is_long = now >= standing.since + self.patience;
        if is_long {
            standing.since = now;
        }
        is_long
    }

    /// Forgets the links of ranks that are gone.
    pub(super) fn retain(&mut self, lives: impl Fn(u32) -> bool) {
        self.known.retain(|id, _| lives(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_waits_and_sees_nothing_move_has_stalled() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut stalls = Stalls::new(Duration::from_millis(100));
        assert!(!stalls.note(at(0), 1, Some(5)));
        assert!(!stalls.note(at(0), 2, Some(5)));
        assert!(!stalls.note(at(0), 3, Some(5)));
        assert!(!stalls.note(at(99), 1, Some(5)));
        assert!(!stalls.note(at(99), 2, Some(6)), "it has moved");
        assert!(!stalls.note(at(99), 3, None), "nobody waits");
        assert!(stalls.note(at(100), 1, Some(5)));
        assert!(!stalls.note(at(100), 2, Some(6)));
        assert!(!stalls.note(at(100), 3, Some(5)));
        assert!(!stalls.note(at(199), 1, Some(5)), "once in that time");
        assert!(stalls.note(at(199), 2, Some(6)));
        assert!(stalls.note(at(200), 1, Some(5)));
        stalls.retain(|id| id != 1);
        assert!(!stalls.note(at(400), 1, Some(5)));
    }
}

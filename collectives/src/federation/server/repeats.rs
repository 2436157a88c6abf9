//! Events that come again and again are told once in a while: who is refused asks again each second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::report::{EventLevel, ServerEvent};

/// The same is told so often at most.
const PACE: Duration = Duration::from_secs(60);
/// How many different ones are remembered; beyond that, all are told again.
const MOST: usize = 1024;

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    told: HashMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u64,
}

impl Repeats {
    /// Whether to tell this event now. One that was left out before says how often.
    pub(super) fn tell(&mut self, now: Instant, event: &mut ServerEvent) -> bool {
        if event.level != EventLevel::Warn {
            return true;
        }
        if self.told.len() >= MOST {
            self.told.retain(|_, told| now < told.at + PACE);
            if self.told.len() >= MOST {
                self.told.clear();
            }
        }
        let mut key = event.name.to_owned();
        // The port of a peer is another one each time.
        let fields = event.fields.iter().filter(|(name, _)| *name != "peer");
        fields.for_each(|(_, value)| key.extend(["\n", value]));
        let Some(told) = self.told.get_mut(&key) else {
            self.told.insert(key, Told { at: now, untold: 0 });
            return true;
        };
        if now < told.at + PACE {
            told.untold += 1;
            return false;
        }
        told.at = now;
        match std::mem::take(&mut told.untold) {
            0 => {}
            untold => event.add("untold", untold),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_minute_with_how_often_it_was() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let mut tell = |seconds: u64, peer: &str, party: &str, level| {
            let fields = vec![("peer", peer.to_owned()), ("party", party.to_owned())];
            let mut event = ServerEvent::new(level, "refused", fields, "text");
            repeats
                .tell(start + Duration::from_secs(seconds), &mut event)
                .then(|| event.to_string())
        };
        let warn = EventLevel::Warn;
        assert_eq!(tell(0, "x:1", "a", warn).as_deref(), Some("text"));
        assert_eq!(tell(1, "x:2", "a", warn), None);
        assert_eq!(tell(2, "x:2", "b", warn).as_deref(), Some("text"));
        assert_eq!(tell(3, "x:3", "a", warn), None);
        assert_eq!(tell(3, "x:3", "a", EventLevel::Info).as_deref(), Some("text"));
        let again = tell(60, "x:4", "a", warn);
        assert_eq!(
            again.as_deref(),
            Some("text (and 2 times before that were not told)")
        );
        for number in 0..2 * MOST {
            assert!(tell(61, "x:5", &format!("p{number}"), warn).is_some());
        }
        assert!(repeats.told.len() <= MOST);
    }
}

//! What a message server holds at most, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::federation::limits::{LimitError, Limits, millis};

/// Bounds and times of a message server. In a file, times are whole milliseconds, and their names end in `_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RelayLimits {
    /// How many bytes of messages the server keeps in memory. With a store, that is what is on its way to it and from it.
    /// What it knows of messages (512 bytes each), channels (1 KiB) and pairs of parties (4 KiB) is bounded by the same, for
    /// one job by half of it and for one party by a quarter, and by a quarter more for what was granted before. The first 16
    /// channels from one party to another are opened in any case. Default: 1 GiB; at least 1 MiB.
    pub memory_bytes: u64,
    /// How many bytes of messages the server keeps in its store, if it has one. Default: 64 GiB; at least 1 MiB.
    pub store_bytes: u64,
    /// How many bytes the messages that one party has sent may take, of all its jobs. Default: 256 MiB, with a store 16 GiB;
    /// at least 1 MiB.
    pub party_bytes: Option<u64>,
    /// How many bytes the messages of one job may take. Default: half of `memory_bytes`, with a store half of `store_bytes`;
    /// at least 1 MiB.
    pub job_bytes: Option<u64>,
    /// How many bytes of messages from one party to another are kept in memory when there is no store. One channel takes at
    /// most a third of what the others leave, so that one from which nobody receives does not stop them. A message that is
    /// larger than half of this is handed on as it comes and never kept whole; of servers in a row, the one with the smallest window counts.
    /// Default: 64 MiB; at least 64 KiB.
    pub window_bytes: u64,
    /// How many parties a job may have. Default: 256; from 2 to 4,096.
    pub parties_per_job: u32,
    /// How many jobs there may be. For one more, the one goes that is over since longest: all of it have left and nothing is
    /// kept, or it was aborted and nobody of it is connected. One whose parties may not know yet that their messages were
    /// received is over [`dead_after`](RelayLimits::dead_after) and ten times [`retry`](RelayLimits::retry) after they were
    /// last heard. Default: 1,024; at least 1.
    pub jobs: u32,
    /// How many jobs a party may take part in. Default: 64; at least 1.
    pub jobs_per_party: u32,
    /// How many channels there may be from one party to another. Default: 4,096; from 1 to 1,048,576.
    pub channels: u32,
    /// The largest message in bytes. Default: 1 GiB; from 1 to 2⁴⁰.
    pub message: u64,
    /// How long a message waits for its receiver at most, whatever its sender says. Default: 7 days; from 1 s to 10 years.
    #[serde(rename = "ttl_ms", with = "millis")]
    pub ttl: Duration,
    /// A job of which nobody is connected and nothing is kept is forgotten after so long. Default: 1 h; from 1 s to 10
    /// years.
    #[serde(rename = "job_idle_ms", with = "millis")]
    pub job_idle: Duration,
    /// A job that was aborted is forgotten after so long, or earlier for others; until then, all who come are told. It takes
    /// no room meanwhile: its messages and channels go at once, and the rest when nobody of it is connected. Default: 24 h;
    /// from 1 s to 10 years.
    #[serde(rename = "aborted_ms", with = "millis")]
    pub aborted: Duration,
    /// As [`Limits::retry`]. Default: 1 s; from 10 ms to 1 h.
    #[serde(rename = "retry_ms", with = "millis")]
    pub retry: Duration,
    /// As [`Limits::heartbeat`]. Default: 500 ms; at most a third of `dead_after`, at least 1 ms.
    #[serde(rename = "heartbeat_ms", with = "millis")]
    pub heartbeat: Duration,
    /// As [`Limits::dead_after`]. Default: 3 s; at most 10 years.
    #[serde(rename = "dead_after_ms", with = "millis")]
    pub dead_after: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        let Limits {
            retry,
            heartbeat,
            dead_after,
            ..
        } = Limits::default();
        RelayLimits {
            memory_bytes: 1 << 30,
            store_bytes: 64 << 30,
            party_bytes: None,
            job_bytes: None,
            window_bytes: 64 << 20,
            parties_per_job: 256,
            jobs: 1024,
            jobs_per_party: 64,
            channels: 4096,
            message: 1 << 30,
            ttl: Duration::from_secs(7 * 24 * 3600),
            job_idle: Duration::from_secs(3600),
            aborted: Duration::from_secs(24 * 3600),
            retry,
            heartbeat,
            dead_after,
        }
    }
}

/// The least that a bound on bytes of messages may be.
const LEAST: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);
/// The longest time that may be given.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

impl RelayLimits {
    /// Whether all limits are in their bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn validate(&self) -> Result<(), LimitError> {
        let least = "must be at least 1 MiB";
        let (times, time) = (SECOND..=LONGEST, "must be from 1 s to 10 years");
        let checks = [
            (self.memory_bytes >= LEAST, "memory_bytes", least),
            (self.store_bytes >= LEAST, "store_bytes", least),
            (
                self.party_bytes.is_none_or(|bytes| bytes >= LEAST),
                "party_bytes",
                least,
            ),
            (
                self.job_bytes.is_none_or(|bytes| bytes >= LEAST),
                "job_bytes",
                least,
            ),
            (
                self.window_bytes >= 64 << 10,
                "window_bytes",
                "must be at least 64 KiB",
            ),
            (
                (2..=4096).contains(&self.parties_per_job),
                "parties_per_job",
                "must be from 2 to 4,096",
            ),
            (self.jobs >= 1, "jobs", "must be at least 1"),
            (self.jobs_per_party >= 1, "jobs_per_party", "must be at least 1"),
            (
                (1..=1 << 20).contains(&self.channels),
                "channels",
                "must be from 1 to 1,048,576",
            ),
            (
                (1..=1 << 40).contains(&self.message),
                "message",
                "must be from 1 to 2^40 bytes",
            ),
            (times.contains(&self.ttl), "ttl", time),
            (times.contains(&self.job_idle), "job_idle", time),
            (times.contains(&self.aborted), "aborted", time),
            (
                self.dead_after <= LONGEST,
                "dead_after",
                "must be at most 10 years",
            ),
        ];
        match checks.into_iter().find(|(is_good, ..)| !is_good) {
            Some((_, limit, reason)) => Err(LimitError { limit, reason }),
            None => self.times().validate(),
        }
    }

    /// The times of the links.
    pub(super) fn times(&self) -> Limits {
        Limits {
            retry: self.retry,
            heartbeat: self.heartbeat,
            dead_after: self.dead_after,
            ..Limits::default()
        }
    }

    /// What may be kept altogether.
    pub(super) fn total(&self, is_durable: bool) -> u64 {
        if is_durable {
            self.store_bytes
        } else {
            self.memory_bytes
        }
    }

    pub(super) fn of_party(&self, is_durable: bool) -> u64 {
        let default = if is_durable { 16 << 30 } else { 256 << 20 };
        self.party_bytes.unwrap_or(default).min(self.total(is_durable))
    }

    pub(super) fn of_job(&self, is_durable: bool) -> u64 {
        let total = self.total(is_durable);
        self.job_bytes.unwrap_or(total / 2).min(total)
    }

    /// What may be kept from one party to another.
    pub(super) fn of_pair(&self, is_durable: bool) -> u64 {
        let most = self.of_party(is_durable).min(self.of_job(is_durable));
        if is_durable {
            most
        } else {
            self.window_bytes.min(most)
        }
    }

    /// What a new process of a sender may count on of that, when so much is kept of those before it.
    pub(super) fn room_of_pair(&self, is_durable: bool, held: u64) -> u64 {
        let all = self.of_pair(is_durable);
        // What is kept now goes in time.
        all.saturating_sub(held).max(all / 4)
    }

    /// Messages of more bytes are not kept whole.
    pub(super) fn custody(&self, is_durable: bool) -> u64 {
        if is_durable {
            u64::MAX
        } else {
            self.of_pair(is_durable) / 2
        }
    }

    /// The largest message that is taken: one that must be kept whole has to find room.
    pub(super) fn largest(&self, is_durable: bool) -> u64 {
        if is_durable {
            self.message.min(self.of_pair(is_durable) / 2)
        } else {
            self.message
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_out_of_bounds_is_named() {
        assert_eq!(RelayLimits::default().validate(), Ok(()));
        let limits = RelayLimits {
            party_bytes: Some(1),
            ..RelayLimits::default()
        };
        let error = limits.validate().unwrap_err();
        assert_eq!(error.to_string(), "limit `party_bytes`: must be at least 1 MiB");
        let limits = RelayLimits {
            retry: Duration::ZERO,
            ..RelayLimits::default()
        };
        assert_eq!(limits.validate().unwrap_err().limit, "retry");
    }

    #[test]
    fn no_time_is_so_long_that_it_cannot_be_counted() {
        for time in [Duration::MAX, LONGEST + SECOND, SECOND / 2] {
            let limits = RelayLimits::default;
            let all = [
                (
                    RelayLimits {
                        job_idle: time,
                        ..limits()
                    },
                    "job_idle",
                ),
                (
                    RelayLimits {
                        aborted: time,
                        ..limits()
                    },
                    "aborted",
                ),
                (
                    RelayLimits {
                        ttl: time,
                        ..limits()
                    },
                    "ttl",
                ),
            ];
            for (limits, name) in all {
                assert_eq!(limits.validate().unwrap_err().limit, name, "{time:?}");
            }
        }
    }

    #[test]
    fn what_must_be_kept_whole_fits() {
        for is_durable in [false, true] {
            let limits = RelayLimits {
                memory_bytes: LEAST,
                store_bytes: LEAST,
                ..RelayLimits::default()
            };
            let whole = limits.largest(is_durable).min(limits.custody(is_durable));
            assert!(whole <= limits.of_pair(is_durable) / 2, "{whole}");
        }
    }
}

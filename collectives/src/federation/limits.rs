//! What a party holds at most, and how long it waits.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A limit that is out of bounds. Nothing has changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("limit `{}`: {reason}", self.key())]
pub struct LimitError {
    /// Its name.
    pub limit: &'static str,
    /// What is wrong, and what it must be.
    pub reason: &'static str,
}

impl LimitError {
    /// Its name in a file.
    fn key(&self) -> String {
        match self.limit {
            "ttl" | "timeout" | "retry" | "heartbeat" | "dead_after" | "linger" | "job_idle" | "aborted" => {
                format!("{}_ms", self.limit)
            }
            limit => limit.to_owned(),
        }
    }
}

/// Bounds and times of one party. In a file, times are whole milliseconds, and their names end in `_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// How many messages of one channel to one party may be on their way: sent, and not yet received by the other
    /// program. A send that would be one more waits. The smaller one of the two parties' limits counts.
    /// Default: 1,024; from 1 to 65,536.
    pub window_messages: u32,
    /// How many bytes of one channel to one party may be on their way. One message is always let through, whatever its
    /// size. The smaller one of the two parties' limits counts. Default: 64 MiB; at least 1.
    pub window_bytes: u64,
    /// The largest message in bytes, all its buffers together. The memory of the last one of 16 MiB or more that the program
    /// has received and dropped is kept for the next of about its size, for 10 to 20 s. Default: 1 GiB; from 1 to 2⁴⁰.
    pub max_message: u64,
    /// A message is cut into pieces of this many bytes, unless the parties are in one process. Default: 1 MiB; from
    /// 1 KiB to 1 GiB.
    pub piece: u32,
    /// How many channels there may be to one party, and as many from it. Default: 4,096; from 1 to 1,048,576.
    pub channels: u32,
    /// How long a message may wait for its receiver; none for ever. Its receive then ends with an error that says so.
    /// It is measured by the sender before the message leaves, and by the receiver from then on, so clocks need not
    /// agree. Default: none.
    #[serde(rename = "ttl_ms", with = "optional_millis")]
    pub ttl: Option<Duration>,
    /// How long a send or receive waits unless it is told otherwise. Default: 30 s.
    #[serde(rename = "timeout_ms", with = "millis")]
    pub timeout: Duration,
    /// How long what was sent may take to be acknowledged before it is sent again; twice as long after each time, up to
    /// ten times this. Default: 1 s; from 10 ms to 1 h.
    #[serde(rename = "retry_ms", with = "millis")]
    pub retry: Duration,
    /// How often a party says that it lives when it has nothing else to say. Default: 500 ms; at most a third of
    /// [`dead_after`](Limits::dead_after), at least 1 ms.
    #[serde(rename = "heartbeat_ms", with = "millis")]
    pub heartbeat: Duration,
    /// A party of which nothing was heard for so long is held for dead: another process may take its place.
    /// Default: 3 s.
    #[serde(rename = "dead_after_ms", with = "millis")]
    pub dead_after: Duration,
    /// How long a party that ends tries to hand over what it has sent. Default: 30 s.
    #[serde(rename = "linger_ms", with = "millis")]
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            window_messages: 1024,
            window_bytes: 64 << 20,
            max_message: 1 << 30,
            piece: 1 << 20,
            channels: 4096,
            ttl: None,
            timeout: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            heartbeat: Duration::from_millis(500),
            dead_after: Duration::from_secs(3),
            linger: Duration::from_secs(30),
        }
    }
}

macro_rules! setters {
    ($($name:ident: $kind:ty),* $(,)?) => {
        impl Limits {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Limits::", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, value: $kind) -> Self {
                    self.$name = value;
                    self
                }
            )*
        }
    };
}

setters! {
    window_messages: u32,
    window_bytes: u64,
    max_message: u64,
    piece: u32,
    channels: u32,
    ttl: Option<Duration>,
    timeout: Duration,
    retry: Duration,
    heartbeat: Duration,
    dead_after: Duration,
    linger: Duration,
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Limits::default()
    }

    /// Whether all limits are in their bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn validate(&self) -> Result<(), LimitError> {
        let checks = [
            (
                (1..=65_536).contains(&self.window_messages),
                "window_messages",
                "must be from 1 to 65,536",
            ),
            (self.window_bytes >= 1, "window_bytes", "must be at least 1"),
            (
                (1..=1 << 40).contains(&self.max_message),
                "max_message",
                "must be from 1 to 2^40 bytes",
            ),
            (
                (1 << 10..=1 << 30).contains(&self.piece),
                "piece",
                "must be from 1 KiB to 1 GiB",
            ),
            (
                (1..=1 << 20).contains(&self.channels),
                "channels",
                "must be from 1 to 1,048,576",
            ),
            (
                self.ttl != Some(Duration::ZERO),
                "ttl",
                "must be more than nothing, or be left out",
            ),
            (
                (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&self.retry),
                "retry",
                "must be from 10 ms to 1 h",
            ),
            (
                self.heartbeat >= Duration::from_millis(1),
                "heartbeat",
                "must be at least 1 ms",
            ),
            (
                self.heartbeat <= self.dead_after / 3,
                "heartbeat",
                "must be at most a third of `dead_after`",
            ),
        ];
        match checks.into_iter().find(|(is_good, ..)| !is_good) {
            Some((_, limit, reason)) => Err(LimitError { limit, reason }),
            None => Ok(()),
        }
    }
}

pub(super) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(time.as_millis())
            .unwrap_or(u64::MAX)
            .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

pub(super) mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(in crate::federation) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
            .serialize(serializer)
    }

    pub(in crate::federation) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_out_of_bounds_is_named() {
        assert_eq!(Limits::default().validate(), Ok(()));
        let limits = Limits {
            heartbeat: Duration::from_secs(2),
            ..Limits::default()
        };
        assert_eq!(
            limits.validate().unwrap_err().to_string(),
            "limit `heartbeat_ms`: must be at most a third of `dead_after`"
        );
    }

    #[test]
    fn a_file_has_milliseconds() {
        let limits: Limits = serde_json::from_str(r#"{"ttl_ms": 1500, "retry_ms": 20}"#).unwrap();
        assert_eq!(limits.ttl, Some(Duration::from_millis(1500)));
        assert_eq!(limits.retry, Duration::from_millis(20));
        let written = serde_json::to_string(&limits).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&written).unwrap(), limits);
        assert!(serde_json::from_str::<Limits>(r#"{"ttl": 1}"#).is_err());
    }
}

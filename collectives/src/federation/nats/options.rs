//! What the configuration says of NATS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::federation::credentials::below;

/// What begins a `server` that is one of NATS.
const SCHEME: &str = "nats://";

/// How a job is kept in NATS JetStream, for a `server` of the form `nats://host:4222`, or several of one cluster with
/// commas between them. All parties should say the same: the first one makes the streams, and they stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NatsOptions {
    /// What the names of streams and subjects begin with. Default: `flexbond`; 1 to 64 letters, digits, `-` or `_`.
    pub prefix: String,
    /// How many servers of the cluster keep each message. Default: 1; from 1 to 5.
    pub replicas: u8,
    /// How many bytes the messages of the job may take altogether; more than that wait at their senders. Default: none,
    /// which leaves it to the limits of the server.
    pub max_bytes: Option<u64>,
    /// Messages of this age are removed, received or not; who asks for one is told. Default: none, which keeps them until
    /// they are received or the job is [forgotten](crate::federation::Federation::forget).
    #[serde(rename = "max_age_ms", with = "crate::federation::limits::optional_millis")]
    pub max_age: Option<Duration>,
    /// Whether messages are kept in the servers' memory, and are gone when these stop, instead of files. Default: no.
    pub memory: bool,
    /// The file with this party's credentials (`nsc` writes it; the ending is `.creds`). In a file, a relative path counts
    /// from the folder of the configuration. Default: none; a user and a password may be in the address.
    pub credentials: Option<PathBuf>,
}

impl Default for NatsOptions {
    fn default() -> Self {
        NatsOptions {
            prefix: "flexbond".to_owned(),
            replicas: 1,
            max_bytes: None,
            max_age: None,
            memory: false,
            credentials: None,
        }
    }
}

macro_rules! setters {
    ($($name:ident: $kind:ty),* $(,)?) => {
        impl NatsOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](NatsOptions::", stringify!($name), ").")]
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
    prefix: String,
    replicas: u8,
    max_bytes: Option<u64>,
    max_age: Option<Duration>,
    memory: bool,
    credentials: Option<PathBuf>,
}

impl NatsOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        NatsOptions::default()
    }

    /// The first key that is wrong, and what it must be.
    pub(in crate::federation) fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        let checks = [
            (
                is_prefix(&self.prefix),
                "nats.prefix",
                "must be 1 to 64 letters, digits, `-` or `_`",
            ),
            (
                (1..=5).contains(&self.replicas),
                "nats.replicas",
                "must be from 1 to 5",
            ),
            (
                self.max_bytes
                    .is_none_or(|bytes| (1 << 20..=1 << 60).contains(&bytes)),
                "nats.max_bytes",
                "must be from 1 MiB to 2^60, or be left out",
            ),
            (
                self.max_age.is_none_or(|age| age >= Duration::from_secs(1)),
                "nats.max_age_ms",
                "must be at least 1 s, or be left out",
            ),
        ];
        match checks.into_iter().find(|(is_good, ..)| !is_good) {
            Some((_, key, reason)) => Err((key, reason)),
            None => Ok(()),
        }
    }

    pub(in crate::federation) fn below(&mut self, folder: &Path) {
        self.credentials.iter_mut().for_each(|path| below(folder, path));
    }
}

/// Whether a `server` is one of NATS.
pub(in crate::federation) fn is_nats(server: &str) -> bool {
    server.starts_with(SCHEME)
}

/// Whether names of streams and subjects may begin so.
fn is_prefix(prefix: &str) -> bool {
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(is_plain)
}

/// What tokens of subjects may have.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

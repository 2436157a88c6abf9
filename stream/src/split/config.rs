//! What is split, and how: the JSON of `m_split -c`, the original's and what is new here.

use std::collections::HashMap;
#[cfg(feature = "multicast")]
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use flexbond_transport::Endpoint;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Boundaries, Filter, Policy, Rule};
use crate::{Attach, ConnectOptions, Mode};

/// What is split, and how.
///
/// ```
/// use std::error::Error;
///
/// use flexbond_stream::split::SplitConfig;
///
/// let config: SplitConfig = r#"{
///     "source": { "address": "tcp://localhost:7777", "mode": "PULL", "queue_size": 10 },
///     "streams": [{ "address": "tcp://*:8888", "mode": "PUSH", "modulo": 1000 }]
/// }"#
/// .parse()?;
/// assert_eq!(config.streams[0].queue_size, 100);
///
/// let error = r#"{ "source": { "adress": "tcp://localhost:7777" }, "streams": [] }"#.parse::<SplitConfig>();
/// assert!(error.unwrap_err().source().unwrap().to_string().contains("adress"));
/// # Ok::<(), flexbond_stream::split::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SplitConfig {
    /// Where messages come from.
    pub source: SourceConfig,
    /// Where they go: 1 to 1024 outputs with different addresses.
    pub streams: Vec<OutputConfig>,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SourceConfig {
    /// `tcp://host:port` is connected to, `tcp://*:port` is bound.
    pub address: String,
    /// PULL (default) or SUB.
    #[serde(default)]
    pub mode: SourceMode,
    /// Messages that may wait to be received. Default 100.
    #[serde(default = "queue_size")]
    pub queue_size: usize,
    /// `connect` or `bind`, where the address alone says the wrong thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Attach>,
    /// `udp://`, where it is bound: the group address to send to, once for all. Default: that of the options that
    /// [`Split::connect_with`](super::Split::connect_with) is given.
    #[cfg(feature = "multicast")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multicast: Option<SocketAddr>,
}

/// Where messages go, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OutputConfig {
    /// `tcp://host:port` is connected to, `tcp://*:port` is bound.
    pub address: String,
    /// PUSH (default) or PUB.
    #[serde(default)]
    pub mode: OutputMode,
    /// Messages that may wait for this output. Default 100; 0 is the sockets' own large bound.
    #[serde(default = "queue_size")]
    pub queue_size: usize,
    /// Only every so many-th message, beginning with the first. Default 1: all of them.
    #[serde(default = "all")]
    pub modulo: NonZeroU64,
    /// Which messages. Default: all. Of those, `modulo` selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Outputs of the same group share their messages, one to each in turn. Default: none. They must have the same
    /// `modulo`, `filter` and `boundaries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What happens when this output takes nothing. Default `drop-stalled`. What it means for a PUB is
    /// said at [`Policy`].
    #[serde(default)]
    pub policy: Policy,
    /// `drop-stalled`: how long the output may take nothing, in ms. Default 2,000.
    #[serde(default = "patience_ms")]
    pub patience_ms: u64,
    /// What happens with the beginnings and ends of series. Default `all`.
    #[serde(default)]
    pub boundaries: Boundaries,
    /// How long what waits is still sent when the output is closed, in ms. Default 30,000.
    #[serde(default = "linger_ms")]
    pub linger_ms: u64,
    /// `connect` or `bind`, where the address alone says the wrong thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<Attach>,
    /// `udp://`, where it is bound: the group address to send to, once for all. Default: that of the options that
    /// [`Split::connect_with`](super::Split::connect_with) is given.
    #[cfg(feature = "multicast")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multicast: Option<SocketAddr>,
}

/// How a source is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceMode {
    /// Every message of the source goes to one of its receivers.
    #[default]
    #[serde(rename = "PULL", alias = "pull")]
    Pull,
    /// Every message of the source goes to all of its receivers.
    #[serde(rename = "SUB", alias = "sub")]
    Sub,
}

/// How an output is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputMode {
    /// Every message goes to one of the receivers.
    #[default]
    #[serde(rename = "PUSH", alias = "push")]
    Push,
    /// Every message goes to all of the receivers.
    #[serde(rename = "PUB", alias = "pub")]
    Pub,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is no JSON, or not of this form; says where, and names the field.
    #[error("the configuration is not understood")]
    Json(#[from] serde_json::Error),
    /// There is no output.
    #[error("the configuration has no streams to send to")]
    NoOutput,
    /// There are too many outputs.
    #[error("the configuration has {0} streams to send to, more than {max}", max = SplitConfig::MAX_OUTPUTS)]
    TooManyOutputs(usize),
    /// Two outputs have the same address.
    #[error("the address {0} is there twice")]
    Repeated(String),
    /// The outputs of a group are not alike.
    #[error(
        "the streams of group {group} differ in {field}; a group shares the messages that pass, so they must agree"
    )]
    Group {
        /// Which group.
        group: String,
        /// In what they differ.
        field: &'static str,
    },
}

fn queue_size() -> usize {
    100
}

fn all() -> NonZeroU64 {
    NonZeroU64::MIN
}

fn patience_ms() -> u64 {
    2_000
}

fn linger_ms() -> u64 {
    30_000
}

/// Whether an address is bound or connected to: `*` and the unspecified addresses of IP are nobody to connect to.
#[must_use]
pub fn attach_of(address: &str) -> Attach {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    let everybody = ["*:", "0.0.0.0:", "[::]:"];
    match everybody.iter().any(|prefix| host.starts_with(prefix)) {
        true => Attach::Bind,
        false => Attach::Connect,
    }
}

impl SplitConfig {
    /// The most outputs.
    pub const MAX_OUTPUTS: usize = 1024;

    /// From one address to others, all with default options.
    #[must_use]
    pub fn new<A: Into<String>>(source: impl Into<String>, streams: impl IntoIterator<Item = A>) -> Self {
        SplitConfig {
            source: SourceConfig::new(source),
            streams: streams.into_iter().map(OutputConfig::new).collect(),
        }
    }

    /// Checks what the form alone does not say.
    ///
    /// # Errors
    /// [`ConfigError`], for the first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.streams.len() {
            0 => return Err(ConfigError::NoOutput),
            count if count > Self::MAX_OUTPUTS => return Err(ConfigError::TooManyOutputs(count)),
            _ => {}
        }
        let mut addresses = std::collections::HashSet::new();
        let mut groups: HashMap<&str, &OutputConfig> = HashMap::new();
        for output in &self.streams {
            if !addresses.insert(&output.address) {
                return Err(ConfigError::Repeated(output.address.clone()));
            }
            let Some(group) = &output.group else { continue };
            let first = *groups.entry(group).or_insert(output);
            let field = if first.modulo != output.modulo {
                "modulo"
            } else if first.filter != output.filter {
                "filter"
            } else if first.boundaries != output.boundaries {
                "boundaries"
            } else {
                continue;
            };
            return Err(ConfigError::Group {
                group: group.clone(),
                field,
            });
        }
        Ok(())
    }
}

impl FromStr for SplitConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let config: SplitConfig = serde_json::from_str(text)?;
        config.validate()?;
        Ok(config)
    }
}

impl SourceConfig {
    /// An address, with default options.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        SourceConfig {
            address: address.into(),
            mode: SourceMode::default(),
            queue_size: queue_size(),
            attach: None,
            #[cfg(feature = "multicast")]
            multicast: None,
        }
    }

    /// Whether it is joined in the same way, whatever else is set.
    pub(super) fn is_same(&self, other: &SourceConfig) -> bool {
        self.address == other.address && self.options().joins_as(&other.options())
    }

    /// How to join the source.
    #[must_use]
    pub fn options(&self) -> ConnectOptions {
        self.options_over(&ConnectOptions::new())
    }

    /// As [`options`](Self::options), over others that say the rest.
    pub(super) fn options_over(&self, base: &ConnectOptions) -> ConnectOptions {
        let mode = match self.mode {
            SourceMode::Pull => Mode::Pull,
            SourceMode::Sub => Mode::Sub,
        };
        let base = base.clone();
        #[cfg(feature = "multicast")]
        let base = match self.multicast {
            Some(group) => base.multicast(group),
            None => base,
        };
        base.mode(mode)
            .attach(self.attach.unwrap_or_else(|| attach_of(&self.address)))
            .queue_size(self.queue_size)
    }
}

impl OutputConfig {
    /// An address, with default options.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        OutputConfig {
            address: address.into(),
            mode: OutputMode::default(),
            queue_size: queue_size(),
            modulo: all(),
            filter: None,
            group: None,
            policy: Policy::default(),
            patience_ms: patience_ms(),
            boundaries: Boundaries::default(),
            linger_ms: linger_ms(),
            attach: None,
            #[cfg(feature = "multicast")]
            multicast: None,
        }
    }

    /// How to open the output.
    #[must_use]
    pub fn options(&self) -> ConnectOptions {
        self.options_over(&ConnectOptions::new())
    }

    /// As [`options`](Self::options), over others that say the rest.
    pub(super) fn options_over(&self, base: &ConnectOptions) -> ConnectOptions {
        let mode = match self.mode {
            OutputMode::Push => Mode::Push,
            OutputMode::Pub => Mode::Pub,
        };
        // What waits in the socket cannot be dropped any more, so with this policy little should.
        let queue_size = match (self.policy, self.queue_size) {
            (Policy::DropOldest, 0) => 8,
            (Policy::DropOldest, size) => size.min(8),
            (_, size) => size,
        };
        let base = base.clone();
        #[cfg(feature = "multicast")]
        let base = match self.multicast {
            Some(group) => base.multicast(group),
            None => base,
        };
        base.mode(mode)
            .attach(self.attach.unwrap_or_else(|| attach_of(&self.address)))
            .queue_size(queue_size)
            .linger(Duration::from_millis(self.linger_ms))
            .slow_peer(self.policy.slow_peer())
    }

    /// Whether it listens where `endpoint` does; the same port at another interface may be the same.
    pub(super) fn listens_at(&self, endpoint: &Endpoint) -> bool {
        if self.options().attach != Attach::Bind {
            return false;
        }
        match (self.address.parse::<Endpoint>(), endpoint) {
            (Ok(Endpoint::Tcp(own)), Endpoint::Tcp(other)) => own.port() != 0 && own.port() == other.port(),
            (Ok(Endpoint::Udp(own)), Endpoint::Udp(other)) => own.port() != 0 && own.port() == other.port(),
            (Ok(own), other) => own == *other,
            (Err(_), _) => false,
        }
    }

    /// What goes to the output, and how much may wait for it.
    #[must_use]
    pub fn rule(&self) -> Rule {
        Rule {
            filter: self.filter.clone(),
            modulo: self.modulo,
            group: self.group.clone(),
            boundaries: self.boundaries,
            policy: self.policy,
            patience: Duration::from_millis(self.patience_ms),
            queue_size: self.queue_size,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn parse(text: &str) -> Result<SplitConfig, ConfigError> {
        text.parse()
    }

    #[test]
    fn the_original_form_is_read_as_it_is_documented() {
        let config = parse(
            r#"{
                "source": { "address": "tcp://localhost:7777", "mode": "PULL", "queue_size": 10 },
                "streams": [{ "address": "tcp://*:8888", "mode": "PUSH" }]
            }"#,
        )
        .unwrap();
        let mut expected = SplitConfig::new("tcp://localhost:7777", ["tcp://*:8888"]);
        expected.source.queue_size = 10;
        assert_eq!(config, expected);
        assert_eq!(config.source.options().attach, Attach::Connect);
        assert_eq!(config.streams[0].options().attach, Attach::Bind);

        let config =
            parse(r#"{"source":{"address":"a"},"streams":[{"address":"b","mode":"PUB","modulo":1000}]}"#);
        let config = config.unwrap();
        assert_eq!(
            (config.source.mode, config.source.queue_size),
            (SourceMode::Pull, 100)
        );
        assert_eq!(config.streams[0].mode, OutputMode::Pub);
        assert_eq!(
            (config.streams[0].queue_size, config.streams[0].modulo.get()),
            (100, 1000)
        );
    }

    #[test]
    fn what_is_new_is_read_and_written() {
        let text = r#"{"source":{"address":"a","mode":"SUB"},"streams":[
            {"address":"b","filter":"frame % 2 = 0","policy":"wait","group":"g","attach":"bind"},
            {"address":"c","filter":"frame%2==0","policy":"drop-oldest","group":"g","boundaries":"all"},
            {"address":"d","policy":"drop-newest","boundaries":"counted","patience_ms":5,"linger_ms":6},
            {"address":"e","policy":"drop-stalled"}]}"#;
        let config = parse(text).unwrap();
        assert_eq!(config.streams[0].options().attach, Attach::Bind);
        assert_eq!(config.streams[1].options().queue_size, 8);
        assert_eq!(config.streams[3].policy, Policy::default());
        let again = parse(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("{", "EOF"),
            (r#"{"streams":[]}"#, "source"),
            (r#"{"source":{"address":"a"},"streams":[]}"#, "no streams"),
            (r#"{"source":{"address":"a","modulo":2},"streams":[]}"#, "modulo"),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b","qeue_size":2}]}"#,
                "qeue_size",
            ),
            (r#"{"source":{"address":"a"},"streams":[],"extra":2}"#, "extra"),
            (r#"{"source":{"address":"a","mode":"PUSH"},"streams":[]}"#, "PUSH"),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b","mode":"PULL"}]}"#,
                "PULL",
            ),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b","modulo":0}]}"#,
                "nonzero",
            ),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b","queue_size":-1}]}"#,
                "-1",
            ),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b","filter":"x ~ 1"}]}"#,
                "at byte 2",
            ),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b","policy":"drop"}]}"#,
                "drop-newest",
            ),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b"},{"address":"b"}]}"#,
                "twice",
            ),
            (
                r#"{"source":{"address":"a"},"streams":[{"address":"b","group":"g"},{"address":"c","group":"g","modulo":2}]}"#,
                "modulo",
            ),
        ] {
            let error = parse(text).unwrap_err();
            let error = format!("{error}: {:?}", error.source().map(ToString::to_string));
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn who_is_bound_and_who_connects() {
        for (address, attach) in [
            ("tcp://*:8888", Attach::Bind),
            ("tcp://0.0.0.0:8888", Attach::Bind),
            ("tcp://[::]:8888", Attach::Bind),
            ("tcp://localhost:8888", Attach::Connect),
            ("tcp://10.0.0.0:8888", Attach::Connect),
            ("inproc://*", Attach::Connect),
            ("ipc:///run/split", Attach::Connect),
        ] {
            assert_eq!(attach_of(address), attach, "{address}");
        }
    }
}

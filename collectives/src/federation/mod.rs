//! Channels between the parties of a federated job, by name.

mod broadcast;
mod carrier;
mod config;
mod core;
mod direct;
mod driver;
mod error;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod federation;
mod limits;
mod line;
mod memory;
mod name;
mod stats;
mod variable;

pub use flexbond_transport::Message;

pub use self::broadcast::BroadcastChannel;
pub use self::carrier::{Arrival, Carrier};
pub use self::config::{Config, ConfigError};
pub use self::direct::{DirectCarrier, DirectError};
pub use self::error::{ChannelError, JoinError, OpenError, Over, Presence, RefusedReason, Waiting};
pub use self::federation::Federation;
pub use self::limits::{LimitError, Limits};
pub use self::line::Codec;
pub use self::memory::{MemoryCarrier, MemoryNetwork};
pub use self::name::{ChannelName, JobId, MAX_NAME, Member, NameError, PartyId, Role, Tag};
pub use self::stats::{ChannelStats, PeerStats};
pub use self::variable::VariableChannel;

//! Channels between the parties of a federated job, by name.

mod carrier;
mod config;
mod core;
mod driver;
mod limits;
mod memory;
mod name;

pub use self::carrier::{Arrival, Carrier};
pub use self::config::{Config, ConfigError};
pub use self::limits::{LimitError, Limits};
pub use self::memory::{MemoryCarrier, MemoryNetwork};
pub use self::name::{ChannelName, JobId, MAX_NAME, Member, NameError, PartyId, Role, Tag};

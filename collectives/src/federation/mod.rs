//! Channels between the parties of a federated job, by name.

mod core;
mod limits;
mod name;

pub use self::limits::{LimitError, Limits};
pub use self::name::{ChannelName, JobId, MAX_NAME, Member, NameError, PartyId, Role, Tag};

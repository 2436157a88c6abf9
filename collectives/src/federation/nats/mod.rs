//! Federated jobs over NATS JetStream.
//!
//! The channels and the node know nothing of it: [`NatsCarrier`] is a carrier like others, whose depot plays all other
//! parties towards the node, as a message server does, and keeps what it is given in the streams of the job. So this mode
//! changes nothing above the line, and what holds of a party with a message server holds here.

#[cfg(feature = "nats")]
mod carrier;
#[cfg(feature = "nats")]
mod depot;
mod error;
#[cfg(feature = "nats")]
mod forget;
#[cfg(feature = "nats")]
mod inbound;
#[cfg(feature = "nats")]
mod look;
mod options;
#[cfg(feature = "nats")]
mod outbound;
#[cfg(feature = "nats")]
mod partner;
#[cfg(feature = "nats")]
mod record;
#[cfg(feature = "nats")]
mod request;
#[cfg(feature = "nats")]
mod seat;
#[cfg(feature = "nats")]
mod session;
#[cfg(feature = "nats")]
mod subject;

#[cfg(feature = "nats")]
pub use self::carrier::NatsCarrier;
pub use self::error::NatsError;
#[cfg(feature = "nats")]
pub(super) use self::forget::forget;
#[cfg(feature = "nats")]
pub(super) use self::look::look;
pub use self::options::NatsOptions;
pub(super) use self::options::is_nats;

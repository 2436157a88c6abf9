//! Channels between the parties of a federated job, by name.
//!
//! Parties are processes of several organizations that work on one job, and have a [`Config`] that names them all. A
//! [`Federation`] is one party's place in the job. A [`VariableChannel`] takes values between two parties, a
//! [`BroadcastChannel`] between a root and a group. Messages may be sent before the other party has started; they wait for
//! it, and it receives each of them once and in order, also when connections break or either program starts again.
//!
//! ```
//! use std::time::Duration;
//!
//! use flexbond_collectives::federation::{Config, Federation, MemoryNetwork};
//!
//! async fn party(network: MemoryNetwork, local: &str) -> Result<f64, Box<dyn std::error::Error>> {
//!     let config = Config::from_json(&r#"{
//!         "session": {"local_id": "LOCAL", "job_id": "churn-7"},
//!         "federation": {"guest": ["bank-a"], "host": ["bank-b"], "arbiter": ["auditor"]}
//!     }"#.replace("LOCAL", local))?;
//!     let carrier = network.carrier(config.local().clone());
//!     let federation = Federation::join(config, carrier)?;
//!     federation.ready(Duration::from_secs(30)).await?;
//!
//!     let sums = federation.broadcast("sums", "auditor", ["bank-a", "bank-b"])?;
//!     let sum = sums.allreduce(1.5, |a, b| a + b).await?;
//!
//!     if local != "auditor" {
//!         let other = if local == "bank-a" { "bank-b" } else { "bank-a" };
//!         let theirs: String = federation.variable("names", other)?.swap(local).await?;
//!         assert_eq!(theirs, other);
//!     }
//!     federation.close().await;
//!     Ok(sum)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = MemoryNetwork::new();
//! let all = ["bank-a", "bank-b", "auditor"].map(|local| party(network.clone(), local));
//! assert_eq!(futures_util::future::try_join_all(all).await?, [4.5, 4.5, 4.5]);
//! # Ok(())
//! # }
//! ```
//!
//! # Modes
//! How parties reach each other is a [`Carrier`]; all else is the same in every mode.
//!
//! | carrier | for |
//! | --- | --- |
//! | [`MemoryNetwork`] | parties of one process: tests, simulations; nothing is copied |
//! | [`DirectCarrier`] | parties that can connect to each other, over tcp, ipc or any transport of sockets |
//! | `NatsCarrier` | parties that meet at NATS JetStream, one server or a cluster, with the feature `nats` |
//! | one of your own | anything that takes messages of several frames, even one that loses, doubles and reorders them |
//!
//! # How it scales
//! Values of 1 KiB by a message server that keeps nothing on disk, as `cargo xtask bench federation` measured it. Server and
//! parties were on one machine of two cores, and took them from each other. In a swap each of two parties gets a value.
//!
//! | parties, jobs, servers | rate |
//! | --- | --- |
//! | 2 parties, one swap at a time, 64 at a time | 39 k, 201 k swaps/s |
//! | each of 8, 32, 100 parties swaps with each other one, on one channel | 272 k, 219 k, 56 k values/s |
//! | rings of 2, 8, 32, 100 parties | 28 k, 83 k, 197 k, 254 k values/s |
//! | 1, 8, 32, 64 jobs of two parties, 4 swaps at a time each | 105 k, 162 k, 141 k, 134 k swaps/s |
//! | 2 parties, two servers in a row, one swap at a time, 64 at a time | 25 k, 137 k swaps/s |
//! | one way, 64 channels | 332 k values/s |
//!
//! A server moves all its jobs in one task: more servers beside each other are more cores. With 100 parties that all swap
//! with all, 9,900 directions have one message each under way, and packets carry one each.
//!
//! One swap at a time is what waking costs: each of four waits of two swaps ends with a thread that is woken, on another
//! processor. So a party and a server look for a moment before they sleep, where packets have followed each other within
//! tens of microseconds, for at most 100 µs, and not where others want the processor. They do so in a tokio runtime of one
//! thread, which is the faster one here anyway: with several, each look would wake another thread.
//!
//! A tensor of 256 MiB goes from party to party through a server at 1.7 to 1.9 GB/s (the same bytes over a bare tcp
//! connection: 2.6 to 2.8), and through two servers in a row at 1.3. The receiver copies it once, into one buffer, which
//! serves the next one; servers pass on pieces as they came.
//!
//! A server with a store takes 100 to 120 k messages of 1 KiB a second, each on disk before it is acknowledged, and hands
//! out what it has stored at 145 to 150 k.
//!
//! # What is promised
//! - **Once and in order.** A message is known by job, channel, sender, receiver and offset, its number in this channel and
//!   direction. Its sender keeps it until the receiving program has it, or has [acknowledged](Delivery::ack) it.
//!   [`VariableChannel`] says what a program does to go on after its own death.
//! - **Bounded.** Each channel has a window, messages and bytes, beyond which its sender waits; so a channel that nobody
//!   receives from stops itself, and no other. All bounds are [`Limits`]. A message server counts all channels from one party
//!   to another together ([`RelayLimits::window_bytes`]). There a channel has at most a third of what the others leave, and
//!   always one message: however many stand still, small messages of others go on; one that is larger than what is left
//!   waits for room, unless it is too large to be kept whole: then it goes through.
//! - **In time.** Every call has a timeout, by default 30 s, and its error says what is known of the other party.
//!   Messages may have a time to live, measured at one side after the other, so clocks need not agree; who asks for one that
//!   is gone is told.
//! - **Together.** [`Federation::ready`] waits until all see all. [`Federation::abort`] ends all that all wait for, with
//!   a reason. A party that leaves hands over what it has sent.
//! - **Apart.** Packets of other jobs and of parties that are not configured are refused and counted. Of two processes with
//!   one id, the second is refused while the first one lives. Who may claim to be a party is the carrier's to check.
//!
//! # Packets
//! A carrier's packet is one message. Its first frame is a version (one byte, 1) and a header in
//! [postcard](https://postcard.jamesmunns.com/wire-format); the frames behind it are content and only content. In the
//! header, in this order (all numbers are variable-length, texts and lists have their length before them):
//!
//! | field | content |
//! | --- | --- |
//! | job | its id |
//! | from, to | party ids |
//! | mine, yours | the incarnations of `from` and `to`, drawn when a program starts; 0 for one that is not known yet |
//! | ack | how many items of the other side have come in this session |
//! | kind | 0 hello, 1 refused, 2 acknowledgement alone, 3 items |
//!
//! - hello: the list of all parties as the sender's configuration has them, sorted; window in messages, window in bytes,
//!   both of each channel, but a message server's bytes are of all channels together; largest message; credit and custody,
//!   both 2⁶⁴ - 1 between parties. It is repeated until the other side shows that it knows this incarnation; a pair of
//!   incarnations is a session.
//! - refused: 0 no member, 1 another job, 2 the id is in use, 3 superseded, 4 other parties are named, 5 not authorized, 6 no
//!   room.
//! - acknowledgement: whether an item has come too early (0 or 1). Also a sign of life.
//! - items: the number of the first in the session and direction, from 0, and a list of at most 64:
//!
//! | item | content |
//! | --- | --- |
//! | 0 open | the sender's number for a channel, for this session; kind (0 variable, 1 broadcast); name; epoch and first offset that the sender keeps, if it knows its numbering |
//! | 1 opened | that number; the epoch; the next offset that the receiver wants; the list of lower offsets that it has and its program has not received |
//! | 2 data | number of the channel; offset; tag, if any; codec (0 bytes, 1 postcard, 2 JSON); milliseconds left, if limited; whether it has expired, with the codec 255 that it is lost; where in the message these pieces begin; the lengths of all its parts, with the first pieces; how many of the packet's frames are its own |
//! | 3 settled | number of the channel; offset; whether it expired: the sender need not keep the message any longer |
//! | 4 ready | the sender sees all parties |
//! | 5 abort | party id, reason |
//! | 6 leave | the sender has sent its last message |
//! | 7 credit | a message server: how much may be sent altogether in this session |
//! | 8 seen | a message server: whether the party is there for which it stands |
//! | 9 rewind | a message server: number of the channel, offset: the message is wanted again from its start |
//! | 10 want | to a message server: how much credit the next message needs altogether |
//!
//! A packet has at most 1,024 frames of content. To a message server, a piece of a message costs its bytes and 128 more,
//! and the first piece 8 for each part; a message begins when there is credit for all of it, one that is larger than the
//! custody when there is some for its next piece and its receiver is there.
//!
//! An epoch is a numbering of a channel: offsets of two epochs have nothing to do with each other. A receiver that knows
//! none takes the sender's, or draws one; when both know one, the sender's counts.
//!
//! A channel is opened once in a session; offsets are below 2⁶², and those of the list below the next one. An item that is
//! not as agreed is not taken, and what comes after it is not taken either.
//!
//! Items are taken in order, each once; they are sent again until they are acknowledged. What comes too early is dropped,
//! and the sender goes back. When a session ends because one side has started again, each sender opens its channels anew,
//! and the receiver's answer says where to go on. A message of a broadcast channel has one part more, the first: one byte, 1
//! broadcast, 2 scatter, 3 gather, 4 allreduce, 5 sync.

mod broadcast;
mod carrier;
mod config;
mod connect;
mod core;
mod credentials;
mod delivery;
mod direct;
mod driver;
mod error;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod federation;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod line;
mod look;
mod memory;
mod name;
mod nats;
#[cfg_attr(
    not(feature = "federation-redb"),
    allow(dead_code, reason = "a server without a store asks for none")
)]
mod relay;
mod server;
mod server_carrier;
mod stats;
#[cfg(feature = "federation-redb")]
mod store;
mod uplink;
mod variable;

pub use flexbond_transport::Message;

pub use self::broadcast::BroadcastChannel;
pub use self::carrier::{Arrival, Carrier, ServerWay};
pub use self::config::{Config, ConfigError};
pub use self::connect::ConnectError;
pub use self::credentials::{CredentialError, CurveKeys, TlsFiles};
pub use self::delivery::Delivery;
pub use self::direct::{DirectCarrier, DirectError};
pub use self::error::{ChannelError, JoinError, OpenError, Over, Presence, RefusedReason, Waiting};
pub use self::federation::Federation;
pub use self::limits::{LimitError, Limits};
pub use self::line::{Codec, Encoding};
pub use self::look::{JobStatus, PartyStatus, Stock};
pub use self::memory::{MemoryCarrier, MemoryNetwork};
pub use self::name::{ChannelName, JobId, MAX_NAME, Member, NameError, PartyId, Role, Tag};
#[cfg(feature = "nats")]
pub use self::nats::NatsCarrier;
pub use self::nats::{NatsError, NatsOptions};
pub use self::relay::{JobStats, PartyStats, RelayLimits, RelayStats};
pub use self::server::{
    EventLevel, JobEntry, PartyEntry, ServeError, Server, ServerConfig, ServerConfigError, ServerEntry,
    ServerEvent, ServerKeys, ServerStats, StoreStats,
};
pub use self::server_carrier::{ServerCarrier, ServerCarrierError};
pub use self::stats::{ChannelStats, PeerStats};
#[cfg(feature = "federation-redb")]
pub use self::store::StoreError;
pub use self::variable::{Received, VariableChannel};

//! Sessions of many members: reliable messages from anybody to all, barriers and broadcast groups, over UDP multicast.
//!
//! One end [holds](Coordinator) a session, others [join](Member) it at any time. Whoever is in can send messages of any
//! size to all others; each arrives whole, once, in its sender's order, whatever the network loses, duplicates or
//! reorders. Where there is a multicast address, one packet serves all whom it reaches, and those whom it does not reach
//! get their own.
//!
//! | | |
//! | --- | --- |
//! | [`Session::send`], [`Session::recv`] | messages from anybody to all |
//! | [`Session::stream`] | a message of any length, in parts |
//! | [`Delivery::delivered`] | who has it, or who has not |
//! | [`Coordinator::create_barrier`], [`Member::join_barrier`] | nobody goes on before all have come |
//! | [`Coordinator::create_broadcast`], [`Member::join_broadcast`] | messages for some of the members |
//! | [`Session::event`] | who comes and who goes |
//!
//! # Where a session is held
//! At `udp://HOST:PORT`, with a multicast address or without. Where UDP is blocked, at `tcp://HOST:PORT`, within a machine
//! at `ipc://PATH`, within a process at `inproc://NAME`: the same packets over connections, which members make to each
//! other as they need them. The program stays the same.
//!
//! # When something fails
//! The death of a member is found out within [`Options::dead_after`]: the others hear of it, go on without it, and what
//! waits for it ends with an error that names it. The death of the coordinator ends the session for every member within
//! the same time. Nobody waits longer than that for somebody who is dead, and everything that is kept for somebody has a
//! bound.
//!
//! # Security
//! Without a key nothing is protected: packets have checksums against chance, and anybody on the network can read, forge
//! and end a session. With the feature `group-crypto` and [`Options::key`] (default: none), which all ends have to have:
//!
//! | | |
//! | --- | --- |
//! | outsiders | cannot join, read, change, forge or replay, but for what is said below; what they try is [counted](Counters) |
//! | who joins | cannot read what was sent before |
//! | who has left or was [evicted](Coordinator::evict) | cannot read what the coordinator sends from then on, and what others send once they have heard of it; cannot speak to, or as, the coordinator any more, and as another member within two [heartbeats](Options::heartbeat) at most. But it has the pre-shared key: give another one to a new session, if it must not come again |
//! | nonces | never repeat under a key: across members, restarts, epochs, repairs, parity, and copies that fork() makes |
//! | cipher | AES-256-GCM, keys by HKDF-SHA-256; a key seals 2^28 packets at most, and is changed at half of that |
//!
//! Whether there is a key or not: nothing is kept of anybody who has not shown a cookie, which is bound to its address
//! and to a nonce and good for 30 to 60 s; nobody whose address is not proven is answered with more bytes than came
//! from there (a JOIN has at least 1200, its RETRY 80, a REJECT 250 at most); and what waits to be answered is bounded
//! (4096 packets).
//!
//! What a key does not give:
//! - **Members trust each other.** All have the epoch's key: one can pretend to be another, or the coordinator.
//! - **No forward secrecy.** Who has the pre-shared key and a recording of a session's handshakes can read that session,
//!   also who was a member once. The key is not stretched: take 32 random bytes (`flexbond` programs read them from a file).
//! - **No availability.** Who can drop packets can end a session. REJECT and RETRY are not authenticated: who sees a JOIN
//!   can make it fail, but not succeed with somebody else.
//! - **No anonymity.** Headers (session, sender, epoch, number, kind), names in JOIN, sizes and times are in the open.
//! - Who can hold back a packet that is for all can deliver it later, once.
//! - A machine that is copied while it is in a session, both copies of which go on, repeats nonces.
//!
//! # How it works
//! A sender cuts the stream of its messages into packets and keeps them until all receivers have confirmed them.
//! Receivers say what they lack; who alone lacks something gets it by itself, what several lack is sent to all again.
//! What may be on its way follows the slowest receiver, the delivery rate that was measured, and the memory that
//! receivers have promised. `flexbond_wire::group` describes the packets.

mod barrier;
mod barrier_group;
mod broadcast_group;
mod coordinator;
mod draw;
mod driver;
mod endpoint;
mod error;
mod event;
mod flow;
#[cfg(all(any(test, fuzzing), feature = "group-crypto"))]
#[doc(hidden)]
pub mod fuzz;
mod member;
mod membership;
mod node;
mod options;
mod session;
mod shared;
mod stream;

use std::fmt;
use std::time::Duration;

pub use barrier_group::Barrier;
pub use broadcast_group::{BroadcastReceiver, BroadcastSender};
pub use coordinator::Coordinator;
pub use error::{
    AcceptError, BarrierError, DeliveryError, GroupError, JoinError, JoinGroupError, Over, RecvError,
    SendError, StartError,
};
pub use event::{Event, Gone};
pub use flexbond_transport::Interface;
pub use flexbond_wire::group::{ChannelRefusal, RejectReason};
#[cfg(feature = "group-crypto")]
pub use flexbond_wire::group::{KeyError, PresharedKey};
pub use member::Member;
pub use node::NodeCounters as Counters;
pub use options::{OptionError, Options, SlowMember};
pub use session::{Delivery, Part, Received, Session};
pub use stream::StreamSender;

/// One end of a session. Its number is unique in the session for all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(crate) u32);

impl MemberId {
    /// The coordinator.
    pub const COORDINATOR: MemberId = MemberId(0);

    /// The number; the coordinator's is 0.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("the coordinator"),
            number => write!(f, "member {number}"),
        }
    }
}

/// The channel of a group; that of the session itself is 0.
fn channel_of(group: u16) -> Option<u16> {
    group.checked_add(1)
}

/// The time, or one that is as good as for ever: it can be added to any that a clock shows.
fn at_most_ages(time: Duration) -> Duration {
    const AGES: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    time.min(AGES)
}

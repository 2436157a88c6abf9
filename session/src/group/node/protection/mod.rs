//! What protects a node's packets: a checksum, or the session's key.
//!
//! # Which key seals what
//!
//! - The handshake is plain. A JOIN proves that the joiner has the pre-shared key, an ACCEPT brings it the key of the
//!   session's epoch, and the terms of both are bound to that.
//! - What runs between the coordinator and one member (views and their acknowledgements, leaving and being sent away)
//!   is sealed with a key of those two. So a view can be read whatever keys its receiver has missed, and nothing that
//!   was meant for one member can be passed on to another.
//! - Everything else is sealed with the sender's key in the newest epoch that the sender knows. What is for one alone
//!   (reports and questions, repairs of what one lacks, arrivals at a barrier, signs of life that are not multicast) is
//!   bound to the receiver's id, so that it too can be passed on to nobody else.
//!
//! # When keys change
//!
//! Every view is an epoch, and so makes new sender keys. The key that they are made of is drawn anew whenever somebody
//! came or went: who came reads nothing from before, who went nothing from then on. An ACCEPT brings the key of the first
//! view that names the joiner, with which nothing was sealed yet. The coordinator makes a view before it sends anything
//! after somebody came or went, and seals under it at once; a member from the moment at which it has the whole view. Nobody waits for the others: who has not got the view yet drops what it cannot open, as if it
//! had been lost on the way, and the coordinator tells it again until it acknowledges, from every 5 ms to every 200 ms.
//! So nobody is cut off for longer than that takes, and flows repair what was dropped.
//!
//! Packets of the time before are opened for two heartbeats more, because some are on their way and some members have
//! not heard of the change; but none of a sender that was heard under the new key already, and none with a higher number than
//! that of the packet with which it said that it has changed: of the coordinator the VIEW, at the coordinator a member's
//! VIEW_ACK. At most sixteen old keys are kept. A member opens nothing from before the first view that names it.
//!
//! For somebody who has left, this means that it can read what members send that do not know the new view yet, usually
//! for one way through the network, and nothing of the coordinator's; and that in those two heartbeats it could pretend
//! to be another member, from that member's address, to members that have not heard that one since: never to be the
//! coordinator, nor to it, but for packets that were lost. After that neither, unless it also has the
//! pre-shared key and recordings of how the others joined: see [`flexbond_wire::group`] on what a shared key cannot
//! prevent.
//!
//! # No number twice
//!
//! A sender's key is made of the epoch's key, the session, the epoch and the sender; the number of a packet is its nonce.
//! A node never takes a number twice, whatever becomes of the packet, and what is sent again has another number, or is the
//! same bytes. Nobody has the id of somebody else: an id is given once, to who is at one address, and nobody is let into
//! the place of somebody who has said something. So a process that begins again is another member; and copies of a
//! process that drew the same nonces before they joined are a member each. A coordinator that begins again draws other
//! keys. What fork() makes of a process that is in says nothing more. What is left: two copies of a whole machine, made
//! while it is in a session, which both go on.
//!
//! # How much is sealed with one key
//!
//! When any sender has used half of what a key is good for, which the coordinator sees by the numbers of its packets,
//! a new epoch begins. A sender whose key is used up before it hears of that sends nothing more: it would be found dead
//! rather than repeat itself.

#[cfg(not(feature = "group-crypto"))]
mod absent;
#[cfg(feature = "group-crypto")]
mod coordinator;
#[cfg(feature = "group-crypto")]
mod entropy;
#[cfg(feature = "group-crypto")]
mod keyed;
#[cfg(feature = "group-crypto")]
mod keyring;
#[cfg(all(any(test, fuzzing), feature = "group-crypto"))]
pub(in crate::group) mod ledger;
#[cfg(feature = "group-crypto")]
mod member;

#[cfg(not(feature = "group-crypto"))]
pub(super) use absent::{MAX_SEALED, Protection, SealKey, finish_sealed, seal};
#[cfg(feature = "group-crypto")]
pub(crate) use entropy::Entropy;
#[cfg(feature = "group-crypto")]
pub(super) use keyed::{MAX_SEALED, Protection, SealKey, finish_sealed, seal};

/// How large a packet is that counts as one towards what a key is good for; a larger one counts as several.
pub(super) const SEALED_SIZE: u64 = 2048;

/// With what a member that was just admitted seals; nothing in a session without a key.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    /// What all others may open.
    pub(crate) own: Option<SealKey>,
    /// What the coordinator alone may open.
    pub(crate) control: Option<SealKey>,
}

/// Why a sealed packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "group-crypto"),
    expect(dead_code, reason = "nothing can be opened without the feature")
)]
pub(crate) enum Refusal {
    /// It is not what its header says, or for somebody else.
    Forged,
    /// Its epoch is not known here, yet or any more.
    Unreadable,
    /// It is genuine, and makes no sense.
    Malformed,
}

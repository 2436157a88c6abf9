//! The datagrams of group sessions: membership, reliable multicast, barriers. Written for whoever implements the
//! format, in this crate or elsewhere.
//!
//! Nothing here sends, waits, draws random numbers or remembers a session; random bytes are arguments. A
//! [`Packet`] with a [`Header`] becomes a datagram and comes back; what a session does with it stands above.
//!
//! # A datagram
//!
//! A header, a body that depends on the kind, and a trailer. All integers are big endian. A datagram holds exactly one
//! packet, and every byte of it counts: a field beyond its limit, a flag without a meaning, or a byte too many or too
//! few makes a [`DecodeError`], and the datagram is to be ignored as a whole.
//!
//! | offset | field | |
//! | ---: | --- | --- |
//! | 0 | magic `u16` | `0x4642`, "FB" |
//! | 2 | version `u8` | 1; the top bit is set when the datagram is sealed, and the next one when it is sealed for one receiver |
//! | 3 | kind `u8` | see below |
//! | 4 | session `u64` | 0 in JOIN: not known yet |
//! | 12 | sender `u32` | the member's id; the coordinator is 0, who is no member yet is `0xffff_ffff` |
//! | 16 | epoch `u32` | of the session's view that the sender is in |
//! | 20 | number `u64` | strictly increasing per sender |
//! | 28 | body | |
//! | end | trailer | plain: CRC-32C of everything before it, `u32`; sealed: the tag of AES-256-GCM, 16 bytes |
//!
//! The first 28 bytes, and the layout of JOIN and REJECT, stay as they are in all versions, so that two sides of
//! different versions can tell each other so.
//!
//! # Kinds
//!
//! | kind | body |
//! | --- | --- |
//! | 1 JOIN | nonce `[16]`, cookie (`u8` length, 0 or 32 bytes), name (`text`, at most 64), receive budget `u64`, proof (`u8` length, 0 or 32 bytes), zeros until the datagram has at least 1200 bytes |
//! | 2 RETRY | nonce `[16]`, cookie `[32]` |
//! | 3 REJECT | nonce `[16]`, reason `u8`, text (`text`, at most 200) |
//! | 4 ACCEPT | nonce `[16]`, member `u32`, multicast (`addr`, or `u8` 0 for none), segment `u16`, heartbeat `u32` ms, dead after `u32` ms, max message `u64`, receive budget `u64`, key (`key`), server nonce `[16]` |
//! | 5 LEAVE | |
//! | 6 GOODBYE | reason `u8`, text (`text`, at most 200) |
//! | 7 HEARTBEAT | sent at `u64` µs, echo `u64` µs, echo delay `u32` µs, flags `u8` (1: hears the multicast address) |
//! | 8 VIEW | channel `u16`, channel kind `u8`, view `u32`, part `u16`, parts `u16`, key (`key`), members (`u8` count, each id `u32`, `addr`, max message `u64`, flags `u8`); the datagram has at most 1200 bytes |
//! | 9 VIEW_ACK | channel `u16`, view `u32` |
//! | 10 CHANNEL_JOIN | request `u32`, channel `u16`, channel kind `u8` |
//! | 11 CHANNEL_REPLY | request `u32`, channel `u16`, accepted `u8` (1 or 0), reason `u8` (0 if accepted), first barrier round `u64` |
//! | 12 CHANNEL_LEAVE | request `u32`, channel `u16` |
//! | 13 DATA | channel `u16`, flags `u8` (1: point to point, 2: answer at once, 4: repair), seq `u64`, payload (the rest, at least 1 byte) |
//! | 14 STATUS | channel `u16`, flags `u8` (1: point to point, 2: flow unknown), source `u32`, next `u64`, edge `u64`, known `u64`, early `u32`, echo `u64`, echo delay `u32` µs, local drops `u32`, missing (`u8` count, at most 64, each start `u64`, length `u16` of at least 1) |
//! | 15 SYNC | channel `u16`, flags `u8` (1: point to point), start `u64` (all ones: none), next `u64` |
//! | 16 PARITY | channel `u16`, flags `u8` (1: point to point, 2: answer at once), base `u64`, count `u8` of at least 1, index `u8`, payload (the rest, at least 1 byte) |
//! | 17 ARRIVE | channel `u16`, round `u64` |
//! | 18 RELEASE | channel `u16`, round `u64` |
//! | 19 ABORT | channel `u16`, round `u64`, failed (`u8` count, at most 64, each member `u32`) |
//!
//! `text` is a `u8` length and so many bytes of UTF-8. `addr` is a family `u8`, 4 or 6, the 4 or 16 bytes of the
//! address, and the port `u16`. `key` is `u8` 0, or `u8` 1 and 48 bytes. The numbers of reasons and channel kinds are
//! those of [`RejectReason`], [`GoodbyeReason`], [`ChannelRefusal`] and [`ChannelKind`]; reasons may be added, and an
//! unknown one is no error. All limits are constants of this module.
//!
//! # Sealed datagrams
//!
//! With feature `group-crypto`. A session with a pre-shared key seals every datagram except those of the handshake
//! (kinds 1 to 4), which are always plain. All hashes are SHA-256; *Derive*(key, label, parts) is HKDF-Expand (RFC
//! 5869) to 32 bytes, its info the label, a zero byte, and the parts.
//!
//! | | |
//! | --- | --- |
//! | root | HKDF-Extract, salt `flexbond group v1`, of the pre-shared key |
//! | proof in JOIN | HMAC, key *Derive*(root, `join proof`), of the body up to the proof's length byte |
//! | member key | *Derive*(root, `member`, nonce of JOIN, server nonce of ACCEPT) |
//! | key in ACCEPT | AES-256-GCM of the epoch key of the first view that names the member, which is the epoch in the header, key *Derive*(member key, `accept`, bytes 4 to 19 of the header, the body up to the key), nonce zero, no associated data |
//! | key in VIEW | the same, key *Derive*(member key, `view`, bytes 4 to 19 of the header, the body's channel, channel kind and view) |
//! | epoch key | 32 random bytes, drawn by the coordinator anew for every view before which somebody came or went |
//! | control key | *Derive*(member key, `control`) |
//! | sender key | *Derive*(epoch key, `sender`, bytes 4 to 19 of the sender's headers) |
//! | tag and body | AES-256-GCM, the sender key, nonce: sender `u32`, number `u64`; the associated data are the 28 bytes of the header, followed by the receiver's id `u32` if the datagram is for one receiver |
//!
//! Kinds 5, 6 and 8 to 12 run between the coordinator and one member. They are sealed with the member's control key
//! in place of the epoch key, and the epoch in their header is 0: so none of them can be passed on to another member,
//! and a member can open the VIEW that brings it a key whatever keys it has missed. They go without the flag for one
//! receiver, whom their key names already.
//!
//! Every other datagram that is meant for one member, or for the coordinator, alone is sealed for it: the flag is set,
//! and its receiver's id, which is not on the wire, is part of the associated data. So nobody who has recorded it can
//! pass it on to another, whose replay window would not have known it: a SYNC that says where one receiver begins
//! would make another skip what it has not got, and any datagram would be a sign of life of a sender that is dead.
//! This is so for kinds 14, 15 and 17 always, for 7 unless it goes to the group's address, for 13 and 16 when they
//! repair what one receiver lacks, and for 18 and 19 when they answer one member. A datagram of which several get
//! copies, by the group's address or one by one, is sealed once and for all.
//!
//! A number is taken once, also if its packet is never sent: it is the nonce. So a coordinator answers a JOIN whose nonce
//! is that of a member with the same ACCEPT only to that member's address, and only until it has heard anything sealed of
//! it; later, or elsewhere, with REJECT (spent): copies of one process that drew the same nonce are not one member.
//!
//! What this cannot prevent: members share the key, so one can pretend to be another or the coordinator; who can hold
//! back a datagram that is for all can deliver it later, once, as long as the receiver's replay window does not pass
//! it by; and who has the pre-shared key and a recording of a session can read it. REJECT and RETRY are not authenticated: an attacker
//! who sees a JOIN can make it fail, but not succeed with somebody else.
//!
//! # Receiving
//!
//! [`Header::peek`] finds session, sender and key; [`Packet::decode`] or `Packet::decode_sealed` verifies the trailer
//! and takes the body apart; [`ReplayWindow::accept`] takes note of the number after that, and never before.
//!
//! Channels come and go under the same numbers, and begin anew each time: kinds 13 to 19 of a channel other than 0 mean
//! something only if their number is above that of the packet which led into it, the CHANNEL_JOIN that the coordinator
//! heard first, or the CHANNEL_REPLY that granted it. Who has not heard that a channel is over may still be in it when
//! the next one of its number begins: so the segments of that one are numbered from far beyond those of the one before,
//! as are the rounds of a barrier, 2^32 above them at least.
//!
//! That a barrier is over is told to who comes, by ABORT with the coordinator among the failed. Of a flow it is a record
//! that says so; and a CHANNEL_REPLY, in which the request that was once granted is refused as
//! [`Closing`](ChannelRefusal::Closing), to each receiver that has not confirmed everything by the time that nothing more
//! is sent. Its last field is then the segment below which that receiver must have everything in order to miss nothing
//! (0: nothing was sent to it; all ones: it cannot have everything). It is repeated until it is confirmed, by a
//! CHANNEL_LEAVE with the number of the request or a later one.

mod channel;
mod checksum;
mod error;
mod flow;
mod handshake;
mod header;
#[cfg(feature = "group-crypto")]
mod key;
mod limits;
mod list;
mod membership;
mod packet;
mod reader;
mod replay;
mod round;
#[cfg(feature = "group-crypto")]
mod seal;
mod sink;

pub use channel::{ChannelJoin, ChannelKind, ChannelLeave, ChannelRefusal, ChannelReply};
pub use error::{DecodeError, EncodeError};
pub use flow::{Data, FlowSync, Gap, Parity, Status};
pub use handshake::{Accept, Cookie, Join, Nonce, Reject, RejectReason, Retry, WrappedKey};
pub use header::{Envelope, Header, Kind};
#[cfg(feature = "group-crypto")]
pub use key::{EpochKey, KeyError, MemberKey, PresharedKey};
pub use limits::{
    CHECKSUM_LEN, MAX_DATAGRAM, MAX_FAILED, MAX_GAPS, MAX_NAME, MAX_PARITY, MAX_SEGMENT, MAX_TEXT, MAX_VIEW,
    MAX_VIEW_MEMBERS, MAX_VIEW_PARTS, MIN_JOIN, TAG_LEN,
};
pub use list::List;
pub use membership::{Goodbye, GoodbyeReason, Heartbeat, Member, View, ViewAck, ViewParts};
pub use packet::Packet;
pub use replay::ReplayWindow;
pub use round::{Abort, Arrive, Release};
#[cfg(feature = "group-crypto")]
pub use seal::{Audience, SenderKey};

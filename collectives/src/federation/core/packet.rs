//! What two parties say to each other: one packet is one message of the layer below.
//!
//! Frame 0 is the version (one byte, 1), the [`Header`] in postcard, and the pieces of each [`Item::Data`] in the order of
//! the items: first a number in postcard for each of them, which is one more than its length if it is short, and 0 if it is
//! a frame of its own; then the short ones, one behind the other. The others follow as frames, and there is nothing else.
//! So many small messages are one frame, and large ones are not copied.
//!
//! Every packet may be lost, doubled or overtaken by others: what must not be is an [`Item`], which has a number and is
//! sent until it is acknowledged.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use flexbond_transport::{Frame, Message};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::few::Few;
use crate::federation::name::{ChannelName, JobId, PartyId, Tag};

/// The codec of a message that was lost on its way: nobody has its content any more.
pub(crate) const LOST: u8 = u8::MAX;

/// The version of the protocol.
const VERSION: u8 = 1;
/// The longest header in bytes: what the longest list of offsets needs, and some names.
const MAX_HEADER: usize = 1 << 20;
/// Pieces of at most so many bytes go with the header.
pub(crate) const SHORT: usize = 4 << 10;
/// A short piece that is kept may keep so much of its packet; out of a larger one it is copied.
const SHARED: usize = 32 << 10;
/// What the number of a piece takes at most, in bytes.
const NUMBER: usize = 2;
/// The bytes of a header and of an item in it, nearly always.
const GUESS: usize = 128;
const GUESS_OF_ITEM: usize = 32;
/// The longest frame with a header, in bytes.
const MAX_FRAME: usize = 1 + MAX_HEADER + MAX_PARTS * (NUMBER + SHORT);
/// How many buffers a message has at most, and how many pieces a packet.
pub(crate) const MAX_PARTS: usize = 1024;
/// How many items a packet has at most.
pub(crate) const MAX_BATCH: usize = 64;
/// How many parties a job has at most.
pub(crate) const MAX_MEMBERS: usize = 4096;
/// What a piece costs beside its bytes, and each part that it names.
const COST: u64 = 128;
const COST_OF_PART: u64 = 8;
/// No message has this offset or a higher one: nobody counts so far, and what is counted on from it does not overflow.
/// It can be the next one, and never comes.
pub(crate) const MAX_OFFSET: u64 = 1 << 62;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packet {
    pub(crate) header: Header,
    /// What follows the header, one frame each.
    pub(crate) pieces: Vec<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) job: JobId,
    pub(crate) from: PartyId,
    pub(crate) to: PartyId,
    /// The incarnation of `from`: another number each time that its program starts.
    pub(crate) mine: u64,
    /// The incarnation of `to` that this is for; 0 when it is not known.
    pub(crate) yours: u64,
    /// All items with lower numbers have come.
    pub(crate) ack: u64,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// "Here I am"; it begins a session and is repeated until the other side knows it.
    Hello(Hello),
    /// The incarnation `yours` may not take part.
    Refused(Refusal),
    /// Nothing but the acknowledgement. `gap`: an item came too early, the one with the number `ack` is missing.
    Ack { gap: bool },
    /// The first has the number `seq`. They are taken in the order of numbers, each once.
    Items {
        seq: u64,
        #[serde(deserialize_with = "bounded::<_, _, _, MAX_BATCH>")]
        items: Vec<Item>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// All parties of the job, as the sender's configuration has them, sorted.
    #[serde(deserialize_with = "bounded::<_, _, _, MAX_MEMBERS>")]
    pub(crate) members: Vec<PartyId>,
    /// What the sender of this takes on each channel before it wants to be waited for. A message server keeps so many bytes
    /// of all channels together.
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: u64,
    pub(crate) max_message: u64,
    /// The cost of what may be sent at first, see [`cost`]. `u64::MAX`: no credit is kept, there is no message server.
    pub(crate) credit: u64,
    /// Messages of more bytes are sent only while the other party is there ([`Item::Seen`]), and their sender keeps them
    /// until they are settled, also when it leaves. `u64::MAX`: there are none.
    pub(crate) custody: u64,
}

/// Why a party may not take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// It is no party of the job, as the other side's configuration has it.
    NotAMember,
    /// The other side runs another job.
    OtherJob,
    /// Another process with this id is alive. It may not be for long: asking again is sound.
    InUse,
    /// Another process has taken the place of this one.
    Superseded,
    /// The other side's configuration names other parties for this job.
    OtherMembers,
    /// The message server does not let this party take part.
    Unauthorized,
    /// The message server has as many jobs or parties as it takes. It may have room later: asking again is sound.
    NoRoom,
}

/// What a channel is for; channels of one name and two kinds are two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    Variable,
    Broadcast,
}

/// One direction of a channel between two parties.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct FlowKey {
    pub(crate) kind: Kind,
    pub(crate) name: ChannelName,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// The sender's number for a channel, for the rest of the session.
    Open {
        flow: u32,
        key: FlowKey,
        /// The epoch, and the first offset that the sender still keeps or will give; none when it does not know its
        /// numbering.
        from: Option<(u64, u64)>,
    },
    /// What the receiver has of that channel already, from a session before: all offsets below `next` have come, and of
    /// these its program has not yet received those of `held`.
    Opened {
        flow: u32,
        /// Which numbering of the flow the offsets are of. It is the receiver's unless the sender knows one.
        epoch: u64,
        next: u64,
        held: Vec<u64>,
    },
    /// A message, or a piece of one.
    Data(Data),
    /// The receiving program has this message, or will never have it. It need not be kept any longer.
    Settled { flow: u32, offset: u64, expired: bool },
    /// The sender sees all parties.
    Ready,
    /// The job is over.
    Abort { by: PartyId, reason: String },
    /// The sender has ended in good order, and sent all that it had to send.
    Leave,
    /// Said by a message server: how much may be sent in this session altogether, in [`cost`].
    Credit { total: u64 },
    /// Said by a message server: whether the party is there whose place it takes.
    Seen { is_up: bool },
    /// Said by a message server: the message is wanted again from its first piece on. Its receiver's session broke before
    /// it was whole there. It comes before anything else that is not sent yet; what was sent is not sent again.
    Rewind { flow: u32, offset: u64 },
    /// Said to a message server: the next message needs so much credit altogether. The last one that was said counts.
    Want { total: u64 },
    /// There are as many channels as the sender takes, which are so many: this one is not opened in this session, and
    /// nothing of it comes.
    Declined { flow: u32, limit: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Data {
    pub(crate) flow: u32,
    /// The number of the message in its channel and direction, tagged or not.
    pub(crate) offset: u64,
    pub(crate) tag: Option<Tag>,
    /// How the first part is to be read.
    pub(crate) codec: u8,
    /// How many milliseconds it may still wait.
    pub(crate) ttl: Option<u64>,
    /// It waited too long: there is no content, and who asks for it is told. With the codec [`LOST`], it was lost.
    pub(crate) expired: bool,
    /// Where in the message, its parts laid end to end, the pieces begin.
    pub(crate) at: u64,
    /// The lengths of all parts; with the first pieces (`at` is 0) only.
    #[serde(deserialize_with = "bounded::<_, _, _, MAX_PARTS>")]
    pub(crate) parts: Few<u64>,
    /// How many frames of the packet are its own, in the order of the items.
    pub(crate) pieces: u16,
}

impl Data {
    /// What this piece of so many bytes takes from the credit.
    pub(crate) fn cost(&self, bytes: u64) -> u64 {
        cost(bytes, self.parts.len())
    }
}

/// What a piece of a message takes from the credit: its bytes, and what there is to keep beside them. The first piece
/// says how many parts the message has.
pub(crate) fn cost(bytes: u64, parts: usize) -> u64 {
    (parts as u64)
        .saturating_mul(COST_OF_PART)
        .saturating_add(COST)
        .saturating_add(bytes)
}

/// A packet that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum PacketError {
    #[error("the packet has no header")]
    Empty,
    #[error("protocol version {version} is not {VERSION}")]
    Version { version: u8 },
    #[error("the first frame has {len} bytes, which is more than {MAX_FRAME}")]
    TooLong { len: usize },
    #[error("the header cannot be read")]
    Header,
    #[error("the pieces of the packet, which has {frames} frames, are not those of its items")]
    Pieces { frames: usize },
}

impl Refusal {
    /// Whether asking again cannot help.
    pub(crate) fn is_final(self) -> bool {
        !matches!(self, Refusal::InUse | Refusal::NoRoom)
    }
}

impl Content {
    fn items(&self) -> impl Iterator<Item = &Item> {
        match self {
            Content::Items { items, .. } => items.as_slice(),
            _ => &[],
        }
        .iter()
    }
}

impl Item {
    /// How many frames of its packet are its own.
    pub(crate) fn pieces(&self) -> usize {
        match self {
            Item::Data(data) => usize::from(data.pieces),
            _ => 0,
        }
    }
}

impl Packet {
    pub(crate) fn encode(self) -> Message {
        let items = self.header.content.items().count();
        write(&self.header, items, self.pieces.iter())
    }

    pub(crate) fn decode(message: Message) -> Result<Packet, PacketError> {
        let frames = message.len();
        let mut others = message.into_frames().into_iter();
        let first = others.next().ok_or(PacketError::Empty)?.into_bytes();
        let (version, said) = first.split_first().ok_or(PacketError::Empty)?;
        if *version != VERSION {
            return Err(PacketError::Version { version: *version });
        }
        if first.len() > MAX_FRAME {
            return Err(PacketError::TooLong { len: first.len() });
        }
        let longest = &said[..said.len().min(MAX_HEADER)];
        let (header, rest) = postcard::take_from_bytes::<Header>(longest).map_err(|_| PacketError::Header)?;
        let owned: usize = header.content.items().map(Item::pieces).sum();
        if owned > MAX_PARTS {
            return Err(PacketError::Pieces { frames });
        }
        let mut numbers = &said[longest.len() - rest.len()..];
        let (contents, counted) = (numbers, owned);
        // Where the short ones begin is known when all their numbers are read.
        let mut short = 0_usize;
        for _ in 0..counted {
            short += usize::from(number(&mut numbers)?.saturating_sub(1));
        }
        if short != numbers.len() {
            return Err(PacketError::Pieces { frames });
        }
        let mut at = first.len() - short;
        let (mut numbers, mut pieces) = (contents, Vec::with_capacity(owned));
        for _ in 0..counted {
            pieces.push(match number(&mut numbers)?.checked_sub(1) {
                Some(len) => {
                    let start = at;
                    at += usize::from(len);
                    match first.len() > SHARED {
                        true => Bytes::copy_from_slice(&first[start..at]),
                        false => first.slice(start..at),
                    }
                }
                None => others.next().ok_or(PacketError::Pieces { frames })?.into_bytes(),
            });
        }
        match others.next() {
            None => Ok(Packet { header, pieces }),
            Some(_) => Err(PacketError::Pieces { frames }),
        }
    }
}

/// Writes a packet. `items` is how many there are, at least.
pub(super) fn write<'a>(
    header: &impl Serialize,
    items: usize,
    pieces: impl Iterator<Item = &'a Bytes> + Clone,
) -> Message {
    let is_short = |piece: &&Bytes| piece.len() <= SHORT;
    let content: usize = pieces
        .clone()
        .filter(is_short)
        .map(|piece| piece.len() + NUMBER)
        .sum();
    let mut first = Vec::with_capacity(GUESS + items * GUESS_OF_ITEM + content);
    first.push(VERSION);
    let mut first =
        postcard::to_extend(header, first).expect("names and numbers always have a representation");
    for piece in pieces.clone() {
        let mut number = if is_short(&piece) { piece.len() + 1 } else { 0 };
        while number > 0x7f {
            first.push(number as u8 | 0x80);
            number >>= 7;
        }
        first.push(number as u8);
    }
    for piece in pieces.clone().filter(is_short) {
        first.extend_from_slice(piece);
    }
    let mut message = Message::from(Frame::from(first));
    message.extend(pieces.filter(|piece| !is_short(piece)).cloned());
    message
}

/// The number of the next piece.
fn number(rest: &mut &[u8]) -> Result<u16, PacketError> {
    let mut number = 0;
    for shift in [0, 7] {
        let (byte, behind) = rest.split_first().ok_or(PacketError::Header)?;
        *rest = behind;
        number |= u16::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return match usize::from(number) <= SHORT + 1 {
                true => Ok(number),
                false => Err(PacketError::Header),
            };
        }
    }
    Err(PacketError::Header)
}

/// Who a packet says it is from; none when it cannot be read.
pub(crate) fn sender_of(message: &Message) -> Option<PartyId> {
    let (version, header) = message.get(0)?.split_first()?;
    // The job and the name come first in a header.
    let ((_, sender), _) = postcard::take_from_bytes::<(&str, PartyId)>(header).ok()?;
    (*version == VERSION).then_some(sender)
}

/// Reads a list of at most `MAX` elements: small ones could stand for much memory.
fn bounded<'de, D, L, T, const MAX: usize>(deserializer: D) -> Result<L, D::Error>
where
    D: Deserializer<'de>,
    L: Gather<T>,
    T: Deserialize<'de>,
{
    struct List<L, T, const MAX: usize>(PhantomData<(L, T)>);

    impl<'de, L: Gather<T>, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<L, T, MAX> {
        type Value = L;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<L, A::Error> {
            let len = list.size_hint().unwrap_or(0);
            if len > MAX {
                return Err(A::Error::invalid_length(len, &self));
            }
            let (mut elements, mut count) = (L::with_room(len), 0);
            while let Some(element) = list.next_element()? {
                if count == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                elements.add(element);
                count += 1;
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(List::<L, T, MAX>(PhantomData))
}

/// A list to which one adds what is read.
trait Gather<T> {
    fn with_room(count: usize) -> Self;
    fn add(&mut self, element: T);
}

impl<T> Gather<T> for Vec<T> {
    fn with_room(count: usize) -> Self {
        Vec::with_capacity(count)
    }

    fn add(&mut self, element: T) {
        self.push(element);
    }
}

impl<T> Gather<T> for Few<T> {
    fn with_room(count: usize) -> Self {
        match count {
            0 | 1 => Few::new(),
            more => Vec::with_capacity(more).into(),
        }
    }

    fn add(&mut self, element: T) {
        self.push(element);
    }
}

#[cfg(test)]
mod tests;

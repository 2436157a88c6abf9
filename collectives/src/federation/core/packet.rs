//! What two parties say to each other: one packet is one message of the layer below.
//!
//! Frame 0 is the version (one byte, 1) and the [`Header`] in postcard; the frames behind it are the pieces of an
//! [`Item::Data`], and there are none in other packets. Every packet may be lost, doubled or overtaken by others: what
//! must not be is an [`Item`], which has a number and is sent until it is acknowledged.

use bytes::Bytes;
use flexbond_transport::{Frame, Message};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::federation::name::{ChannelName, JobId, PartyId, Tag};

/// The version of the protocol.
const VERSION: u8 = 1;
/// The longest header in bytes: what the longest list of offsets needs, and some names.
const MAX_HEADER: usize = 1 << 20;
/// How many buffers a message has at most.
pub(crate) const MAX_PARTS: usize = 1024;
/// No message has this offset or a higher one: nobody counts so far, and what is counted on from it does not overflow.
pub(crate) const MAX_OFFSET: u64 = 1 << 62;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packet {
    pub(crate) header: Header,
    /// What follows the header, one frame each.
    pub(crate) pieces: Vec<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
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
    /// Taken in the order of numbers, each once.
    Item { seq: u64, item: Item },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) job: JobId,
    /// What the sender of this takes on each channel before it wants to be waited for.
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: u64,
    pub(crate) max_message: u64,
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
    Open { flow: u32, key: FlowKey },
    /// What the receiver has of that channel already, from a session before: all offsets below `next` have come, and of
    /// these its program has not yet received those of `held`.
    Opened { flow: u32, next: u64, held: Vec<u64> },
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
    /// It waited too long: there is no content, and who asks for it is told.
    pub(crate) expired: bool,
    /// Where in the message, its parts laid end to end, the pieces begin.
    pub(crate) at: u64,
    /// The lengths of all parts; with the first pieces (`at` is 0) only.
    pub(crate) parts: Vec<u64>,
}

/// A packet that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum PacketError {
    #[error("the packet has no header")]
    Empty,
    #[error("protocol version {version} is not {VERSION}")]
    Version { version: u8 },
    #[error("the header has {len} bytes, which is more than {MAX_HEADER}")]
    TooLong { len: usize },
    #[error("the header cannot be read")]
    Header,
    #[error("the packet has {frames} frames, which it must not")]
    Frames { frames: usize },
}

impl Packet {
    pub(crate) fn encode(self) -> Message {
        let header = postcard::to_extend(&self.header, vec![VERSION])
            .expect("names and numbers always have a representation");
        let mut message = Message::from(Frame::from(header));
        message.extend(self.pieces);
        message
    }

    pub(crate) fn decode(message: Message) -> Result<Packet, PacketError> {
        let frames = message.len();
        let mut parts = message.into_frames().into_iter();
        let first = parts.next().ok_or(PacketError::Empty)?;
        let len = first.len();
        let (version, header) = first.split_first().ok_or(PacketError::Empty)?;
        if *version != VERSION {
            return Err(PacketError::Version { version: *version });
        }
        if len > MAX_HEADER {
            return Err(PacketError::TooLong { len });
        }
        let (header, rest) = postcard::take_from_bytes::<Header>(header).map_err(|_| PacketError::Header)?;
        if !rest.is_empty() {
            return Err(PacketError::Header);
        }
        let allowed = match header.content {
            Content::Item {
                item: Item::Data(_), ..
            } => 1 + MAX_PARTS,
            _ => 1,
        };
        if frames > allowed {
            return Err(PacketError::Frames { frames });
        }
        Ok(Packet {
            header,
            pieces: parts.map(Frame::into_bytes).collect(),
        })
    }
}

/// Who a packet says it is from; none when it cannot be read.
pub(crate) fn sender_of(message: &Message) -> Option<PartyId> {
    let (version, header) = message.get(0)?.split_first()?;
    // The name comes first in a header.
    let (sender, _) = postcard::take_from_bytes(header).ok()?;
    (*version == VERSION).then_some(sender)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn names()(name in "[a-z0-9-]{1,20}") -> String { name }
    }

    fn items() -> impl Strategy<Value = Item> {
        let key = (any::<bool>(), names()).prop_map(|(is_broadcast, name)| FlowKey {
            kind: if is_broadcast {
                Kind::Broadcast
            } else {
                Kind::Variable
            },
            name: ChannelName::new(name).unwrap(),
        });
        let data = (
            (
                any::<u32>(),
                any::<u64>(),
                proptest::option::of(names()),
                any::<u8>(),
            ),
            (
                proptest::option::of(any::<u64>()),
                any::<bool>(),
                any::<u64>(),
                vec(any::<u64>(), 0..5),
            ),
        );
        prop_oneof![
            (any::<u32>(), key).prop_map(|(flow, key)| Item::Open { flow, key }),
            (any::<u32>(), any::<u64>(), vec(any::<u64>(), 0..9))
                .prop_map(|(flow, next, held)| Item::Opened { flow, next, held }),
            data.prop_map(|((flow, offset, tag, codec), (ttl, expired, at, parts))| {
                let tag = tag.map(|tag| Tag::new(tag).unwrap());
                Item::Data(Data {
                    flow,
                    offset,
                    tag,
                    codec,
                    ttl,
                    expired,
                    at,
                    parts,
                })
            }),
            (any::<u32>(), any::<u64>(), any::<bool>()).prop_map(|(flow, offset, expired)| Item::Settled {
                flow,
                offset,
                expired
            }),
            Just(Item::Ready),
            (names(), ".{0,40}").prop_map(|(by, reason)| Item::Abort {
                by: PartyId::new(by).unwrap(),
                reason
            }),
            Just(Item::Leave),
        ]
    }

    fn packets() -> impl Strategy<Value = Packet> {
        let refusals = [
            Refusal::NotAMember,
            Refusal::OtherJob,
            Refusal::InUse,
            Refusal::Superseded,
        ];
        let content = prop_oneof![
            (names(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
                |(job, window_messages, window_bytes, max_message)| {
                    let job = JobId::new(job).unwrap();
                    Content::Hello(Hello {
                        job,
                        window_messages,
                        window_bytes,
                        max_message,
                    })
                }
            ),
            proptest::sample::select(refusals.to_vec()).prop_map(Content::Refused),
            any::<bool>().prop_map(|gap| Content::Ack { gap }),
            (any::<u64>(), items()).prop_map(|(seq, item)| Content::Item { seq, item }),
        ];
        let pieces = vec(vec(any::<u8>(), 0..50).prop_map(Bytes::from), 0..4);
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
        (names(), names(), numbers, content, pieces).prop_map(
            |(from, to, (mine, yours, ack), content, mut pieces)| {
                if !matches!(
                    content,
                    Content::Item {
                        item: Item::Data(_),
                        ..
                    }
                ) {
                    pieces.clear();
                }
                let (from, to) = (PartyId::new(from).unwrap(), PartyId::new(to).unwrap());
                let header = Header {
                    from,
                    to,
                    mine,
                    yours,
                    ack,
                    content,
                };
                Packet { header, pieces }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(packet in packets()) {
            prop_assert_eq!(Packet::decode(packet.clone().encode()), Ok(packet));
        }

        #[test]
        fn a_header_cut_anywhere_is_refused(packet in packets(), cut: prop::sample::Index) {
            let mut message = packet.encode();
            let whole = message[0].to_vec();
            message.frames_mut()[0] = Frame::from(&whole[..cut.index(whole.len())]);
            prop_assert!(Packet::decode(message).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(frames in vec(vec(any::<u8>(), 0..80), 0..4), is_ours: bool) {
            let mut frames = frames;
            if let (true, Some(first)) = (is_ours, frames.first_mut()) {
                first.insert(0, VERSION);
            }
            let _ = Packet::decode(frames.into_iter().collect());
        }
    }

    #[test]
    fn pieces_belong_to_data_only() {
        let name = || PartyId::new("a").unwrap();
        let header = Header {
            from: name(),
            to: name(),
            mine: 1,
            yours: 2,
            ack: 3,
            content: Content::Ack { gap: false },
        };
        let pieces = vec![Bytes::from_static(b"x")];
        let message = Packet { header, pieces }.encode();
        assert_eq!(Packet::decode(message), Err(PacketError::Frames { frames: 2 }));
    }
}

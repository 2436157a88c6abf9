//! How a membership goes on and ends: GOODBYE, HEARTBEAT, VIEW, VIEW_ACK.

use std::net::SocketAddr;

use super::error::at_most;
use super::packet::Body;
use super::reader::{Reader, invalid};
use super::sink::{Count, Sink};
use super::{
    ChannelKind, DecodeError, EncodeError, Header, List, MAX_TEXT, MAX_VIEW, MAX_VIEW_MEMBERS,
    MAX_VIEW_PARTS, TAG_LEN, WrappedKey,
};

/// The end of a membership or of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goodbye<'a> {
    /// Why.
    pub reason: GoodbyeReason,
    /// Why, in words for the user; at most [`MAX_TEXT`] bytes.
    pub text: &'a str,
}

/// Why a membership ended. A number that this version does not know is read as [`Closed`](Self::Closed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum GoodbyeReason {
    /// The member wanted to leave.
    Left = 1,
    /// The coordinator removed the member.
    Evicted = 2,
    /// The session has ended.
    Closed = 3,
    /// The member was silent for too long.
    Dead = 4,
    /// The member could not keep up.
    Slow = 5,
}

impl GoodbyeReason {
    const fn from_number(number: u8) -> Self {
        match number {
            1 => GoodbyeReason::Left,
            2 => GoodbyeReason::Evicted,
            4 => GoodbyeReason::Dead,
            5 => GoodbyeReason::Slow,
            _ => GoodbyeReason::Closed,
        }
    }
}

impl<'a> Body<'a> for Goodbye<'a> {
    fn check(&self) -> Result<(), EncodeError> {
        at_most("text", self.text.len(), MAX_TEXT)
    }

    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u8(self.reason as u8);
        out.put_sized(self.text.as_bytes());
    }

    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Goodbye {
            reason: GoodbyeReason::from_number(body.u8()?),
            text: body.text("text", MAX_TEXT)?,
        })
    }
}

/// A sign of life. Two clocks are involved, and nobody compares one with the other: `echo` returns to the clock that
/// it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// When this was sent, in microseconds of the sender's clock.
    pub sent_at: u64,
    /// The last `sent_at` that was heard from the other side, 0 if none was.
    pub echo: u64,
    /// How long ago that was, in microseconds.
    pub echo_delay: u32,
    /// Whether the sender hears what is sent to the session's multicast address.
    pub hears_multicast: bool,
}

impl Body<'_> for Heartbeat {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u64(self.sent_at);
        out.put_u64(self.echo);
        out.put_u32(self.echo_delay);
        out.put_u8(u8::from(self.hears_multicast));
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Heartbeat {
            sent_at: body.u64()?,
            echo: body.u64()?,
            echo_delay: body.u32()?,
            hears_multicast: body.flags(1)? == 1,
        })
    }
}

/// Who belongs to a channel from an epoch on, or a part of that list. [`ViewParts`] makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// The channel; 0 is the session itself.
    pub channel: u16,
    /// What the channel is.
    pub kind: ChannelKind,
    /// The epoch of the channel that starts with this view.
    pub view: u32,
    /// Which part of the list this is, from 0.
    pub part: u16,
    /// How many parts the list has, 1 to [`MAX_VIEW_PARTS`].
    pub parts: u16,
    /// The session's new key, when it changes; for one receiver only, and in the first part only.
    pub key: Option<WrappedKey>,
    /// The members in this part.
    pub members: List<'a, Member>,
}

/// A member as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u32,
    /// Where it receives what is for it alone. The scope id of an IPv6 address means something on one machine only,
    /// and does not travel.
    pub address: SocketAddr,
    /// The longest message that it takes, in bytes.
    pub max_message: u64,
    /// What else the session tells of it; the format gives the bits no meaning.
    pub flags: u8,
}

impl Member {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u32(self.id);
        out.put_address(self.address);
        out.put_u64(self.max_message);
        out.put_u8(self.flags);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Member {
            id: body.u32()?,
            address: body.address()?,
            max_message: body.u64()?,
            flags: body.u8()?,
        })
    }

    fn len(&self) -> usize {
        let mut count = Count::default();
        self.write(&mut count);
        count.0
    }
}

/// The longest body of a VIEW.
const MAX_BODY: usize = MAX_VIEW - Header::LEN - TAG_LEN;
/// Bytes of a VIEW's body beside its key and its members.
const FIXED: usize = 2 + 1 + 4 + 2 + 2 + 1 + 1;
const KEY: usize = 48;

impl View<'_> {
    /// Channel, kind and epoch, which is what wrapping a key protects.
    pub(super) fn write_terms<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u8(self.kind as u8);
        out.put_u32(self.view);
    }
}

const fn is_part(part: u16, parts: u16) -> bool {
    part < parts && parts <= MAX_VIEW_PARTS
}

impl<'a> Body<'a> for View<'a> {
    fn check(&self) -> Result<(), EncodeError> {
        at_most("members", self.members.len(), MAX_VIEW_MEMBERS)?;
        if !is_part(self.part, self.parts) {
            return Err(EncodeError::Invalid {
                field: "part",
                value: self.part.into(),
            });
        }
        let mut body = Count::default();
        self.write(&mut body);
        at_most("view", body.0, MAX_BODY)
    }

    fn write<S: Sink>(&self, out: &mut S) {
        self.write_terms(out);
        out.put_u16(self.part);
        out.put_u16(self.parts);
        out.put_option(self.key.as_ref().map(|key| &key.0[..]));
        self.members.write(out, Member::write);
    }

    fn read(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if body.len() > MAX_BODY {
            return Err(DecodeError::Length {
                field: "view",
                len: body.len(),
                limit: MAX_BODY,
            });
        }
        let view = View {
            channel: body.u16()?,
            kind: ChannelKind::from_number(body.u8()?)?,
            view: body.u32()?,
            part: body.u16()?,
            parts: body.u16()?,
            key: body.option("key flag")?.map(WrappedKey),
            members: List::read(body, "members", MAX_VIEW_MEMBERS, Member::read)?,
        };
        if !is_part(view.part, view.parts) {
            return Err(invalid("part", view.part));
        }
        Ok(view)
    }
}

/// Splits a list of members into the fewest VIEW packets of at most [`MAX_VIEW`] bytes, in order. An empty list is one
/// part.
///
/// Room is left for a key in every part, so that the parts are the same for every receiver: who sends a key sets it in
/// the first one.
///
/// ```
/// use flexbond_wire::group::{ChannelKind, Member, ViewParts};
///
/// let members: Vec<Member> = (1..=100)
///     .map(|id| Member { id, address: ([192, 0, 2, id as u8], 4000).into(), max_message: 1 << 20, flags: 0 })
///     .collect();
/// let parts = ViewParts::new(0, ChannelKind::Session, 7, &members)?;
/// assert_eq!(parts.clone().map(|view| view.members.len()).collect::<Vec<_>>(), [54, 46]);
/// assert!(parts.flat_map(|view| view.members.iter()).eq(members.iter().copied()));
/// # Ok::<(), flexbond_wire::group::EncodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ViewParts<'a> {
    next: View<'a>,
    rest: &'a [Member],
}

impl<'a> ViewParts<'a> {
    /// The parts of the view `view` of a channel with these members.
    ///
    /// # Errors
    /// When there would be more than [`MAX_VIEW_PARTS`].
    pub fn new(
        channel: u16,
        kind: ChannelKind,
        view: u32,
        members: &'a [Member],
    ) -> Result<Self, EncodeError> {
        let mut rest = members;
        let mut parts = 0_usize;
        while parts == 0 || !rest.is_empty() {
            rest = &rest[fitting(rest)..];
            parts += 1;
        }
        at_most("view parts", parts, MAX_VIEW_PARTS.into())?;
        Ok(ViewParts {
            next: View {
                channel,
                kind,
                view,
                part: 0,
                parts: parts as u16,
                key: None,
                members: List::default(),
            },
            rest: members,
        })
    }
}

/// How many members from the front of the list one part has room for.
fn fitting(members: &[Member]) -> usize {
    let mut room = MAX_BODY - FIXED - KEY;
    members
        .iter()
        .take_while(|member| {
            let fits = member.len() <= room;
            room = room.saturating_sub(member.len());
            fits
        })
        .count()
}

impl<'a> Iterator for ViewParts<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        if self.next.part == self.next.parts {
            return None;
        }
        let (members, rest) = self.rest.split_at(fitting(self.rest));
        self.rest = rest;
        let view = View {
            members: List::new(members),
            ..self.next
        };
        self.next.part += 1;
        Some(view)
    }
}

/// A whole view has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewAck {
    /// The channel.
    pub channel: u16,
    /// The epoch of the view.
    pub view: u32,
}

impl Body<'_> for ViewAck {
    fn write<S: Sink>(&self, out: &mut S) {
        out.put_u16(self.channel);
        out.put_u32(self.view);
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(ViewAck {
            channel: body.u16()?,
            view: body.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u32, v6: impl Fn(u32) -> bool) -> Vec<Member> {
        (0..count)
            .map(|id| Member {
                id,
                address: if v6(id) {
                    ([0xfd, 0, 0, 0, 0, 0, 0, 1], 9).into()
                } else {
                    ([10, 0, 0, 1], 9).into()
                },
                max_message: u64::MAX,
                flags: 3,
            })
            .collect()
    }

    #[test]
    fn parts_are_full_and_hold_everybody_in_order() {
        for count in [0, 1, 33, 34, 35, 54, 55, 108, 109, 1000] {
            for v6 in [|_| false, |_| true, |id| id % 3 == 0] as [fn(u32) -> bool; 3] {
                let members = members(count, v6);
                let views: Vec<View<'_>> = ViewParts::new(1, ChannelKind::Barrier, 2, &members)
                    .expect("few enough")
                    .collect();
                let listed: Vec<Member> = views.iter().flat_map(|view| view.members.iter()).collect();
                assert_eq!(listed, members);
                for (index, view) in views.iter().enumerate() {
                    assert_eq!(
                        (usize::from(view.part), usize::from(view.parts)),
                        (index, views.len())
                    );
                    let keyed = View {
                        key: Some(WrappedKey([0; 48])),
                        ..*view
                    };
                    assert_eq!(keyed.check(), Ok(()));
                    // The next one's first member would not have fitted.
                    if let Some(next) = views.get(index + 1) {
                        let mut more: Vec<Member> = view.members.iter().collect();
                        more.extend(next.members.iter().next());
                        let keyed = View {
                            members: List::new(&more),
                            ..keyed
                        };
                        assert!(keyed.check().is_err());
                    }
                }
            }
        }
    }

    #[test]
    fn the_number_of_parts_is_limited() {
        let most = members(54 * u32::from(MAX_VIEW_PARTS), |_| false);
        assert_eq!(
            ViewParts::new(0, ChannelKind::Session, 1, &most).map(Iterator::count),
            Ok(1024)
        );
        let more = members(54 * u32::from(MAX_VIEW_PARTS) + 1, |_| false);
        assert!(ViewParts::new(0, ChannelKind::Session, 1, &more).is_err());
    }

    #[test]
    fn a_full_view_without_a_key_holds_the_documented_number() {
        let members = members(58, |_| false);
        let view = |count: usize| View {
            channel: 0,
            kind: ChannelKind::Session,
            view: 1,
            part: 0,
            parts: 1,
            key: None,
            members: List::new(&members[..count]),
        };
        assert_eq!(view(MAX_VIEW_MEMBERS).check(), Ok(()));
        assert!(view(MAX_VIEW_MEMBERS + 1).check().is_err());
    }

    #[test]
    fn reasons_have_their_numbers_and_unknown_ones_are_read() {
        for number in 0..=255 {
            let reason = GoodbyeReason::from_number(number);
            let known = (1..=5).contains(&number);
            assert_eq!(reason as u8 == number, known, "{number}");
            assert!(known || reason == GoodbyeReason::Closed);
        }
    }
}

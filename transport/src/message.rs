//! A whole message: one or more frames that travel together or not at all.

use std::fmt;
use std::ops::Index;

use bytes::Bytes;

use crate::Frame;

/// A message: an ordered list of [`Frame`]s that is sent, received, filtered, dropped and recorded as one unit.
///
/// A message of one frame (the usual case) needs no list on the heap.
///
/// ```
/// use flexbond_transport::Message;
///
/// let message = Message::from(["weather", "21.5"]);
/// assert_eq!(message.len(), 2);
/// assert_eq!(&message[0], b"weather");
///
/// let mut reply = Message::from("ok");
/// reply.push_front("route");
/// assert_eq!(reply, Message::from(["route", "ok"]));
/// ```
#[derive(Clone)]
pub struct Message(Parts);

#[derive(Clone)]
enum Parts {
    One(Frame),
    // Any number, zero and one included.
    Many(Vec<Frame>),
}

fn size_of_all(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| frame.as_slice().len()).sum()
}

impl Message {
    /// A message without frames. Sockets refuse to send it; add at least one frame.
    #[must_use]
    pub const fn new() -> Self {
        Message(Parts::Many(Vec::new()))
    }

    /// How many frames there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames().len()
    }

    /// Whether there is no frame at all. A message with one empty frame is not empty.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frames().is_empty()
    }

    /// The payload bytes of all frames together.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        match &self.0 {
            Parts::One(frame) => frame.as_slice().len(),
            Parts::Many(frames) => size_of_all(frames),
        }
    }

    /// What a queue of messages needs for this one in bytes: its [`size`](Self::size) and, where it is a list of frames,
    /// what the list takes. A thousand empty frames are 64 kB.
    #[must_use]
    #[inline]
    pub fn footprint(&self) -> usize {
        match &self.0 {
            Parts::One(frame) => frame.as_slice().len(),
            Parts::Many(frames) => size_of_all(frames) + frames.len() * size_of::<Frame>(),
        }
    }

    /// All frames, in order.
    #[must_use]
    #[inline]
    pub fn frames(&self) -> &[Frame] {
        match &self.0 {
            Parts::One(frame) => std::slice::from_ref(frame),
            Parts::Many(frames) => frames,
        }
    }

    /// All frames, in order, to be changed in place.
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        match &mut self.0 {
            Parts::One(frame) => std::slice::from_mut(frame),
            Parts::Many(frames) => frames,
        }
    }

    /// The frame at `index`, counted from zero.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Frame> {
        self.frames().get(index)
    }

    /// The frames, one after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Frame> {
        self.frames().iter()
    }

    /// Adds a frame at the end.
    pub fn push_back(&mut self, frame: impl Into<Frame>) {
        let frame = frame.into();
        if self.is_empty() {
            self.0 = Parts::One(frame);
        } else {
            self.as_vec().push(frame);
        }
    }

    /// Adds a frame before all others, as a ROUTER does with a routing id.
    pub fn push_front(&mut self, frame: impl Into<Frame>) {
        let frame = frame.into();
        if self.is_empty() {
            self.0 = Parts::One(frame);
        } else {
            self.as_vec().insert(0, frame);
        }
    }

    /// Takes the first frame off.
    pub fn pop_front(&mut self) -> Option<Frame> {
        match &mut self.0 {
            Parts::Many(frames) if frames.is_empty() => None,
            Parts::Many(frames) => Some(frames.remove(0)),
            Parts::One(frame) => {
                let frame = std::mem::take(frame);
                self.0 = Parts::Many(Vec::new());
                Some(frame)
            }
        }
    }

    /// Splits at `index`: the frames before it stay, those from it on are returned.
    ///
    /// An `index` past the end returns an empty message.
    #[must_use]
    pub fn split_off(&mut self, index: usize) -> Message {
        if index >= self.len() {
            return Message::new();
        }
        Message::from(self.as_vec().split_off(index))
    }

    /// All frames, in order, owned.
    #[must_use]
    pub fn into_frames(self) -> Vec<Frame> {
        match self.0 {
            Parts::One(frame) => vec![frame],
            Parts::Many(frames) => frames,
        }
    }

    /// A message that owns exactly its payload; see [`Frame::detach`].
    #[must_use]
    pub fn detach(&self) -> Message {
        self.iter().map(Frame::detach).collect()
    }

    fn as_vec(&mut self) -> &mut Vec<Frame> {
        if let Parts::One(frame) = &mut self.0 {
            let mut frames = Vec::with_capacity(4);
            frames.push(std::mem::take(frame));
            self.0 = Parts::Many(frames);
        }
        match &mut self.0 {
            Parts::Many(frames) => frames,
            Parts::One(_) => unreachable!("a single frame was turned into a list above"),
        }
    }
}

impl Default for Message {
    fn default() -> Self {
        Message::new()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.frames() == other.frames()
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.frames()).finish()
    }
}

impl Index<usize> for Message {
    type Output = [u8];

    /// # Panics
    /// When there is no frame at `index`; [`Message::get`] does not.
    fn index(&self, index: usize) -> &[u8] {
        &self.frames()[index]
    }
}

impl<F: Into<Frame>> FromIterator<F> for Message {
    fn from_iter<I: IntoIterator<Item = F>>(frames: I) -> Self {
        let mut message = Message::new();
        message.extend(frames);
        message
    }
}

impl<F: Into<Frame>> Extend<F> for Message {
    fn extend<I: IntoIterator<Item = F>>(&mut self, frames: I) {
        for frame in frames {
            self.push_back(frame);
        }
    }
}

impl IntoIterator for Message {
    type Item = Frame;
    type IntoIter = std::vec::IntoIter<Frame>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_frames().into_iter()
    }
}

impl<'a> IntoIterator for &'a Message {
    type Item = &'a Frame;
    type IntoIter = std::slice::Iter<'a, Frame>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Frame> for Message {
    #[inline]
    fn from(frame: Frame) -> Self {
        Message(Parts::One(frame))
    }
}

impl From<Vec<Frame>> for Message {
    fn from(mut frames: Vec<Frame>) -> Self {
        match frames.len() {
            1 => Message(Parts::One(frames.swap_remove(0))),
            _ => Message(Parts::Many(frames)),
        }
    }
}

impl<F: Into<Frame>, const N: usize> From<[F; N]> for Message {
    fn from(frames: [F; N]) -> Self {
        frames.into_iter().collect()
    }
}

macro_rules! from_payload {
    ($($payload:ty),*) => {$(
        impl From<$payload> for Message {
            fn from(payload: $payload) -> Self {
                Message::from(Frame::from(payload))
            }
        }
    )*};
}

from_payload!(Bytes, Vec<u8>, String, &str, &[u8]);

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(payload: &[u8; N]) -> Self {
        Message::from(Frame::from(payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_small_as_its_frame() {
        assert_eq!(size_of::<Message>(), size_of::<Frame>());
    }

    #[test]
    fn frames_come_and_go_at_both_ends() {
        let mut message = Message::new();
        assert!(message.is_empty());
        assert_eq!(message.pop_front(), None);
        message.push_back("b");
        message.push_front("a");
        message.push_back("c");
        assert_eq!(message, Message::from(["a", "b", "c"]));
        assert_eq!(message.size(), 3);
        assert_eq!(message.pop_front().as_deref(), Some(&b"a"[..]));
        assert_eq!(message.pop_front().as_deref(), Some(&b"b"[..]));
        assert_eq!(message.pop_front().as_deref(), Some(&b"c"[..]));
        assert!(message.is_empty());
    }

    #[test]
    fn one_frame_and_a_list_of_one_are_equal() {
        let mut list = Message::from(["a", "b"]);
        let _ = list.split_off(1);
        assert_eq!(list, Message::from("a"));
    }

    #[test]
    fn split_off_keeps_the_front() {
        let mut message = Message::from(["id", "", "body"]);
        let rest = message.split_off(1);
        assert_eq!(message, Message::from("id"));
        assert_eq!(rest, Message::from(["", "body"]));
        assert!(message.split_off(5).is_empty());
    }
}

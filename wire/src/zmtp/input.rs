//! The bytes from the peer: a rolling buffer for what is small, and each large body apart.

use std::collections::VecDeque;
use std::{fmt, mem};

use bytes::{Buf, BytesMut};
use flexbond_transport::{Frame, Message};

use super::ProtocolError;
use super::body::Body;
use super::frame_codec::{Framing, Header};
use super::sealed::Sealed;
use crate::spare;

/// Received bytes that are not yet decoded.
pub(crate) struct Input {
    rolling: BytesMut,
    /// How much of `rolling` was decoded. Kept apart because moving the start of a `BytesMut` for every small frame
    /// costs more than decoding it.
    taken: usize,
    /// What the rolling buffer was allocated with.
    allocated: usize,
    /// The capacity the rolling buffer should have now.
    size: usize,
    /// The bytes, from `taken` on, that the frame being received needs to be contiguous; 0 when unknown.
    needed: usize,
    /// The last read left no room: the next may be larger.
    filled: bool,
    /// It was given less room than there is.
    limited: bool,
    body: Option<Body>,
}

/// Without the bytes themselves: they may be what a mechanism has just opened.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("len", &self.bytes().len())
            .field("needed", &self.needed)
            .field("body", &self.body.is_some())
            .finish_non_exhaustive()
    }
}

impl Input {
    /// The rolling buffer's first capacity, and the one after a large body.
    const SMALLEST: usize = 4 << 10;
    /// The rolling buffer's last capacity.
    const LARGEST: usize = 128 << 10;

    pub(crate) fn new() -> Self {
        Input {
            rolling: BytesMut::new(),
            taken: 0,
            allocated: 0,
            size: Self::SMALLEST,
            needed: 0,
            filled: false,
            limited: false,
            body: None,
        }
    }

    /// The received bytes that are not part of a large body.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.rolling[self.taken..]
    }

    /// Takes note that the first `n` of [`bytes`](Input::bytes) were decoded.
    pub(crate) fn consume(&mut self, n: usize) {
        self.taken += n;
    }

    /// Where the next bytes go: always with room for some.
    pub(crate) fn space(&mut self) -> &mut BytesMut {
        if self.body.as_ref().is_none_or(Body::is_whole) {
            self.roll();
        }
        match &mut self.body {
            Some(body) if !body.is_whole() => body.space(),
            _ => &mut self.rolling,
        }
    }

    /// What [`space`](Input::space) returned last, with room for at most so many bytes. What follows in the rolling buffer is
    /// not used any more, and may be kept by what was decoded of it: the next one is as small.
    #[inline]
    pub(crate) fn space_within(&mut self, most: usize) -> &mut BytesMut {
        let space = self.current();
        let room = space.capacity() - space.len();
        if room == 0 {
            return self.space();
        }
        if most < room {
            self.limit(most.max(1));
        }
        self.current()
    }

    #[cold]
    fn limit(&mut self, most: usize) {
        let body = self.receives_body();
        let space = self.current();
        drop(space.split_off(space.len() + most));
        if !body {
            self.limited = true;
            self.size = most
                .next_multiple_of(Self::SMALLEST)
                .clamp(Self::SMALLEST, self.size);
        }
    }

    #[inline]
    fn current(&mut self) -> &mut BytesMut {
        match &mut self.body {
            Some(body) if !body.is_whole() => body.buffer_mut(),
            _ => &mut self.rolling,
        }
    }

    /// Makes room in the rolling buffer: in place if nobody holds a slice of it, otherwise in a new one.
    fn roll(&mut self) {
        self.rolling.advance(self.taken);
        self.taken = 0;
        if self.filled {
            self.filled = false;
            self.size = (self.size * 2).min(Self::LARGEST);
        }
        let len = self.rolling.len();
        let spare = self.rolling.capacity() - len;
        if spare >= self.size / 2 && len + spare >= self.needed {
            return;
        }
        let capacity = self.size.max(self.needed).max(len + self.size / 2);
        if !self.rolling.try_reclaim(capacity - len) {
            let mut next = Self::buffer(capacity);
            next.extend_from_slice(&self.rolling);
            let last = mem::replace(&mut self.rolling, next);
            if mem::replace(&mut self.allocated, capacity) == Self::LARGEST {
                spare::retire(last);
            }
        }
    }

    /// An empty rolling buffer. Those of busy connections are used again: the system would clear each page of fresh
    /// memory, a tenth of what a receiver of 10 kB messages does.
    fn buffer(capacity: usize) -> BytesMut {
        let retired = match capacity {
            Self::LARGEST => spare::reuse(capacity),
            _ => None,
        };
        retired.unwrap_or_else(|| BytesMut::with_capacity(capacity))
    }

    /// Takes note that bytes were added to what [`space`](Input::space) returned.
    pub(crate) fn handle_read(&mut self) {
        match &mut self.body {
            Some(body) => {
                if let Some(beyond) = body.take_beyond() {
                    self.rolling.extend_from_slice(&beyond);
                }
            }
            None => self.filled = self.rolling.len() == self.rolling.capacity() && !self.limited,
        }
        self.limited = false;
    }

    /// Takes the frames that are what nearly all are: in the newer format, a message of one part within the limit,
    /// here as a whole. Stops at any other, and when `messages` has as many as it may. Returns how many bytes they have.
    ///
    /// [`next_frame`](Input::next_frame) would do, but moves twice the bytes around.
    pub(crate) fn take_singles(
        &mut self,
        limit: usize,
        messages: &mut VecDeque<Message>,
        count: usize,
    ) -> usize {
        let mut size = 0;
        if self.body.is_some() {
            return size;
        }
        while messages.len() < count {
            let bytes = &self.rolling[self.taken..];
            let (header, len, rest) = match bytes {
                [0, len, rest @ ..] => (2, usize::from(*len), rest),
                [2, rest @ ..] => {
                    let Some((len, rest)) = rest.split_first_chunk() else {
                        return size;
                    };
                    let Ok(len) = usize::try_from(u64::from_be_bytes(*len)) else {
                        return size;
                    };
                    (9, len, rest)
                }
                _ => return size,
            };
            if len > limit || len > rest.len() {
                return size;
            }
            self.needed = 0;
            size += len;
            // Each kind of frame is pushed where it is made: what may be either is first put together on the stack, and
            // the processor waits for that.
            if len > Frame::INLINE {
                self.rolling.advance(self.taken + header);
                self.taken = 0;
                let body = self.rolling.split_to(len).freeze();
                messages.push_back(Message::from(Frame::from_shared(body)));
                continue;
            }
            let message = match rest.first_chunk() {
                // A copy of constant size, whatever follows on the payload.
                Some(storage) => Message::from(Frame::from_inline(storage, len)),
                None => Message::from(Frame::copy_from_slice(&rest[..len])),
            };
            self.taken += header + len;
            messages.push_back(message);
        }
        size
    }

    /// Takes the next whole frame. `check` sees its header first, before anything is allocated for the body.
    #[inline]
    pub(crate) fn next_frame(
        &mut self,
        framing: Framing,
        check: impl FnOnce(&Header) -> Result<(), ProtocolError>,
    ) -> Result<Option<(Header, Frame)>, ProtocolError> {
        if self.body.is_some() {
            return Ok(self.finish_body());
        }
        let bytes = &self.rolling[self.taken..];
        let Some(header) = framing.parse(bytes)? else {
            return Ok(None);
        };
        check(&header)?;
        // A length beyond the address space is beyond every limit, so `check` refused it.
        let Ok(len) = usize::try_from(header.body) else {
            return Err(ProtocolError::malformed("frame longer than the address space"));
        };
        let Some(body) = bytes[header.len..].get(..len) else {
            self.wait_for(header, len);
            return Ok(None);
        };
        let frame = if len <= Frame::INLINE {
            let frame = Frame::copy_from_slice(body);
            self.taken += header.len + len;
            frame
        } else {
            self.rolling.advance(self.taken + header.len);
            self.taken = 0;
            Frame::from(self.rolling.split_to(len))
        };
        self.needed = 0;
        Ok(Some((header, frame)))
    }

    /// As [`next_frame`](Input::next_frame), for a frame that is to be opened where it is.
    pub(crate) fn next_sealed(
        &mut self,
        framing: Framing,
        check: impl FnOnce(&Header) -> Result<(), ProtocolError>,
    ) -> Result<Option<Sealed>, ProtocolError> {
        if self.body.is_some() {
            let whole = self.body.take_if(|body| body.is_whole());
            return Ok(whole.map(|body| Sealed {
                buffer: body.into_buffer(),
                lent: true,
            }));
        }
        let bytes = self.bytes();
        let Some(header) = framing.parse(bytes)? else {
            return Ok(None);
        };
        check(&header)?;
        let Ok(len) = usize::try_from(header.body) else {
            return Err(ProtocolError::malformed("frame longer than the address space"));
        };
        if bytes.len() - header.len < len {
            self.wait_for(header, len);
            return Ok(None);
        }
        self.rolling.advance(self.taken + header.len);
        self.taken = 0;
        self.needed = 0;
        Ok(Some(Sealed {
            buffer: self.rolling.split_to(len),
            lent: false,
        }))
    }

    /// Prepares for a frame that is not whole yet.
    #[cold]
    fn wait_for(&mut self, header: Header, len: usize) {
        if len < Body::FROM {
            self.needed = header.len + len;
            return;
        }
        self.rolling.advance(self.taken + header.len);
        self.taken = 0;
        let arrived = self.rolling.split();
        self.body = Some(Body::new(header, len, &arrived));
        drop(arrived);
        // Large bodies tend to come in a row. What the rolling buffer catches of the next one is copied, so let it
        // catch little.
        self.rolling = BytesMut::new();
        self.allocated = 0;
        self.size = Self::SMALLEST;
        self.needed = 0;
        self.filled = false;
    }

    /// Whether the next bytes go into a body's own buffer.
    #[inline]
    pub(crate) fn receives_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_whole())
    }

    /// How much has arrived of a body that has a buffer of its own.
    #[inline]
    pub(crate) fn body_len(&self) -> usize {
        self.body.as_ref().map_or(0, Body::arrived)
    }

    #[cold]
    fn finish_body(&mut self) -> Option<(Header, Frame)> {
        self.body.take_if(|body| body.is_whole()).map(Body::finish)
    }

    /// The memory held, in bytes.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.rolling.capacity() + self.body.as_ref().map_or(0, Body::capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u64) -> Vec<u8> {
        let mut bytes = vec![2];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes
    }

    fn feed(input: &mut Input, mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let space = input.space();
            let room = space.capacity() - space.len();
            assert!(room > 0, "there is always room");
            let step = room.min(bytes.len());
            space.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            input.handle_read();
            while let Some((_, frame)) = input.next_frame(Framing::V2, |_| Ok(())).expect("well formed") {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn frames_of_every_size_arrive() {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (index, len) in [
            0,
            1,
            62,
            63,
            4000,
            Body::FROM - 1,
            Body::FROM,
            70_000,
            131_071,
            131_072,
            5 << 20,
            10,
            300_000,
            100,
        ]
        .into_iter()
        .enumerate()
        {
            let body = vec![index as u8; len];
            stream.extend_from_slice(&header(len as u64));
            stream.extend_from_slice(&body);
            expected.push(Frame::from(body));
        }
        let mut input = Input::new();
        assert_eq!(feed(&mut input, &stream), expected);
        assert!(input.capacity() <= 2 * Input::LARGEST);
    }

    #[test]
    fn a_lying_length_costs_little() {
        let mut input = Input::new();
        assert!(feed(&mut input, &header(1 << 40)).is_empty());
        input.space();
        assert!(input.capacity() <= Body::FIRST + Input::LARGEST);
    }

    #[test]
    fn a_reader_that_ignores_the_room_loses_nothing() {
        let mut input = Input::new();
        let mut stream = header(200_000);
        stream.truncate(9);
        assert!(feed(&mut input, &stream).is_empty());
        let mut rest = vec![5; 200_000];
        rest.extend_from_slice(&[0, 3, 1, 2, 3]);
        input.space().extend_from_slice(&rest);
        input.handle_read();
        let mut frames = Vec::new();
        while let Some((_, frame)) = input.next_frame(Framing::V2, |_| Ok(())).expect("well formed") {
            frames.push(frame);
        }
        assert_eq!(frames, [Frame::from(vec![5; 200_000]), Frame::from(&[1, 2, 3])]);
    }

    #[test]
    fn a_slice_is_not_copied_and_the_buffer_is_reused() {
        let mut input = Input::new();
        let mut stream = vec![0, 100];
        stream.resize(102, 9);
        let address = input.space().as_ptr() as usize;
        let frames = feed(&mut input, &stream);
        assert_eq!(frames[0].as_ptr() as usize, address + 2);
        drop(frames);
        for _ in 0..1000 {
            feed(&mut input, &stream);
        }
        let _ = input.space();
        assert!(input.capacity() <= Input::LARGEST);
    }

    #[test]
    fn where_little_may_be_read_little_is_allocated() {
        let mut input = Input::new();
        // It has grown.
        let stream: Vec<u8> = [0, 60]
            .into_iter()
            .chain([1; 60])
            .cycle()
            .take(62 * 8192)
            .collect();
        feed(&mut input, &stream);
        assert!(input.space().capacity() > Input::LARGEST / 2);
        // Each message is kept, and with it the buffer in which it came.
        let (mut kept, mut allocated, mut seen) = (Vec::new(), 0, 0);
        for bytes in stream.chunks(4000).take(100) {
            let space = input.space_within(4000);
            if space.as_ptr() as usize != seen {
                allocated += space.capacity();
            }
            let mut rest = bytes;
            while !rest.is_empty() {
                let space = input.space_within(4000);
                let step = (space.capacity() - space.len()).min(rest.len());
                assert!((1..=4000).contains(&step));
                space.extend_from_slice(&rest[..step]);
                seen = space.as_ptr() as usize;
                rest = &rest[step..];
                input.handle_read();
                while let Some((_, frame)) = input.next_frame(Framing::V2, |_| Ok(())).expect("well formed") {
                    kept.push(frame);
                }
            }
        }
        assert_eq!(kept.len(), 400_000 / 62);
        assert!(allocated <= 1 << 20, "{allocated}");
        assert_eq!(input.size, Input::SMALLEST);
    }

    #[test]
    fn the_rolling_buffer_grows_with_the_traffic() {
        let mut input = Input::new();
        assert_eq!(input.space().capacity(), Input::SMALLEST);
        let stream: Vec<u8> = [0, 30]
            .into_iter()
            .chain([1; 30])
            .cycle()
            .take(32 * 32_768)
            .collect();
        assert_eq!(feed(&mut input, &stream).len(), 32_768);
        assert!(input.space().capacity() > Input::LARGEST / 2);
    }
}

//! The receiving half of a connection: reads, takes frames apart, and fills the buffers of who receives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};

use super::connection::Connection;
use super::framing::{Garbage, HEADER, Header, MAX_SEGMENTS};
use crate::pipe::PipeReceiver;
use crate::{ByteStream, Message, Received};

/// How large a buffer is that is read into, in bytes.
const READ: usize = 256 << 10;
/// Less room than this is not read into; it is more than any frame can lack. Where less is left behind what a buffer
/// holds, which is part of one frame, there is room for that twice over before it, so that it is moved there.
const MIN_READ: usize = 64 << 10;
/// How many empty buffers are kept for the next who read.
const SPARE: usize = 4;
/// What has come of a frame is copied out of a large buffer if it is no more than this, in bytes, so that connections
/// on which little happens hold little.
const SMALL: usize = 4096;

/// Where the bytes of a connection come from, and those of them that have been read.
pub(super) enum Source {
    Stream {
        stream: Arc<dyn ByteStream>,
        buffer: BytesMut,
        /// Whether `buffer` is one to be read into.
        large: bool,
    },
    /// Each message is one or more whole frames, joined.
    Channel {
        rx: PipeReceiver<Message>,
        message: Bytes,
    },
}

/// Why nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer has finished, or is gone.
    Closed,
    /// What came is no frame.
    Garbled,
}

impl From<Garbage> for End {
    fn from(_: Garbage) -> Self {
        End::Garbled
    }
}

/// Empty buffers to be read into.
#[derive(Default)]
pub(super) struct Spare(Vec<BytesMut>);

impl Spare {
    fn take(&mut self) -> BytesMut {
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.reserve(READ);
        buffer
    }

    fn give(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        if self.0.len() < SPARE && buffer.capacity() > 0 {
            self.0.push(buffer);
        }
    }
}

/// The receiving half of a connection.
pub(super) struct Inlet {
    connection: Arc<Connection>,
    source: Source,
    /// What has not been handed over of a frame whose header has been taken off.
    part: Option<Header>,
}

impl Inlet {
    pub(super) fn new(connection: Arc<Connection>, source: Source) -> Self {
        Inlet {
            connection,
            source,
            part: None,
        }
    }

    pub(super) fn into_connection(self) -> Arc<Connection> {
        self.connection
    }

    /// Fills a buffer with what has been read: a datagram, or several of equal size. `None` if there is none.
    ///
    /// Datagrams of frames that follow each other are joined too, where they are of one size.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, End> {
        let Some(first) = self.next_part()? else {
            return Ok(None);
        };
        let source = self.connection.address;
        let size = first.segment.min(first.len);
        if size == 0 || size > buffer.len() {
            return Ok(Some(self.hand_over_cut(source, first, buffer)));
        }
        let mut received = Received::new(source, 0);
        received.segment_size = size;
        let mut room = buffer.len().min(size.saturating_mul(MAX_SEGMENTS));
        // What is wrong behind it is found the next time.
        while let Ok(Some(part)) = self.next_part() {
            // Of one size with those before it, or one datagram: of several smaller ones nobody could tell them apart.
            let joins = part.segment == size || part.len <= size.min(part.segment);
            let filled = received.len;
            // The last one only may be shorter, and an empty one stays by itself.
            if part.len == 0 || !joins || !filled.is_multiple_of(size) {
                break;
            }
            let take = if part.len <= room {
                part.len
            } else {
                room / size * size
            };
            if take == 0 {
                break;
            }
            buffer[filled..filled + take].copy_from_slice(&self.source.bytes()[..take]);
            received.len += take;
            room -= take;
            self.consume(part, take);
        }
        Ok(Some(received))
    }

    /// An empty datagram, or one that is longer than the buffer.
    fn hand_over_cut(&mut self, source: SocketAddr, part: Header, buffer: &mut [u8]) -> Received {
        let len = part.segment.min(part.len);
        let kept = len.min(buffer.len());
        buffer[..kept].copy_from_slice(&self.source.bytes()[..kept]);
        self.consume(part, len);
        Received::new(source, kept)
    }

    fn consume(&mut self, part: Header, len: usize) {
        self.source.advance(len);
        self.part = (len < part.len).then_some(Header {
            len: part.len - len,
            segment: part.segment,
        });
    }

    /// The frame, or the rest of one, that stands at the beginning of what has been read, if all of it has.
    fn next_part(&mut self) -> Result<Option<Header>, Garbage> {
        if self.part.is_none() {
            let bytes = self.source.bytes();
            self.part = Header::decode(bytes)?.filter(|header| bytes.len() >= HEADER + header.len);
            if self.part.is_some() {
                self.source.advance(HEADER);
            }
        }
        Ok(self.part)
    }

    /// Reads more; `Pending` if nothing has come.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, spare: &mut Spare) -> Poll<Result<(), End>> {
        let read = self.source.poll_more(cx, spare);
        if let Poll::Ready(Ok(())) = read {
            self.connection.outlet.touch();
        }
        read
    }
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Stream { buffer, .. } => buffer,
            Source::Channel { message, .. } => message,
        }
    }

    fn advance(&mut self, len: usize) {
        match self {
            Source::Stream { buffer, .. } => buffer.advance(len),
            Source::Channel { message, .. } => message.advance(len),
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, spare: &mut Spare) -> Poll<Result<(), End>> {
        match self {
            Source::Stream {
                stream,
                buffer,
                large,
            } => {
                if !*large {
                    let begun = std::mem::replace(buffer, spare.take());
                    buffer.extend_from_slice(&begun);
                    *large = true;
                } else if buffer.is_empty() || buffer.capacity() - buffer.len() < MIN_READ {
                    // All of the buffer's memory is its own, so that what it holds moves to the front of it.
                    buffer.reserve(READ - buffer.len());
                }
                match stream.poll_read(cx, buffer) {
                    Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(End::Closed)),
                    Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                    Poll::Pending => {
                        if buffer.len() <= SMALL {
                            let small = BytesMut::from(&buffer[..]);
                            spare.give(std::mem::replace(buffer, small));
                            *large = false;
                        }
                        Poll::Pending
                    }
                }
            }
            Source::Channel { rx, message } => {
                if !message.is_empty() {
                    // A message holds whole frames.
                    return Poll::Ready(Err(End::Garbled));
                }
                if !ready!(rx.poll_fill(cx)) {
                    return Poll::Ready(Err(End::Closed));
                }
                let frames = rx.pop().map(Message::into_frames).unwrap_or_default();
                match <[_; 1]>::try_from(frames) {
                    Ok([frame]) => {
                        *message = frame.into_bytes();
                        Poll::Ready(Ok(()))
                    }
                    Err(_) => Poll::Ready(Err(End::Garbled)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::counters::Quota;
    use super::super::framing::frames_of;
    use super::super::outlet::Outlet;
    use super::*;
    use crate::Transmit;
    use crate::pipe::pipe;

    type Packets = Vec<(Vec<u8>, Option<usize>)>;

    fn peer() -> SocketAddr {
        ([127, 0, 0, 1], 9).into()
    }

    /// An inlet that has read these packets, all at once.
    fn inlet(packets: &Packets) -> Inlet {
        let mut bytes = Vec::new();
        for (contents, segment) in packets {
            let mut transmit = Transmit::new(peer(), contents);
            transmit.segment_size = *segment;
            for frame in frames_of(&transmit).expect("short enough") {
                frame.append_to(&mut bytes);
            }
        }
        let slot = Quota::new(1).take().expect("room");
        let outlet = Arc::new(Outlet::opening(0));
        let (_, rx) = pipe(1);
        let source = Source::Channel {
            rx,
            message: bytes.into(),
        };
        Inlet::new(Connection::new(1, peer(), 7, true, outlet, slot), source)
    }

    /// What is handed over of it, buffer after buffer of `len` bytes.
    fn received(mut inlet: Inlet, len: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut buffer = vec![0; len];
        while let Some(received) = inlet.fill(&mut buffer).expect("frames") {
            packets.extend(received.packets(&buffer).map(<[u8]>::to_vec));
        }
        packets
    }

    fn sent(packets: &Packets) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for (contents, segment) in packets {
            match segment {
                Some(size) if !contents.is_empty() => sent.extend(contents.chunks(*size).map(<[u8]>::to_vec)),
                _ => sent.push(contents.clone()),
            }
        }
        sent
    }

    #[test]
    fn several_small_datagrams_do_not_become_one_behind_a_large_one() {
        let packets = vec![(vec![1; 1000], None), (vec![2; 100], Some(10))];
        assert_eq!(received(inlet(&packets), 65_536), sent(&packets));
    }

    proptest! {
        #[test]
        fn datagrams_are_handed_over_as_they_were_sent(
            packets in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..200), prop::option::of(1_usize..40)),
                0..12,
            ),
            len in 200_usize..3000,
        ) {
            prop_assert_eq!(received(inlet(&packets), len), sent(&packets));
        }
    }
}

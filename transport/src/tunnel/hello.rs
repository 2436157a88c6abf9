//! What both ends of a connection say first: that they are tunnels, and where each of them listens.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | `fbtn` |
//! | 1 | the version of what follows, 1 |
//! | 1 | 0 |
//! | 2 | the port that the tunnel listens at, big-endian; 0 where there are no ports |
//! | 8 | its place among the tunnels of a name, big-endian; 0 where there are ports |
//! | 8 | a number that the tunnel has drawn, by which it is told from any other |

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::inlet::Source;
use super::outlet::Sink;
use crate::{ByteStream, Frame, Link, Message, MessageChannel};

/// How long a greeting is, in bytes.
pub(super) const LEN: usize = 24;
const MAGIC: [u8; 4] = *b"fbtn";
const VERSION: u8 = 1;

/// Who a tunnel says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) port: u16,
    pub(super) place: u64,
    pub(super) instance: u64,
}

/// Why nobody was greeted.
#[derive(Debug, Error)]
pub(super) enum GreetError {
    #[error("the connection has ended: {0}")]
    Ended(#[from] io::Error),
    #[error("the other end is no tunnel, or of another version")]
    NoTunnel,
}

impl Hello {
    pub(super) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[6..8].copy_from_slice(&self.port.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.place.to_be_bytes());
        bytes[16..].copy_from_slice(&self.instance.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, GreetError> {
        let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| GreetError::NoTunnel)?;
        if bytes[..4] != MAGIC || bytes[4] != VERSION || bytes[5] != 0 {
            return Err(GreetError::NoTunnel);
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte));
        Ok(Hello {
            port: u16::from_be_bytes([bytes[6], bytes[7]]),
            place: number(&bytes[8..16]),
            instance: number(&bytes[16..]),
        })
    }
}

/// Says who we are, and hears who the other end is.
///
/// # Errors
/// [`GreetError`]; the connection is gone then.
pub(super) async fn greet(link: Link, own: &Hello) -> Result<(Hello, Source, Sink), GreetError> {
    match link {
        Link::Stream(stream) => greet_stream(Arc::from(stream), own).await,
        Link::Messages(channel) => greet_channel(channel, own).await,
    }
}

async fn greet_stream(stream: Arc<dyn ByteStream>, own: &Hello) -> Result<(Hello, Source, Sink), GreetError> {
    let greeting = own.encode();
    let mut written = 0;
    while written < LEN {
        let rest = [IoSlice::new(&greeting[written..])];
        written += poll_fn(|cx| stream.poll_write(cx, &rest)).await?;
    }
    poll_fn(|cx| stream.poll_flush(cx)).await?;
    let mut buffer = BytesMut::with_capacity(LEN);
    while buffer.len() < LEN {
        if poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // Whoever says something else is not waited for.
        let begun = buffer.len().min(MAGIC.len());
        if buffer[..begun] != MAGIC[..begun] {
            return Err(GreetError::NoTunnel);
        }
    }
    // The room of the buffer is the allocator's choice, so that more than a greeting may have been read.
    let hello = Hello::decode(&buffer.split_to(LEN))?;
    let sink = Sink::Stream(Arc::clone(&stream));
    let source = Source::Stream {
        stream,
        buffer,
        large: false,
    };
    Ok((hello, source, sink))
}

async fn greet_channel(channel: MessageChannel, own: &Hello) -> Result<(Hello, Source, Sink), GreetError> {
    let MessageChannel { tx, mut rx } = channel;
    let gone = || GreetError::Ended(io::ErrorKind::UnexpectedEof.into());
    let greeting = Message::from(Frame::copy_from_slice(&own.encode()));
    // The first message of a channel always finds room.
    tx.try_push(greeting, None).map_err(|_| gone())?;
    if !poll_fn(|cx| rx.poll_fill(cx)).await {
        return Err(gone());
    }
    let message = rx.pop().ok_or_else(gone)?;
    let [frame] = message.frames() else {
        return Err(GreetError::NoTunnel);
    };
    let hello = Hello::decode(frame.as_slice())?;
    let source = Source::Channel {
        rx,
        message: Bytes::new(),
    };
    Ok((hello, source, Sink::Channel(tx)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_said_is_heard(port: u16, place: u64, instance: u64) {
            let hello = Hello { port, place, instance };
            prop_assert_eq!(Hello::decode(&hello.encode()).expect("a greeting"), hello);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Hello::decode(&bytes);
        }
    }

    #[test]
    fn other_versions_are_refused() {
        let hello = Hello {
            port: 1,
            place: 2,
            instance: 3,
        };
        for at in 0..6 {
            let mut bytes = hello.encode();
            bytes[at] ^= 1;
            assert!(
                matches!(Hello::decode(&bytes), Err(GreetError::NoTunnel)),
                "byte {at}"
            );
        }
        assert!(Hello::decode(&hello.encode()[..LEN - 1]).is_err());
    }
}

//! The control connection: whole messages over a stream.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use flexbond_transport::ByteStream;
use thiserror::Error;

use super::hello::{Hello, HelloError};
use super::notice::Message;

/// Why nothing more comes.
#[derive(Debug, Error)]
pub(super) enum LineError {
    #[error("the connection has ended")]
    Ended,
    #[error("a message is malformed, or too long")]
    Malformed,
    #[error("another protocol is spoken")]
    Foreign,
    #[error("version {0} is spoken")]
    Version(u16),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<HelloError> for LineError {
    fn from(error: HelloError) -> Self {
        match error {
            HelloError::Foreign => LineError::Foreign,
            HelloError::Version(theirs) => LineError::Version(theirs),
        }
    }
}

/// Fills `target` and reads nothing beyond it. Not cancel safe.
pub(super) async fn read_exact(stream: &dyn ByteStream, mut target: &mut [u8]) -> Result<(), LineError> {
    while !target.is_empty() {
        let count = poll_fn(|cx| stream.poll_read_into(cx, target)).await?;
        if count == 0 {
            return Err(LineError::Ended);
        }
        target = &mut target[count..];
    }
    Ok(())
}

/// Reads a hello, without its rest. Not cancel safe.
pub(super) async fn read_hello(stream: &dyn ByteStream) -> Result<Hello, LineError> {
    let mut bytes = [0; Hello::LEN];
    read_exact(stream, &mut bytes).await?;
    Ok(Hello::decode(&bytes)?)
}

/// Writes it all. Not cancel safe.
pub(super) async fn write_all(stream: &dyn ByteStream, mut bytes: &[u8]) -> Result<(), LineError> {
    while !bytes.is_empty() {
        let count = write_some(stream, bytes).await?;
        bytes = &bytes[count..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await?;
    Ok(())
}

/// Writes what the stream takes of bytes that there are: one at least.
async fn write_some(stream: &dyn ByteStream, bytes: &[u8]) -> Result<usize, LineError> {
    match poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await? {
        // To ask again would be for ever.
        0 => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
        count => Ok(count),
    }
}

/// Reads for at most as long as the other end goes on, so that what was written last is not taken back by the system
/// because of what was not read.
pub(super) async fn drain(stream: &dyn ByteStream) {
    let mut waste = [0; 1024];
    let _ = poll_fn(|cx| stream.poll_shutdown(cx)).await;
    while let Ok(1..) = poll_fn(|cx| stream.poll_read_into(cx, &mut waste)).await {}
}

/// The receiving direction of a control connection.
pub(super) struct LineReader {
    stream: Arc<dyn ByteStream>,
    buffer: BytesMut,
}

impl LineReader {
    pub(super) fn new(stream: Arc<dyn ByteStream>) -> Self {
        LineReader {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next message. Cancel safe.
    pub(super) async fn read<T: Message>(&mut self) -> Result<T, LineError> {
        loop {
            let mut wanted = 4;
            if let Some(length) = self.buffer.first_chunk() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > T::MAX_LEN {
                    return Err(LineError::Malformed);
                }
                wanted += length;
                if let Some(message) = self.buffer.get(4..wanted) {
                    let message = T::decode(message).map_err(|_| LineError::Malformed)?;
                    self.buffer.advance(wanted);
                    return Ok(message);
                }
            }
            // A length that is only announced takes no more memory than what has come.
            let missing = wanted - self.buffer.len();
            self.buffer.reserve(missing.clamp(512, 64 << 10));
            let count = poll_fn(|cx| self.stream.poll_read(cx, &mut self.buffer)).await?;
            if count == 0 {
                return Err(LineError::Ended);
            }
        }
    }
}

/// The sending direction of a control connection.
pub(super) struct LineWriter {
    stream: Arc<dyn ByteStream>,
    pending: Vec<u8>,
    written: usize,
}

impl LineWriter {
    /// What may wait: two of the longest messages. Who reads less is not worth waiting for.
    pub(super) const LIMIT: usize = 2 * super::notice::MAX_NOTICE;

    pub(super) fn new(stream: Arc<dyn ByteStream>) -> Self {
        LineWriter {
            stream,
            pending: Vec::new(),
            written: 0,
        }
    }

    pub(super) fn push(&mut self, message: &impl Message) {
        message.encode(&mut self.pending);
    }

    pub(super) fn push_encoded(&mut self, bytes: &mut Vec<u8>) {
        self.pending.append(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len() - self.written
    }

    /// Whether there is nothing to [flush](Self::flush), also of what the stream has taken and holds back.
    pub(super) fn is_flushed(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes what waits. Cancel safe.
    pub(super) async fn flush(&mut self) -> Result<(), LineError> {
        while self.written < self.pending.len() {
            let left = &self.pending[self.written..];
            self.written += write_some(&*self.stream, left).await?;
        }
        poll_fn(|cx| self.stream.poll_flush(cx)).await?;
        self.pending.clear();
        self.written = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use super::super::notice::Request;
    use super::*;

    /// Takes nothing, and says so instead of waiting or failing.
    struct Idle;

    impl ByteStream for Idle {
        fn poll_read(&self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_write(&self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(0))
        }

        fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_stream_that_takes_nothing_is_an_error() {
        let is_none = |result: Result<(), LineError>| match result {
            Err(LineError::Io(error)) => error.kind() == io::ErrorKind::WriteZero,
            _ => false,
        };
        assert!(is_none(write_all(&Idle, b"bytes").await));
        let mut writer = LineWriter::new(Arc::new(Idle));
        writer.push(&Request::Beat);
        assert!(is_none(writer.flush().await));
    }
}

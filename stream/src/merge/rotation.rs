//! Streams merged in turn.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use flexbond_session::socket::RecvError;

use super::{MergeError, Order, RoundRobin};
use crate::alarm::{Alarm, earlier, now};
use crate::{ReceiveError, Stream, StreamMessage};

/// Several streams as one, one message of each in turn. Every instance has its own turn.
///
/// See the [module](super) for an example.
#[derive(Debug)]
pub struct Merge {
    streams: Vec<Stream>,
    turns: RoundRobin,
    receive_timeout: Option<Duration>,
    alarm: Alarm,
}

/// How streams are merged in turn. Every field has a default.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MergeOptions {
    /// Whether a silent stream holds up the others. Default: for a second, once.
    pub order: Order,
    /// How long a receive waits; `None` (default) waits for ever. The time-outs of the streams themselves do not apply.
    pub receive_timeout: Option<Duration>,
}

/// A message, and the stream that it came by.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Merged {
    /// Which stream, from zero, in the order in which they were given.
    pub stream: usize,
    /// The message.
    pub message: StreamMessage,
}

impl MergeOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        MergeOptions::default()
    }

    /// Sets [`order`](Self#structfield.order).
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets [`receive_timeout`](Self#structfield.receive_timeout).
    #[must_use]
    pub fn receive_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.receive_timeout = limit.into();
        self
    }
}

impl Merge {
    /// Merges streams with the default options.
    #[must_use]
    pub fn new(streams: Vec<Stream>) -> Self {
        Merge::with_options(streams, MergeOptions::default())
    }

    /// Merges streams.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "options are given away everywhere")]
    pub fn with_options(streams: Vec<Stream>, options: MergeOptions) -> Self {
        Merge {
            turns: RoundRobin::new(streams.len(), options.order),
            streams,
            receive_timeout: options.receive_timeout,
            alarm: Alarm::default(),
        }
    }

    /// Waits for the next message.
    ///
    /// # Cancel safety
    /// Dropping the future takes no message, and changes no turn but those of streams that were silent for too long.
    ///
    /// # Errors
    /// [`MergeError`]; the next call goes on with the next message.
    pub async fn receive(&mut self) -> Result<Merged, MergeError> {
        tokio::task::coop::consume_budget().await;
        let limit = self.receive_timeout;
        let give_up = limit.and_then(|limit| now().checked_add(limit));
        poll_fn(|cx| {
            loop {
                let now = now();
                let found = self
                    .turns
                    .poll(now, |stream| match self.streams[stream].poll_receive(cx) {
                        Poll::Ready(result) => Some(result),
                        Poll::Pending => None,
                    });
                if let Some((stream, result)) = found {
                    return Poll::Ready(self.give(stream, result));
                }
                if self.turns.is_over() {
                    return Poll::Ready(Err(MergeError::Closed));
                }
                if let (Some(limit), Some(give_up)) = (limit, give_up)
                    && give_up <= now
                {
                    return Poll::Ready(Err(MergeError::Timeout(limit)));
                }
                let deadline = earlier(self.turns.poll_timeout(), give_up);
                if self.alarm.poll(cx, deadline).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// The next message if it can be given without waiting. Turns hold here, too: as long as a stream is waited for,
    /// the others have to wait.
    ///
    /// # Errors
    /// [`MergeError`]; [`MergeError::WouldBlock`] when there is none.
    pub fn try_receive(&mut self) -> Result<Merged, MergeError> {
        let found = self
            .turns
            .poll(now(), |stream| match self.streams[stream].try_receive() {
                Err(ReceiveError::Socket(RecvError::WouldBlock)) => None,
                result => Some(result),
            });
        match found {
            Some((stream, result)) => self.give(stream, result),
            None if self.turns.is_over() => Err(MergeError::Closed),
            None => Err(MergeError::WouldBlock),
        }
    }

    /// The streams, for their statistics.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// The streams, to set the strides of their numbers, to ask for warnings, or to register handlers. What is received
    /// from one of them directly has no turn.
    pub fn streams_mut(&mut self) -> &mut [Stream] {
        &mut self.streams
    }

    /// The streams again, each for itself.
    #[must_use]
    pub fn into_streams(self) -> Vec<Stream> {
        self.streams
    }

    /// Leaves all streams.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the background.
    pub async fn disconnect(self) {
        for stream in self.streams {
            stream.disconnect().await;
        }
    }

    fn give(
        &mut self,
        stream: usize,
        result: Result<StreamMessage, ReceiveError>,
    ) -> Result<Merged, MergeError> {
        if let Err(ReceiveError::Socket(_)) = &result {
            self.turns.end(stream);
        }
        match result {
            Ok(message) => Ok(Merged { stream, message }),
            Err(error) => Err(MergeError::Stream {
                stream,
                error: Box::new(error),
            }),
        }
    }
}

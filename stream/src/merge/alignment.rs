//! Streams merged by the numbers of their frames.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use flexbond_session::socket::RecvError;

use super::{AlignCount, AlignOptions, AlignedSet, Aligner, MergeError};
use crate::alarm::{Alarm, earlier, now};
use crate::{FrameId, ReceiveError, Stream, StreamMessage};

/// Several streams as one stream of sets: messages with the same number, one of each stream.
///
/// A stream that is ahead of the others is not read on when [`AlignOptions::max_pending`] of its messages wait.
#[derive(Debug)]
pub struct AlignedMerge {
    streams: Vec<Stream>,
    aligner: Aligner<StreamMessage>,
    options: AlignOptions,
    /// Messages without a number that must not overtake older ones of their stream, which is not read on meanwhile.
    held: Vec<Option<StreamMessage>>,
    /// Where reading goes on, so that no stream is always first.
    next: usize,
    alarm: Alarm,
}

/// What comes of streams that are merged by number.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Aligned {
    /// Messages with the same number. Sets come in ascending order.
    Set(AlignedSet<StreamMessage>),
    /// A message without a number, such as the beginning or the end of a series. It comes once all sets are given that
    /// have an older message of its stream: the messages of each stream stay in order.
    Unnumbered {
        /// Which stream it came by.
        stream: usize,
        /// The message.
        message: StreamMessage,
    },
    /// A message whose set was given without it, or that came twice. It is counted, too.
    Late {
        /// Which stream it came by.
        stream: usize,
        /// The message.
        message: StreamMessage,
    },
}

impl AlignedMerge {
    /// Merges streams with the default options.
    #[must_use]
    pub fn new(streams: Vec<Stream>) -> Self {
        AlignedMerge::with_options(streams, AlignOptions::default())
    }

    /// Merges streams.
    #[must_use]
    pub fn with_options(streams: Vec<Stream>, options: AlignOptions) -> Self {
        AlignedMerge {
            aligner: Aligner::new(streams.len(), options.clone()),
            held: std::iter::repeat_with(|| None).take(streams.len()).collect(),
            streams,
            options,
            next: 0,
            alarm: Alarm::default(),
        }
    }

    /// Waits for the next set.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: messages that were read wait for their sets in here.
    ///
    /// # Errors
    /// [`MergeError`]; the next call goes on.
    pub async fn receive(&mut self) -> Result<Aligned, MergeError> {
        tokio::task::coop::consume_budget().await;
        let limit = self.options.receive_timeout;
        let give_up = limit.and_then(|limit| now().checked_add(limit));
        poll_fn(|cx| {
            loop {
                let now = now();
                let look = |stream: &mut Stream| match stream.poll_receive(cx) {
                    Poll::Ready(result) => Some(result),
                    Poll::Pending => None,
                };
                if let Some(result) = self.step(now, look) {
                    return Poll::Ready(result);
                }
                if let (Some(limit), Some(give_up)) = (limit, give_up)
                    && give_up <= now
                {
                    return Poll::Ready(Err(MergeError::Timeout(limit)));
                }
                if self.sleep(cx, give_up).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// The next set if it can be given without waiting.
    ///
    /// # Errors
    /// [`MergeError`]; [`MergeError::WouldBlock`] when there is none.
    pub fn try_receive(&mut self) -> Result<Aligned, MergeError> {
        let look = |stream: &mut Stream| match stream.try_receive() {
            Err(ReceiveError::Socket(RecvError::WouldBlock)) => None,
            result => Some(result),
        };
        self.step(now(), look).unwrap_or(Err(MergeError::WouldBlock))
    }

    /// The streams, for their statistics.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// The streams, to set the strides of their numbers, to ask for warnings, or to register handlers. What is received
    /// from one of them directly is in no set.
    pub fn streams_mut(&mut self) -> &mut [Stream] {
        &mut self.streams
    }

    /// Reads no more, and waits for nothing that is missing: what waits in here is given as it is, and then
    /// [`MergeError::Closed`] says that this was all.
    pub fn give_up(&mut self) {
        (0..self.streams.len()).for_each(|stream| self.aligner.end(stream));
    }

    /// What became of the messages of each stream.
    pub fn counts(&self) -> impl Iterator<Item = AlignCount> {
        self.aligner.counts()
    }

    /// Leaves all streams. Messages that wait for their sets are dropped, unless they were taken after
    /// [`give_up`](Self::give_up).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the background.
    pub async fn disconnect(self) {
        for stream in self.streams {
            stream.disconnect().await;
        }
    }

    fn sleep(&mut self, cx: &mut Context<'_>, give_up: Option<Instant>) -> Poll<()> {
        self.alarm.poll(cx, earlier(self.aligner.poll_timeout(), give_up))
    }

    /// What can be given now. Reads one message of each stream at most before it looks at the sets again.
    fn step(
        &mut self,
        now: Instant,
        mut look: impl FnMut(&mut Stream) -> Option<Result<StreamMessage, ReceiveError>>,
    ) -> Option<Result<Aligned, MergeError>> {
        loop {
            if let Some(set) = self.aligner.poll(now) {
                return Some(Ok(Aligned::Set(set)));
            }
            if let Some((stream, message)) = self.release() {
                return Some(Ok(Aligned::Unnumbered { stream, message }));
            }
            if self.aligner.is_over() {
                return Some(Err(MergeError::Closed));
            }
            let (index, result) = self.read(&mut look)?;
            if let Some(given) = self.take(now, index, result) {
                return Some(given);
            }
        }
    }

    /// A message without a number that has nothing more before it.
    fn release(&mut self) -> Option<(usize, StreamMessage)> {
        let free = |index: &usize| self.held[*index].is_some() && self.aligner.is_empty(*index);
        let index = (0..self.held.len()).find(free)?;
        self.aligner.block(index, false);
        Some((index, self.held[index].take()?))
    }

    fn read(
        &mut self,
        look: &mut impl FnMut(&mut Stream) -> Option<Result<StreamMessage, ReceiveError>>,
    ) -> Option<(usize, Result<StreamMessage, ReceiveError>)> {
        let count = self.streams.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            if !self.aligner.has_room(index) || self.aligner.has_ended(index) || self.held[index].is_some() {
                continue;
            }
            if let Some(result) = look(&mut self.streams[index]) {
                self.next = (index + 1) % count;
                return Some((index, result));
            }
        }
        None
    }

    /// Puts a message into its set, or keeps it until it has nothing more before it; what is late is given at once.
    fn take(
        &mut self,
        now: Instant,
        stream: usize,
        result: Result<StreamMessage, ReceiveError>,
    ) -> Option<Result<Aligned, MergeError>> {
        let message = match result {
            Ok(message) => message,
            Err(error) => {
                if matches!(error, ReceiveError::Socket(_)) {
                    self.aligner.end(stream);
                }
                return Some(Err(MergeError::Stream {
                    stream,
                    error: Box::new(error),
                }));
            }
        };
        let id = match self.options.numbering {
            Some(numbering) => FrameId::numbered(&message.header, numbering),
            None => FrameId::of(&message.header),
        };
        let Some(FrameId {
            numbering,
            series,
            number,
            ..
        }) = id
        else {
            self.aligner.block(stream, true);
            self.held[stream] = Some(message);
            return None;
        };
        let id = FrameId::new(numbering, number).series(series);
        let rejected = self.aligner.handle_item(now, stream, id, message).err()?;
        Some(Ok(Aligned::Late {
            stream,
            message: rejected.item,
        }))
    }
}

//! A call's turn: what it waits for before it is made.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::error::CallError;
use crate::layers::of_whole;
use crate::request::Request;

/// The wait of a call until there is room for it, which counts to its time.
pub(crate) struct Turn {
    /// How long that may take where the call names no timeout.
    patience: Option<Duration>,
    waiting: Option<Waiting>,
    /// The time of the call, if some of it went with waiting.
    whole: Option<Duration>,
}

/// That there is no room, which is rare: only then it takes memory.
struct Waiting {
    since: Instant,
    limit: Duration,
    over: Pin<Box<Sleep>>,
}

impl Turn {
    /// A call that waits as long as it says or, where it does not, for `patience`.
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Turn {
            patience,
            waiting: None,
            whole: None,
        }
    }

    /// The error of the call that was made then: its time is all that it had, not what the wait has left.
    #[inline]
    pub(crate) fn error(&self, error: CallError) -> CallError {
        of_whole(error, self.whole)
    }

    /// Ready as soon as `room` is, which was polled just now, or the time is over. What it took is then taken off the
    /// time of `request`.
    #[inline]
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Request,
        room: Poll<Result<(), CallError>>,
    ) -> Poll<Result<(), CallError>> {
        if let Poll::Ready(room) = room {
            if let Some(waiting) = self.waiting.take() {
                request.waited(waiting.limit, waiting.since.elapsed());
                self.whole = Some(waiting.limit);
            }
            return Poll::Ready(room);
        }
        let Some(limit) = request.timeout.or(self.patience) else {
            return Poll::Pending;
        };
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            limit,
            over: Box::pin(tokio::time::sleep(limit)),
        });
        ready!(waiting.over.as_mut().poll(cx));
        Poll::Ready(Err(CallError::DeadlineExceeded {
            timeout: limit,
            unconnected: Some("there was no room for one more call".to_owned()),
        }))
    }
}

//! A call under way: its future, the items of its answer, and those of its arguments.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use tokio::time::Instant;

use super::shared::Shared;
use super::slot::{Beginning, Next};
use crate::envelope::Envelope;
use crate::error::CallError;
use crate::request::{Item, Items, Response};

/// A call under way. Dropping it cancels the call, here and on the server.
#[must_use = "a call whose future is dropped is cancelled"]
pub struct Calling(Stage);

enum Stage {
    Refused(CallError),
    Waiting(Guard),
    Over,
}

/// Ends a call when it is dropped, unless it has ended.
#[derive(Debug)]
pub(super) struct Guard {
    shared: Option<Arc<Shared>>,
    call: u64,
}

impl Calling {
    pub(super) fn refused(error: CallError) -> Self {
        Calling(Stage::Refused(error))
    }

    pub(super) fn waiting(guard: Guard) -> Self {
        Calling(Stage::Waiting(guard))
    }
}

impl Guard {
    /// From here on, dropping it cancels the call.
    pub(super) fn new(shared: Arc<Shared>, call: u64) -> Self {
        Guard {
            shared: Some(shared),
            call,
        }
    }

    /// The call has ended.
    fn release(mut self) {
        self.shared = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.cancel(self.call);
        }
    }
}

impl Future for Calling {
    type Output = Result<Response, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Waiting(Guard {
            shared: Some(shared),
            call,
        }) = &self.0
        {
            let answer = shared.with(|state, wakers| state.calls.poll_answer(cx, *call, wakers));
            let answer = ready!(answer);
            let Stage::Waiting(guard) = std::mem::replace(&mut self.0, Stage::Over) else {
                return Poll::Ready(Err(over()));
            };
            return Poll::Ready(match answer {
                Ok(Beginning::Stream) => Ok(Response {
                    items: Some(read(guard)),
                    ..Response::default()
                }),
                Ok(Beginning::Whole(response)) => {
                    guard.release();
                    Ok(response)
                }
                Err(error) => {
                    guard.release();
                    Err(error)
                }
            });
        }
        match std::mem::replace(&mut self.0, Stage::Over) {
            Stage::Refused(error) => Poll::Ready(Err(error)),
            Stage::Waiting(_) | Stage::Over => Poll::Ready(Err(over())),
        }
    }
}

/// A future that is polled again after its end is a fault of the caller's, of which nothing bad need come.
#[cold]
fn over() -> CallError {
    CallError::Layer("a call was polled after its answer".to_owned())
}

/// The items of a streamed answer. Dropping it ends the stream, here and on the server.
fn read(guard: Guard) -> Items {
    let mut guard = guard;
    Items::new(futures_util::stream::poll_fn(move |cx| {
        let call = guard.call;
        let Some(shared) = &guard.shared else {
            return Poll::Ready(None);
        };
        let next = shared.with(|state, wakers| {
            let next = state.calls.poll_item(Instant::now(), cx, call, wakers);
            if let Poll::Ready(Ok(Next::Item(_, more @ 1..))) = next {
                state.tell(&Envelope::credit(call, more));
            }
            next
        });
        let next = ready!(next);
        if !matches!(next, Ok(Next::Item(..))) {
            guard.shared = None;
        }
        Poll::Ready(match next {
            Ok(Next::Item(item, _)) => Some(Ok(item)),
            Ok(Next::End) => None,
            Err(error) => Some(Err(error)),
        })
    }))
}

/// Sends streamed arguments as the server takes them, until the call ends.
pub(super) async fn upload(shared: Arc<Shared>, call: u64, mut items: Items) {
    let mut sending = Sending {
        shared: &shared,
        call,
        number: 0,
    };
    loop {
        let leave = poll_fn(
            |cx| match shared.with(|state, _| state.poll_leave(Instant::now(), cx, call)) {
                Some(true) => Poll::Ready(true),
                Some(false) => Poll::Pending,
                None => Poll::Ready(false),
            },
        );
        if !leave.await {
            return;
        }
        let next = poll_fn(|cx| {
            // What nobody wants any more is not waited for.
            if shared.state.lock().calls.poll_leave(cx, call).is_none() {
                return Poll::Ready(None);
            }
            items.poll_next_unpin(cx).map(Some)
        });
        let Some(item) = next.await else {
            return;
        };
        let Some(item) = item else {
            return shared.with(|state, _| {
                state.tell(&Envelope::stream_end(call, sending.number));
                state.calls.upload_ended(Instant::now(), call);
            });
        };
        if let Err(error) = item.and_then(|item| send(&shared, call, sending.number, item)) {
            return sending.fail(error);
        }
        sending.number = sending.number.wrapping_add(1);
        // Others have their turn, too, however much the server takes.
        tokio::task::coop::consume_budget().await;
    }
}

/// Streamed arguments that are being sent. Their stream is the caller's, and so are its panics: nobody else would end
/// the call then.
struct Sending<'a> {
    shared: &'a Shared,
    call: u64,
    /// Of the next item.
    number: u32,
}

impl Sending<'_> {
    /// The next item cannot be sent, which ends the call.
    fn fail(&self, error: CallError) {
        let error = CallError::Upload {
            number: self.number,
            source: Box::new(error),
        };
        self.shared.with(|state, wakers| {
            let server = state.calls.fail(self.call, error, wakers);
            state.stop(self.call, server);
        });
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fail(CallError::Layer(
                "the stream of the arguments panicked".to_owned(),
            ));
        }
    }
}

fn send(shared: &Shared, call: u64, number: u32, item: Item) -> Result<(), CallError> {
    let mut envelope = Envelope::stream_item(call, number, item.body).with_codec(item.codec);
    envelope.buffers = item.buffers;
    let size = envelope.size();
    let message = envelope.encode()?;
    shared.with(|state, _| {
        state.limits().check(size, &message)?;
        state.tell_message(message);
        state.calls.uploaded(Instant::now(), call);
        Ok(())
    })
}

impl fmt::Debug for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calling")
    }
}

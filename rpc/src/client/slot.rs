//! One call under way, without any I/O or clock.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::CallError;
use crate::request::{Item, Response};

/// How long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes.
    Endless,
    /// So long for the whole call.
    Whole(Duration),
    /// So long for each sign of life that the server owes: the next item, leave to send more, the answer.
    Each(Duration),
}

impl Patience {
    pub(super) fn limit(self) -> Option<Duration> {
        match self {
            Patience::Endless => None,
            Patience::Whole(limit) | Patience::Each(limit) => Some(limit),
        }
    }
}

/// What a call is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) patience: Patience,
    /// Its answer may be a stream, of which so many items may come at first.
    pub(super) window: Option<u32>,
    /// Items follow it.
    pub(super) uploads: bool,
    /// It is over when it is sent.
    pub(super) is_one_way: bool,
}

impl Kind {
    /// When the first sign of life is due, if it begins now.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.patience.limit()?)
    }
}

/// One call under way.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) patience: Patience,
    pub(super) deadline: Option<Instant>,
    /// It was handed to the connection.
    pub(super) sent: bool,
    is_one_way: bool,
    state: State,
    waker: Option<Waker>,
    upload: Option<Box<Upload>>,
}

#[derive(Debug)]
enum State {
    /// For its answer.
    Waiting,
    /// As a stream.
    Streaming(Box<Received>),
    /// The end, not yet told.
    Done(Result<Response, CallError>),
}

/// What came of a streamed answer and was not read yet.
#[derive(Debug, Default)]
struct Received {
    items: VecDeque<Item>,
    next: u32,
    /// Items that may still come.
    room: u32,
    /// Items that were read since leave was given last.
    read: u32,
    window: u32,
    end: Option<Result<(), CallError>>,
}

/// Arguments that go as a stream.
#[derive(Debug, Default)]
struct Upload {
    /// Items that the server has room for.
    leave: u32,
    /// All were sent.
    ended: bool,
    /// It waits until the connection takes what is said before it.
    stalled: bool,
    /// Of who sends them.
    waker: Option<Waker>,
}

/// What the caller of a stream gets next.
#[derive(Debug)]
pub(super) enum Next {
    /// An item, and how many more may come now; 0 if nothing is to be said of that.
    Item(Item, u32),
    End,
}

/// The beginning of an answer.
#[derive(Debug)]
pub(super) enum Beginning {
    /// All of it.
    Whole(Response),
    /// A stream, to be read item by item.
    Stream,
}

/// Whether the server is to hear that nobody wants its answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Server {
    /// It has ended the call itself, or there is no reason to.
    Knows,
    /// It goes on with a call that is over here.
    MustStop,
}

impl Slot {
    pub(super) fn new(generation: u32, deadline: Option<Instant>, kind: Kind) -> Self {
        Slot {
            generation,
            patience: kind.patience,
            deadline,
            sent: false,
            is_one_way: kind.is_one_way,
            state: match kind.window {
                Some(window) => State::Streaming(Box::new(Received {
                    room: window,
                    window,
                    ..Received::default()
                })),
                None => State::Waiting,
            },
            waker: None,
            upload: kind.uploads.then(Box::default),
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        match &self.state {
            State::Waiting => false,
            State::Streaming(received) => received.end.is_some(),
            State::Done(_) => true,
        }
    }

    /// Whether the server works for it.
    pub(super) fn is_running(&self) -> bool {
        self.sent && !self.is_ended()
    }

    /// Whose turn it is: time runs out for the server only, not for a caller who does not read, or has nothing to send. It
    /// is the server's, too, while the connection takes nothing.
    fn is_servers_turn(&self) -> bool {
        if self.is_ended() {
            return false;
        }
        let has_leave = |upload: &Upload| upload.leave > 0 && !upload.ended && !upload.stalled;
        if self.upload.as_deref().is_some_and(has_leave) {
            return false;
        }
        match &self.state {
            State::Waiting => true,
            State::Streaming(received) => received.items.is_empty(),
            State::Done(_) => false,
        }
    }

    /// A sign of life, from either side. Returns the new deadline, if there is one.
    pub(super) fn renew(&mut self, now: Instant) -> Option<Instant> {
        let Patience::Each(limit) = self.patience else {
            return None;
        };
        self.deadline = match self.is_servers_turn() {
            true => now.checked_add(limit),
            false => None,
        };
        self.deadline
    }

    /// It was handed to the connection. Returns the new deadline, if there is one.
    pub(super) fn sent(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> Option<Instant> {
        self.sent = true;
        if self.is_one_way {
            self.finish(Ok(Response::default()), wakers);
            return None;
        }
        self.renew(now)
    }

    /// Ends the call, unless it has ended.
    pub(super) fn finish(&mut self, result: Result<Response, CallError>, wakers: &mut Vec<Waker>) {
        match &mut self.state {
            State::Waiting => self.state = State::Done(result),
            State::Streaming(received) if received.end.is_none() => {
                received.end = Some(match result {
                    // One answer in place of a stream is a stream of one item.
                    Ok(response) if received.next == 0 => {
                        received.items.push_back(Item {
                            codec: response.codec,
                            body: response.body,
                            buffers: response.buffers,
                        });
                        Ok(())
                    }
                    Ok(_) => Err(CallError::Shape { stream: false }),
                    Err(error) => Err(error),
                });
            }
            State::Streaming(_) | State::Done(_) => return,
        }
        self.wake_all(wakers);
    }

    /// The call has ended, for its caller and for who sends its arguments.
    fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.upload.take().and_then(|upload| upload.waker));
        wakers.extend(self.waker.take());
    }

    /// Ends the call for something that was found here, of which the server does not know.
    pub(super) fn give_up(&mut self, error: CallError, wakers: &mut Vec<Waker>) -> Server {
        let server = match self.is_running() {
            true => Server::MustStop,
            false => Server::Knows,
        };
        self.finish(Err(error), wakers);
        server
    }

    /// Item `number` of a streamed answer came.
    pub(super) fn item(&mut self, number: u32, item: Item, wakers: &mut Vec<Waker>) -> Server {
        let error = match &mut self.state {
            State::Waiting => CallError::Shape { stream: true },
            State::Streaming(received) if received.end.is_none() => {
                if number != received.next {
                    let (received, sent) = (received.next, number);
                    CallError::Incomplete { received, sent }
                } else if received.room == 0 {
                    CallError::Flooded { number }
                } else {
                    received.room -= 1;
                    received.next = received.next.wrapping_add(1);
                    received.items.push_back(item);
                    wakers.extend(self.waker.take());
                    return Server::Knows;
                }
            }
            State::Streaming(_) | State::Done(_) => return Server::Knows,
        };
        self.give_up(error, wakers)
    }

    /// The end of a streamed answer of `sent` items came.
    pub(super) fn end(&mut self, sent: u32, wakers: &mut Vec<Waker>) {
        match &mut self.state {
            State::Waiting => self.finish(Err(CallError::Shape { stream: true }), wakers),
            State::Streaming(stream) if stream.end.is_none() => {
                let received = stream.next;
                stream.end = Some(match received == sent {
                    true => Ok(()),
                    false => Err(CallError::Incomplete { received, sent }),
                });
                self.wake_all(wakers);
            }
            State::Streaming(_) | State::Done(_) => {}
        }
    }

    /// The server has room for so many items more.
    pub(super) fn credit(&mut self, items: u32, wakers: &mut Vec<Waker>) {
        if let Some(upload) = &mut self.upload {
            upload.leave = upload.leave.saturating_add(items);
        }
        self.wake_sender(wakers);
    }

    /// The connection does not take its arguments. Returns the new deadline, if there is one.
    pub(super) fn stall(&mut self, now: Instant) -> Option<Instant> {
        if let Some(upload) = &mut self.upload {
            upload.stalled = true;
        }
        self.renew(now)
    }

    /// The connection takes its arguments again. Returns the new deadline, if there is one.
    pub(super) fn resume(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> Option<Instant> {
        if let Some(upload) = &mut self.upload {
            upload.stalled = false;
        }
        self.wake_sender(wakers);
        self.renew(now)
    }

    /// Who sends its arguments is to look again.
    fn wake_sender(&mut self, wakers: &mut Vec<Waker>) {
        if let Some(upload) = &mut self.upload {
            wakers.extend(upload.waker.take());
        }
    }

    /// Whether an item may be sent; none when no more are wanted. Who asks is told when that changes.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        let upload = self.upload.as_mut()?;
        register(&mut upload.waker, cx);
        Some(upload.leave > 0)
    }

    /// An item was sent.
    pub(super) fn uploaded(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.leave = upload.leave.saturating_sub(1);
        }
    }

    /// All items were sent.
    pub(super) fn upload_ended(&mut self) {
        if let Some(upload) = &mut self.upload {
            upload.ended = true;
        }
    }

    /// Polls for the answer, or the beginning of one that is a stream; when it is ready and no stream, the call is over.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Beginning, CallError>> {
        match &mut self.state {
            State::Done(_) => {
                let State::Done(done) = std::mem::replace(&mut self.state, State::Waiting) else {
                    return Poll::Pending;
                };
                return Poll::Ready(done.map(Beginning::Whole));
            }
            State::Streaming(received) => {
                // What fails before its first item fails as a whole.
                if received.items.is_empty()
                    && let Some(Err(error)) = received.end.take_if(|end| end.is_err())
                {
                    return Poll::Ready(Err(error));
                }
                if !received.items.is_empty() || received.end.is_some() {
                    return Poll::Ready(Ok(Beginning::Stream));
                }
            }
            State::Waiting => {}
        }
        register(&mut self.waker, cx);
        Poll::Pending
    }

    /// Polls for the next item; after the end, or an error, the call is over.
    pub(super) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, CallError>> {
        let State::Streaming(received) = &mut self.state else {
            return Poll::Ready(Ok(Next::End));
        };
        if let Some(item) = received.items.pop_front() {
            received.read += 1;
            // Half a window at a time: few messages, and the server need not stop. None when its end is there already.
            let more = match received.end.is_none() && received.read >= received.window.div_ceil(2) {
                true => std::mem::take(&mut received.read),
                false => 0,
            };
            received.room = received.room.saturating_add(more);
            return Poll::Ready(Ok(Next::Item(item, more)));
        }
        match received.end.take() {
            Some(end) => Poll::Ready(end.map(|()| Next::End)),
            None => {
                register(&mut self.waker, cx);
                Poll::Pending
            }
        }
    }
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

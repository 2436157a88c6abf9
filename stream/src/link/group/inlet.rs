//! Receiving from one session after the other.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use flexbond_session::group::{self, Part, Received, Session};
use flexbond_session::socket::RecvError;
use flexbond_transport::Message;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::assembly::{Assembly, Brought};
use super::audience::Audience;
use super::framing;
use super::keeper::Unread;
use super::numbers::Numbers;
use crate::link::Fault;

/// Receives the messages of one session after the other.
#[derive(Debug)]
pub(super) struct Inlet {
    state: Mutex<State>,
    audience: Arc<Audience>,
    /// What the first part of a message begins with; all messages, if there is none.
    topics: Vec<Vec<u8>>,
    /// Bytes in a message, at most.
    limit: usize,
}

#[derive(Debug)]
struct State {
    /// The next session, once this end is in it.
    sessions: mpsc::Receiver<(Session, Unread)>,
    /// The session that is read. It may be over already: what came before is still there.
    current: Option<(Session, Unread)>,
    assembly: Assembly,
    numbers: Numbers,
    is_closed: bool,
}

impl Inlet {
    /// Messages that nobody wants after which others have their turn.
    const TURN: usize = 128;

    pub(super) fn new(
        sessions: mpsc::Receiver<(Session, Unread)>,
        audience: Arc<Audience>,
        topics: Vec<Vec<u8>>,
        limit: usize,
    ) -> Self {
        Inlet {
            state: Mutex::new(State {
                sessions,
                current: None,
                assembly: Assembly::new(framing::longest(limit)),
                numbers: Numbers::default(),
                is_closed: false,
            }),
            audience,
            topics,
            limit,
        }
    }

    /// Takes the next message; without a context it does not ask to be woken.
    pub(super) fn poll_recv(&self, mut cx: Option<&mut Context<'_>>) -> Poll<Result<Message, Fault>> {
        let mut state = self.state.lock();
        // Who does not wait wants to know whether there is a message at all.
        let turn = cx.as_ref().map_or(usize::MAX, |_| Self::TURN);
        for _ in 0..turn {
            if state.is_closed {
                return Poll::Ready(Err(RecvError::Closed.into()));
            }
            let received = match ready!(state.poll_session(cx.as_deref_mut())) {
                Some(received) => received,
                None => return Poll::Ready(Err(RecvError::Closed.into())),
            };
            let Ok(Received { from, body, part, .. }) = received else {
                // All that came before was taken. Who leaves a message unfinished takes it along.
                let unfinished = state.assembly.clear();
                state.numbers.clear();
                self.audience.note_dropped(unfinished as u64);
                state.current = None;
                continue;
            };
            if matches!(part, Part::Whole | Part::First)
                && let Some(number) = framing::number_of(&body)
            {
                self.audience.note_dropped(state.numbers.handle(from, number));
            }
            let fault = match state.assembly.push(from, part, body) {
                Brought::Nothing => continue,
                Brought::Cut => {
                    self.audience.note_dropped(1);
                    continue;
                }
                Brought::Whole(body) => match framing::decode(&body, self.limit) {
                    Ok(message) if !self.wants(&message) => continue,
                    Ok(message) => {
                        self.audience.received.add(message.size());
                        return Poll::Ready(Ok(message));
                    }
                    Err(error) => Fault::Malformed(error.into(), Message::from(body)),
                },
                Brought::Refused(error, body) => Fault::Malformed(error.into(), Message::from(body)),
            };
            return Poll::Ready(Err(fault));
        }
        if let Some(cx) = cx {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Nothing more is received.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.current = None;
        state.sessions.close();
        state.assembly.clear();
    }

    fn wants(&self, message: &Message) -> bool {
        let first: &[u8] = message.get(0).map_or(&[], |frame| frame);
        self.topics.is_empty() || self.topics.iter().any(|topic| first.starts_with(topic))
    }
}

impl State {
    /// What came next, from this session or the next one; `None` once there will be no other.
    fn poll_session(
        &mut self,
        mut cx: Option<&mut Context<'_>>,
    ) -> Poll<Option<Result<Received, group::RecvError>>> {
        let (session, _) = match &mut self.current {
            Some(current) => current,
            current @ None => {
                let next = match &mut cx {
                    Some(cx) => ready!(self.sessions.poll_recv(cx)),
                    None => match self.sessions.try_recv() {
                        Ok(next) => Some(next),
                        Err(mpsc::error::TryRecvError::Empty) => return Poll::Pending,
                        Err(mpsc::error::TryRecvError::Disconnected) => None,
                    },
                };
                match next {
                    Some(next) => current.insert(next),
                    None => return Poll::Ready(None),
                }
            }
        };
        match cx {
            Some(cx) => session.poll_recv(cx).map(Some),
            None => match session.try_recv() {
                Err(group::RecvError::WouldBlock) => Poll::Pending,
                received => Poll::Ready(Some(received)),
            },
        }
    }
}

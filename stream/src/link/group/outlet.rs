//! Sending to whoever is in the session.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_session::group::{self, Session, StreamSender};
use flexbond_session::socket::{SendError, SendErrorKind};
use flexbond_transport::Message;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::audience::Audience;
use super::framing::{self, MAX_PARTS};
use super::ledger::Ledger;
use crate::alarm::{Alarm, now};

/// Sends messages to whoever is in the session.
#[derive(Debug)]
pub(super) struct Outlet {
    state: Mutex<State>,
    audience: Arc<Audience>,
    /// Whether a message for which there is no room is waited with for as long as it takes; otherwise it is dropped
    /// where nobody takes anything.
    waits: bool,
    /// Bytes in a message, at most.
    limit: usize,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct State {
    /// The session, while this end is in one.
    session: Option<Session>,
    /// What was sent there.
    ledger: Arc<Mutex<Ledger>>,
    /// Messages that were sent so far, wherever: the number of the next one.
    number: u64,
    /// A message that goes in pieces, because it is larger than the memory of a receiver.
    large: Option<JoinHandle<()>>,
    /// Since when there has been no room, and nobody has taken anything.
    full_since: Option<Instant>,
    /// How far who is waited for had come then.
    progress: u64,
    /// Whether nobody has taken anything for so long that messages are dropped.
    is_stalled: bool,
    alarm: Alarm,
    is_closed: bool,
}

/// How long nobody may take anything, where there is no room, before messages are dropped.
const PATIENCE: Duration = Duration::from_millis(250);

impl Outlet {
    pub(super) fn new(audience: Arc<Audience>, waits: bool, limit: usize) -> Self {
        Outlet {
            state: Mutex::default(),
            audience,
            waits,
            limit,
            runtime: Handle::current(),
        }
    }

    /// From now on messages go there; or nowhere.
    pub(super) fn set_session(&self, session: Option<Session>) {
        let mut state = self.state.lock();
        state.session = session;
        state.ledger = Arc::default();
    }

    /// Takes the message out of `message` when it is sent, dropped, or cannot be sent at all. Without a context it does
    /// not ask to be woken.
    pub(super) fn poll_send(
        &self,
        mut cx: Option<&mut Context<'_>>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        let Some(current) = message.take() else {
            return Poll::Ready(Ok(()));
        };
        let mut state = self.state.lock();
        if let Err(kind) = self.check(&state, &current) {
            return Poll::Ready(Err(SendError::new(kind, current)));
        }
        let Some(session) = state.session.clone().filter(|_| !self.audience.is_empty()) else {
            // As with sockets: what nobody is there for is sent to nobody.
            self.audience.sent.add(current.size());
            return Poll::Ready(Ok(()));
        };
        loop {
            match state.poll_room(cx.as_deref_mut(), &session, framing::encoded_len(&current)) {
                Poll::Ready(Room::There) => {
                    if let Err(error) = session.try_send(framing::encode(&current, state.number)) {
                        match error {
                            // Who asks for room is the only one who sends.
                            group::SendError::WouldBlock => continue,
                            _ => self.audience.note_dropped(1),
                        }
                    } else {
                        state.number += 1;
                        state.ledger.lock().note_whole();
                        self.audience.sent.add(current.size());
                    }
                }
                Poll::Ready(Room::InPieces(piece)) => {
                    let body = framing::encode(&current, state.number);
                    state.number += 1;
                    let ledger = Arc::clone(&state.ledger);
                    ledger.lock().begin(session.undelivered());
                    let sending = send_in_pieces(session, body, piece, ledger, Arc::clone(&self.audience));
                    state.large = Some(self.runtime.spawn(sending));
                    self.audience.sent.add(current.size());
                }
                // The session is over, and with it who would have had the message.
                Poll::Ready(Room::Nowhere) => self.audience.note_dropped(1),
                Poll::Pending => {
                    if !self.gives_up(&mut state, &session, cx.as_deref_mut()) {
                        *message = Some(current);
                        return Poll::Pending;
                    }
                    self.audience.note_dropped(1);
                    return Poll::Ready(Ok(()));
                }
            }
            state.full_since = None;
            state.is_stalled = false;
            return Poll::Ready(Ok(()));
        }
    }

    /// Waits until a message that goes in pieces is sent. Cancel safe.
    pub(super) async fn idle(&self) {
        std::future::poll_fn(|cx| self.state.lock().poll_large(cx)).await;
    }

    /// Sends nothing more. Returns how many messages were not delivered, one that this cuts off among them.
    pub(super) fn close(&self, session: &Session) -> u64 {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.session = None;
        let undelivered = state.ledger.lock().messages(session.undelivered());
        if let Some(large) = state.large.take() {
            large.abort();
        }
        undelivered
    }

    /// No more is taken; what is on its way goes on.
    pub(super) fn refuse(&self) {
        self.state.lock().is_closed = true;
    }

    fn check(&self, state: &State, message: &Message) -> Result<(), SendErrorKind> {
        let (parts, size, limit) = (message.len(), message.size(), self.limit);
        match (state.is_closed, parts) {
            (true, _) => Err(SendErrorKind::Closed),
            (false, 0) => Err(SendErrorKind::Incomplete(false)),
            (false, MAX_PARTS..) if parts > MAX_PARTS => Err(SendErrorKind::TooManyParts {
                parts,
                limit: MAX_PARTS,
            }),
            _ if size > limit => Err(SendErrorKind::TooLarge { size, limit }),
            _ => Ok(()),
        }
    }

    /// Whether a message for which there is no room is dropped now; otherwise it is looked at again in time.
    fn gives_up(&self, state: &mut State, session: &Session, mut cx: Option<&mut Context<'_>>) -> bool {
        if self.waits {
            return false;
        }
        loop {
            let progress = session.progress();
            if std::mem::replace(&mut state.progress, progress) != progress {
                state.full_since = None;
                state.is_stalled = false;
            }
            let deadline = *state.full_since.get_or_insert_with(now) + PATIENCE;
            state.is_stalled |= now() >= deadline;
            if state.is_stalled {
                return true;
            }
            // Without a context the caller asks again.
            let Some(cx) = cx.as_deref_mut() else {
                return false;
            };
            // Whoever polls need not be a task of the runtime.
            let _runtime = self.runtime.enter();
            if state.alarm.poll(cx, Some(deadline)).is_pending() {
                return false;
            }
        }
    }
}

/// Whether a message can be sent now.
#[derive(Debug)]
enum Room {
    There,
    /// In pieces of at most so many bytes.
    InPieces(usize),
    /// There is nobody any more.
    Nowhere,
}

impl State {
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(large) = &mut self.large {
            // It does not panic.
            let _ = ready!(std::pin::Pin::new(large).poll(cx));
            self.large = None;
        }
        Poll::Ready(())
    }

    fn poll_room(&mut self, cx: Option<&mut Context<'_>>, session: &Session, len: usize) -> Poll<Room> {
        let len = len as u64;
        let room = match cx {
            Some(cx) => {
                ready!(self.poll_large(cx));
                ready!(session.poll_room(cx, len))
            }
            None if self.large.as_ref().is_some_and(|large| !large.is_finished()) => return Poll::Pending,
            None => {
                self.large = None;
                match session.has_room(len) {
                    Ok(false) => return Poll::Pending,
                    room => room.map(drop),
                }
            }
        };
        Poll::Ready(match room {
            Ok(()) => Room::There,
            Err(group::SendError::TooLarge { limit, .. }) => {
                // So small that a receiver who takes it piece by piece is never far from having room for one.
                let piece = usize::try_from(limit / 4).unwrap_or(StreamSender::MAX_PART);
                Room::InPieces(piece.clamp(framing::PREFIX, StreamSender::MAX_PART))
            }
            Err(_) => Room::Nowhere,
        })
    }
}

/// Sends a message in pieces of `piece` bytes.
async fn send_in_pieces(
    session: Session,
    mut body: Bytes,
    piece: usize,
    ledger: Arc<Mutex<Ledger>>,
    audience: Arc<Audience>,
) {
    let mut stream = session.stream().await;
    let sent = async {
        while body.len() > piece {
            stream.send(body.split_to(piece)).await?;
            ledger.lock().note_piece();
        }
        stream.finish(body).await?;
        ledger.lock().note_piece();
        Ok::<(), group::SendError>(())
    };
    let sent = sent.await;
    ledger.lock().end();
    if sent.is_err() {
        audience.note_dropped(1);
    }
}

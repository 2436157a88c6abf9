//! A session of many members as what carries a stream.

mod assembly;
mod audience;
pub(crate) mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod inlet;
mod keeper;
mod ledger;
mod numbers;
mod outlet;
mod settings;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use flexbond_session::group::{Coordinator, JoinError, Options, StartError};
use flexbond_session::socket::{Closed, RecvError, SendError, SendErrorKind, Stats};
use flexbond_transport::{Endpoint, Message};
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Change, Fault};
use crate::{Attach, ConnectError, ConnectOptions, Mode};
use audience::Audience;
use inlet::Inlet;
use keeper::{Keeper, Use};
use outlet::Outlet;

/// One end of a session as what carries a stream. A handle: clones are the same end.
#[derive(Clone, Debug)]
pub(crate) struct GroupLink(Arc<End>);

#[derive(Debug)]
struct End {
    mode: Mode,
    way: Way,
    audience: Arc<Audience>,
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    linger: Option<Duration>,
    /// Tells the keeper to leave. Dropped, it does so, too.
    leave: Mutex<Option<oneshot::Sender<Option<Duration>>>>,
    keeper: Mutex<Option<JoinHandle<u64>>>,
}

#[derive(Debug)]
enum Way {
    In(Inlet),
    Out(Arc<Outlet>),
}

impl Drop for End {
    fn drop(&mut self) {
        if let Way::Out(outlet) = &self.way {
            outlet.refuse();
        }
    }
}

impl GroupLink {
    pub(crate) async fn connect(
        endpoint: Endpoint,
        options: &ConnectOptions,
    ) -> Result<(Self, Endpoint), ConnectError> {
        let mode = options.mode;
        if matches!(mode, Mode::Push | Mode::Pull) {
            return Err(ConnectError::NotForAll { endpoint, mode });
        }
        let (memory, least) = (options.memory, Options::LEAST_RECV_BUDGET);
        if (memory as u64) < least {
            return Err(ConnectError::TooLittleMemory { memory, least });
        }
        let settings = settings::session(options);
        settings.validate().map_err(StartError::from)?;
        let audience = Arc::new(Audience::new());
        let (way, of) = if mode.receives() {
            let (sessions, receiver) = mpsc::channel(1);
            let topics = options.topics.clone();
            let inlet = Inlet::new(receiver, Arc::clone(&audience), topics, options.max_message_size);
            (Way::In(inlet), Use::Receiving(sessions))
        } else {
            let waits = settings::waits(options);
            let outlet = Outlet::new(Arc::clone(&audience), waits, options.max_message_size);
            let outlet = Arc::new(outlet);
            (Way::Out(Arc::clone(&outlet)), Use::Sending(outlet))
        };
        let (leave, order) = oneshot::channel();
        let keeper = Keeper {
            audience: Arc::clone(&audience),
            of,
            linger: options.linger,
            leave: order,
        };
        let (keeper, endpoint) = match options.attach {
            Attach::Bind => {
                let coordinator = Coordinator::bind(endpoint, settings).await?;
                let endpoint = coordinator.endpoint().clone();
                (tokio::spawn(keeper.hold(coordinator)), endpoint)
            }
            Attach::Connect => (tokio::spawn(keeper.join(endpoint.clone(), settings)), endpoint),
        };
        let end = End {
            mode,
            way,
            audience,
            receive_timeout: options.receive_timeout,
            send_timeout: options.send_timeout,
            linger: options.linger,
            leave: Mutex::new(Some(leave)),
            keeper: Mutex::new(Some(keeper)),
        };
        Ok((GroupLink(Arc::new(end)), endpoint))
    }

    fn inlet(&self) -> Result<&Inlet, RecvError> {
        match &self.0.way {
            Way::In(inlet) => Ok(inlet),
            Way::Out(_) => Err(RecvError::Unsupported(self.0.mode.socket_type())),
        }
    }

    pub(crate) async fn recv(&self) -> Result<Message, Fault> {
        tokio::task::coop::consume_budget().await;
        let next = poll_fn(|cx| self.poll_recv(cx));
        match self.0.receive_timeout {
            None => next.await,
            Some(limit) => match timeout(limit, next).await {
                Ok(received) => received,
                Err(_) => Err(RecvError::Timeout(limit).into()),
            },
        }
    }

    pub(crate) fn try_recv(&self) -> Result<Message, Fault> {
        match self.inlet()?.poll_recv(None) {
            Poll::Ready(received) => received,
            Poll::Pending => Err(RecvError::WouldBlock.into()),
        }
    }

    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Message, Fault>> {
        self.inlet()?.poll_recv(Some(cx))
    }

    pub(crate) async fn send(&self, message: Message) -> Result<(), SendError> {
        tokio::task::coop::consume_budget().await;
        let mut message = Some(message);
        let Some(limit) = self.0.send_timeout else {
            return poll_fn(|cx| self.poll_send(cx, &mut message)).await;
        };
        let sent = timeout(limit, poll_fn(|cx| self.poll_send(cx, &mut message))).await;
        match (sent, message) {
            (Ok(sent), _) => sent,
            (Err(_), Some(message)) => Err(SendError::new(SendErrorKind::Timeout(limit), message)),
            (Err(_), None) => Ok(()),
        }
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), SendError> {
        let mut message = Some(message);
        let sent = self.poll_send_now(None, &mut message);
        match (sent, message) {
            (Poll::Ready(sent), _) => sent,
            (Poll::Pending, Some(message)) => Err(SendError::new(SendErrorKind::WouldBlock, message)),
            (Poll::Pending, None) => Ok(()),
        }
    }

    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        self.poll_send_now(Some(cx), message)
    }

    fn poll_send_now(
        &self,
        cx: Option<&mut Context<'_>>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        match (&self.0.way, &message) {
            (Way::Out(outlet), _) => outlet.poll_send(cx, message),
            (Way::In(_), None) => Poll::Ready(Ok(())),
            (Way::In(_), Some(_)) => {
                let kind = SendErrorKind::Unsupported(self.0.mode.socket_type());
                let refused = message.take().map(|message| SendError::new(kind, message));
                Poll::Ready(refused.map_or(Ok(()), Err))
            }
        }
    }

    pub(crate) async fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendError> {
        poll_fn(|cx| {
            while let Some(message) = messages.pop_front() {
                let mut message = Some(message);
                let sent = self.poll_send(cx, &mut message);
                if let Some(message) = message {
                    messages.push_front(message);
                }
                ready!(sent)?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    pub(crate) fn stats(&self) -> Stats {
        self.0.audience.stats()
    }

    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.audience.changes()
    }

    pub(crate) fn clients(&self) -> Vec<u64> {
        self.0.audience.clients()
    }

    /// Why this end is not in a session, when it tried last.
    pub(crate) fn refusal(&self) -> Option<Arc<JoinError>> {
        self.0.audience.refusal()
    }

    pub(crate) async fn close(&self) -> Closed {
        self.close_within(self.0.linger).await
    }

    pub(crate) async fn close_within(&self, linger: Option<Duration>) -> Closed {
        match &self.0.way {
            Way::In(inlet) => inlet.close(),
            Way::Out(outlet) => outlet.refuse(),
        }
        if let Some(leave) = self.0.leave.lock().take() {
            // Its runtime may have ended.
            let _ = leave.send(linger);
        }
        let keeper = self.0.keeper.lock().take();
        let mut closed = Closed::default();
        if let Some(keeper) = keeper {
            closed.undelivered = keeper.await.unwrap_or_default();
        }
        closed
    }
}

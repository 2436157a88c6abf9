//! The accepting side: handshakes side by side, none of which holds up another.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::{Shared, TlsError, TlsStream, handshake};
use crate::tcp::Bound;
use crate::{AcceptError, Connection, Endpoint, Link, Listener};

pub(super) struct TlsListener {
    bound: Bound,
    local: Endpoint,
    shared: Arc<Shared>,
    handshakes: JoinSet<Result<TlsStream, TlsError>>,
    /// Those whose result was not yet taken, the oldest first.
    started: VecDeque<Started>,
    /// Accepted, and waiting for the place that another one gives up.
    waiting: Option<(TcpStream, SocketAddr)>,
}

struct Started {
    id: Id,
    from: SocketAddr,
    abort: AbortHandle,
}

impl TlsListener {
    pub(super) fn new(bound: Bound, shared: Arc<Shared>) -> Self {
        TlsListener {
            local: Endpoint::Tls(bound.address().into()),
            bound,
            shared,
            handshakes: JoinSet::new(),
            started: VecDeque::new(),
            waiting: None,
        }
    }

    /// Whatever is ready: a handshake that is over, or an error of the system. Starts handshakes by the way. What a dropped
    /// future had begun goes on here.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, AcceptError>> {
        loop {
            if let Poll::Ready(Some(over)) = self.handshakes.poll_join_next_with_id(cx) {
                return Poll::Ready(self.finished(over));
            }
            let (stream, from) = match self.waiting.take() {
                Some(waiting) => waiting,
                None => match ready!(self.bound.poll_accept(cx)) {
                    Ok(accepted) => accepted,
                    Err(source) => {
                        return Poll::Ready(Err(AcceptError::Io {
                            endpoint: self.local.clone(),
                            source,
                        }));
                    }
                },
            };
            if self.started.len() < self.shared.max_handshakes() {
                self.start(stream, from);
                continue;
            }
            // Who connects slowly on purpose thus loses places as quickly as it takes them, and an honest handshake is
            // over before its turn comes. The one that gives way is told of like every other one that is over, and this
            // task is woken then.
            if let Some(oldest) = self.started.front() {
                oldest.abort.abort();
            }
            self.waiting = Some((stream, from));
            return Poll::Pending;
        }
    }

    fn start(&mut self, stream: TcpStream, from: SocketAddr) {
        let shared = Arc::clone(&self.shared);
        let abort = self
            .handshakes
            .spawn(async move { handshake::serve(&shared, stream).await });
        self.started.push_back(Started {
            id: abort.id(),
            from,
            abort,
        });
    }

    fn finished(
        &mut self,
        over: Result<(Id, Result<TlsStream, TlsError>), JoinError>,
    ) -> Result<Connection, AcceptError> {
        let (id, outcome) = match over {
            Ok((id, outcome)) => (id, outcome),
            Err(error) if error.is_cancelled() => {
                let limit = self.shared.max_handshakes();
                (error.id(), Err(TlsError::Crowded { limit }))
            }
            Err(error) => (error.id(), Err(TlsError::Io(io::Error::other(error)))),
        };
        let place = self.started.iter().position(|started| started.id == id);
        let peer = match place.and_then(|place| self.started.remove(place)) {
            Some(started) => Endpoint::Tls(started.from.into()),
            None => self.local.clone(),
        };
        match outcome {
            Ok(stream) => {
                let identity = stream.peer_identity();
                Ok(Connection::new(Link::Stream(Box::new(stream)), peer).with_identity(identity))
            }
            Err(source) => Err(AcceptError::Handshake {
                endpoint: self.local.clone(),
                peer,
                source: source.into(),
            }),
        }
    }
}

#[async_trait]
impl Listener for TlsListener {
    fn local_endpoint(&self) -> &Endpoint {
        &self.local
    }

    async fn accept(&mut self) -> Result<Connection, AcceptError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

//! The accepting side: handshakes side by side, none of which holds up another.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::handshake::{self, Shaken};
use super::{Shared, TlsError};
use crate::tcp::Bound;
use crate::{AcceptError, Connection, Endpoint, Link, Listener};

pub(super) struct TlsListener {
    bound: Bound,
    local: Endpoint,
    shared: Arc<Shared>,
    handshakes: JoinSet<Shaken>,
    /// Those whose result was not yet taken.
    started: Vec<Started>,
    /// Counts whatever brings a handshake on, so that one can say which was brought on last.
    moves: Arc<AtomicU64>,
    /// Accepted, and waiting for the place that another one gives up.
    waiting: Option<(TcpStream, SocketAddr)>,
}

struct Started {
    id: Id,
    from: SocketAddr,
    abort: AbortHandle,
    /// When it was brought on last.
    moved: Arc<AtomicU64>,
    /// Its place is another's.
    gives_way: bool,
}

impl TlsListener {
    pub(super) fn new(bound: Bound, shared: Arc<Shared>) -> Self {
        TlsListener {
            local: Endpoint::Tls(bound.address().into()),
            bound,
            shared,
            handshakes: JoinSet::new(),
            started: Vec::new(),
            moves: Arc::default(),
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
            // The one that gives way is told of like every other one that is over, and this task is woken then.
            if !self.started.iter().any(|started| started.gives_way)
                && let Some(least) = least(&mut self.started, from)
            {
                least.gives_way = true;
                least.abort.abort();
            }
            self.waiting = Some((stream, from));
            return Poll::Pending;
        }
    }

    fn start(&mut self, stream: TcpStream, from: SocketAddr) {
        let shared = Arc::clone(&self.shared);
        let moves = Arc::clone(&self.moves);
        let moved = Arc::new(AtomicU64::new(moves.fetch_add(1, Ordering::Relaxed)));
        let noted = Arc::clone(&moved);
        let note = move || noted.store(moves.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let abort = self
            .handshakes
            .spawn(async move { handshake::serve(&shared, stream, note).await });
        self.started.push(Started {
            id: abort.id(),
            from,
            abort,
            moved,
            gives_way: false,
        });
    }

    fn finished(&mut self, over: Result<(Id, Shaken), JoinError>) -> Result<Connection, AcceptError> {
        let (id, outcome) = match over {
            Ok((id, outcome)) => (id, outcome),
            Err(error) if error.is_cancelled() => {
                let limit = self.shared.max_handshakes();
                (error.id(), Err(TlsError::Crowded { limit }))
            }
            Err(error) => (error.id(), Err(TlsError::Io(io::Error::other(error)))),
        };
        let place = self.started.iter().position(|started| started.id == id);
        let peer = match place.map(|place| self.started.swap_remove(place)) {
            Some(started) => Endpoint::Tls(started.from.into()),
            None => self.local.clone(),
        };
        match outcome {
            Ok((stream, identity)) => {
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

/// The handshake that gives way to one that comes from there: of those of the address with the most, the newcomer among
/// them, the one that was brought on longest ago.
///
/// Who connects often or slowly on purpose thus takes its own places, however lively its handshakes are. Where it has
/// addresses without number, it loses places as quickly as it takes them, and an honest handshake is over before its turn
/// comes. Bytes alone do not bring on a handshake, only messages that it waits for.
fn least(started: &mut [Started], newcomer: SocketAddr) -> Option<&mut Started> {
    let mut counts = HashMap::from([(network(newcomer), 1_usize)]);
    for started in &*started {
        *counts.entry(network(started.from)).or_default() += 1;
    }
    let count = |started: &Started| counts.get(&network(started.from)).copied().unwrap_or(0);
    let most = started.iter().map(count).max()?;
    started
        .iter_mut()
        .filter(|started| count(started) == most)
        .min_by_key(|started| started.moved.load(Ordering::Relaxed))
}

/// What counts as one address: whoever has an IPv6 network of 64 bits has 2^64 of them.
fn network(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_apart() {
        let network = |text: &str| network(text.parse().expect("an address"));
        assert_ne!(network("10.0.0.1:1"), network("10.0.0.2:1"));
        assert_eq!(network("10.0.0.1:1"), network("[::ffff:10.0.0.1]:2"));
        assert_eq!(network("[2001:db8::1]:1"), network("[2001:db8::2:3]:2"));
        assert_ne!(network("[2001:db8::1]:1"), network("[2001:db8:0:1::1]:1"));
    }
}

//! Whole messages between tasks of one process, never encoded.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::pipe::pipe;
use crate::{
    AcceptError, BindError, ConnectError, Connection, Endpoint, Link, LinkOptions, Listener, MessageChannel,
    Transport,
};

/// Whole messages between tasks of one process: a connection is two [pipes](crate::pipe), nothing is encoded.
///
/// An `Inproc` is a space of names; its clones share it, others do not. Connecting does not need a bound name: the
/// connector has its channel at once and may fill it, and the far end waits until somebody binds the name and
/// accepts. Waiting ends are bounded by a number per name ([`with_max_waiting`](Self::with_max_waiting)). While a
/// name is not bound, a waiting end whose connector has dropped its channel is discarded with what it holds; while
/// it is bound, only if it holds nothing.
///
/// Towards the binder a channel holds the connector's [`send_capacity`](LinkOptions::send_capacity), and from the
/// moment it is accepted the binder's [`recv_capacity`](LinkOptions::recv_capacity) as well; likewise the other way.
#[derive(Clone, Debug)]
pub struct Inproc {
    names: Arc<Mutex<Names>>,
}

#[derive(Debug)]
struct Names {
    table: HashMap<String, Name>,
    max_waiting: usize,
    /// Names nobody uses any longer are looked for when the table has grown to this size.
    sweep_at: usize,
    next_binding: u64,
}

/// A name that is bound, or that somebody waits at.
#[derive(Debug, Default)]
struct Name {
    /// The number of the listener that owns it.
    binding: Option<u64>,
    waiting: VecDeque<Waiting>,
    /// Of the task that accepts.
    waker: Option<Waker>,
}

/// The far end of a connection that nobody has accepted yet.
#[derive(Debug)]
struct Waiting {
    channel: MessageChannel,
    connector: Capacities,
}

#[derive(Clone, Copy, Debug)]
struct Capacities {
    send: usize,
    recv: usize,
}

const MIN_SWEEP: usize = 64;

impl Inproc {
    /// How many unaccepted connections may wait at each name unless told otherwise.
    pub const MAX_WAITING: usize = 10_000;

    /// A space of names of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_waiting(Self::MAX_WAITING)
    }

    /// A space of names of its own, with at most `limit` unaccepted connections at each name (at least one).
    #[must_use]
    pub fn with_max_waiting(limit: usize) -> Self {
        Inproc {
            names: Arc::new(Mutex::new(Names {
                table: HashMap::new(),
                max_waiting: limit.max(1),
                sweep_at: MIN_SWEEP,
                next_binding: 0,
            })),
        }
    }

    /// The space of names that all of this process shares.
    #[must_use]
    pub fn process() -> Self {
        static PROCESS: OnceLock<Inproc> = OnceLock::new();
        PROCESS.get_or_init(Inproc::new).clone()
    }
}

impl Default for Inproc {
    /// [`Inproc::new`].
    fn default() -> Self {
        Inproc::new()
    }
}

impl Capacities {
    fn of(options: &LinkOptions) -> Self {
        Capacities {
            send: options.send_capacity,
            recv: options.recv_capacity,
        }
    }
}

impl Waiting {
    fn is_abandoned(&self) -> bool {
        self.channel.tx.is_closed()
    }

    fn is_worthless(&self) -> bool {
        self.is_abandoned() && self.channel.rx.is_empty()
    }
}

impl Name {
    /// Takes out the waiting ends that nobody needs. The caller drops them after it has unlocked the table: dropping
    /// a message may run code of the user's.
    #[must_use]
    fn take_abandoned(&mut self) -> VecDeque<Waiting> {
        let bound = self.binding.is_some();
        let (abandoned, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|end| {
            if bound {
                end.is_worthless()
            } else {
                end.is_abandoned()
            }
        });
        self.waiting = kept;
        abandoned
    }

    fn is_unused(&self) -> bool {
        self.binding.is_none() && self.waiting.is_empty()
    }
}

impl Names {
    /// Forgets names that only waiting ends of departed connectors keep; amortized over the names that were added.
    /// What it returns is dropped once the table is unlocked, as with [`Name::take_abandoned`].
    #[must_use]
    fn sweep(&mut self) -> Vec<VecDeque<Waiting>> {
        let mut abandoned = Vec::new();
        if self.table.len() >= self.sweep_at {
            self.table.retain(|_, name| {
                abandoned.push(name.take_abandoned());
                !name.is_unused()
            });
            self.sweep_at = (self.table.len() * 2).max(MIN_SWEEP);
        }
        abandoned
    }
}

#[async_trait]
impl Transport for Inproc {
    async fn bind(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        let Endpoint::Inproc { name } = endpoint else {
            return Err(BindError::Unusable {
                endpoint: endpoint.clone(),
                reason: "not an inproc endpoint".to_owned(),
            });
        };
        // Declared before the lock, and so dropped after it.
        let mut abandoned = Vec::new();
        let mut names = self.names.lock();
        abandoned.extend(names.sweep());
        let binding = names.next_binding;
        let entry = names.table.entry(name.clone()).or_default();
        if entry.binding.is_some() {
            return Err(BindError::InUse {
                endpoint: endpoint.clone(),
                source: None,
            });
        }
        abandoned.push(entry.take_abandoned());
        entry.binding = Some(binding);
        names.next_binding += 1;
        Ok(Box::new(InprocListener {
            names: Arc::clone(&self.names),
            name: name.clone(),
            endpoint: endpoint.clone(),
            binding,
            own: Capacities::of(options),
        }))
    }

    async fn connect(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Connection, ConnectError> {
        let Endpoint::Inproc { name } = endpoint else {
            return Err(ConnectError::Unusable {
                endpoint: endpoint.clone(),
                reason: "not an inproc endpoint".to_owned(),
            });
        };
        let connector = Capacities::of(options);
        let (near_tx, far_rx) = pipe(connector.send);
        let (far_tx, near_rx) = pipe(connector.recv);
        // Declared before the lock, and so dropped after it.
        let mut abandoned = Vec::new();
        let mut names = self.names.lock();
        abandoned.extend(names.sweep());
        let max_waiting = names.max_waiting;
        let entry = names.table.entry(name.clone()).or_default();
        if entry.waiting.len() >= max_waiting {
            abandoned.push(entry.take_abandoned());
        }
        if entry.waiting.len() >= max_waiting {
            return Err(ConnectError::Io {
                endpoint: endpoint.clone(),
                source: io::Error::new(
                    io::ErrorKind::QuotaExceeded,
                    format!("{max_waiting} connections wait to be accepted already"),
                ),
            });
        }
        entry.waiting.push_back(Waiting {
            channel: MessageChannel {
                tx: far_tx,
                rx: far_rx,
            },
            connector,
        });
        let waker = entry.waker.take();
        drop(names);
        if let Some(waker) = waker {
            waker.wake();
        }
        let channel = MessageChannel {
            tx: near_tx,
            rx: near_rx,
        };
        Ok(Connection::new(Link::Messages(channel), endpoint.clone()))
    }
}

struct InprocListener {
    names: Arc<Mutex<Names>>,
    name: String,
    endpoint: Endpoint,
    binding: u64,
    own: Capacities,
}

impl InprocListener {
    fn poll_waiting(&self, cx: &Context<'_>) -> Poll<Option<Waiting>> {
        let mut names = self.names.lock();
        let Some(entry) = names
            .table
            .get_mut(&self.name)
            .filter(|entry| entry.binding == Some(self.binding))
        else {
            return Poll::Ready(None);
        };
        while let Some(end) = entry.waiting.pop_front() {
            if !end.is_worthless() {
                return Poll::Ready(Some(end));
            }
        }
        entry.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[async_trait]
impl Listener for InprocListener {
    fn local_endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn accept(&mut self) -> Result<Connection, AcceptError> {
        let Some(Waiting {
            mut channel,
            connector,
        }) = poll_fn(|cx| self.poll_waiting(cx)).await
        else {
            return Err(AcceptError::Closed {
                endpoint: self.endpoint.clone(),
            });
        };
        channel
            .rx
            .set_capacity(connector.send.saturating_add(self.own.recv));
        channel
            .tx
            .set_capacity(connector.recv.saturating_add(self.own.send));
        Ok(Connection::new(Link::Messages(channel), self.endpoint.clone()))
    }
}

impl Drop for InprocListener {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        if let Some(entry) = names.table.get_mut(&self.name)
            && entry.binding == Some(self.binding)
        {
            entry.binding = None;
            entry.waker = None;
            if entry.is_unused() {
                names.table.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_departed_connectors_are_forgotten() {
        let inproc = Inproc::new();
        let options = LinkOptions::default();
        for i in 0..10_000 {
            let name = format!("inproc://name {i}").parse().unwrap();
            inproc.connect(&name, &options).await.unwrap();
        }
        let names = inproc.names.lock();
        assert!(names.table.len() <= MIN_SWEEP, "{} names", names.table.len());
    }

    #[tokio::test]
    async fn names_in_use_are_kept() {
        let inproc = Inproc::new();
        let options = LinkOptions::default();
        let name = |i: usize| format!("inproc://name {i}").parse::<Endpoint>().unwrap();
        let mut bound = Vec::new();
        let mut near = Vec::new();
        for i in 0..500 {
            bound.push(inproc.bind(&name(2 * i), &options).await.unwrap());
            near.push(inproc.connect(&name(2 * i + 1), &options).await.unwrap());
        }
        assert_eq!(inproc.names.lock().table.len(), 1000);
        drop(bound);
        assert_eq!(inproc.names.lock().table.len(), 500);
    }
}

//! What runs a node: reads from its sockets, and looks after its timers.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use flexbond_transport::{DatagramSocket, Received, Transmit};
use tokio::time::Sleep;

use super::node::{Landing, Node};
use super::shared::{Sent, Shared, now};

/// Opens the socket at which a group's address is heard.
pub(crate) type OpenGroup = Box<dyn FnMut(SocketAddr) -> io::Result<Box<dyn DatagramSocket>> + Send>;

/// Runs a node.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    /// Room for what comes; the same for all, so that it stays in the processor's cache.
    buffers: Vec<Vec<u8>>,
    /// Room for what comes beside the parts of large messages.
    landing: Landing,
    /// For what comes to this node alone.
    own: Inlet,
    /// For what comes to the group's address, which a member is told when it joins.
    group: Group,
    timer: Pin<Box<Sleep>>,
}

enum Group {
    /// It is not known where.
    Unopened(OpenGroup),
    Open(Box<dyn DatagramSocket>, Inlet),
    /// It cannot be heard: what is for all comes to this node alone.
    Deaf,
}

/// Where packets come from.
#[derive(Debug)]
struct Inlet {
    multicast: bool,
    /// Buffers that are to be filled.
    room: usize,
    /// Reads that failed in a row, and when to try again.
    failures: u32,
    again: Option<Instant>,
}

/// What has come from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    /// Nothing, or little.
    Nothing,
    /// All that was there, and that was much.
    All,
    /// Something, and there may be more.
    More,
}

impl Inlet {
    /// Buffers that are filled at once; fewer if the system joins packets, so that they are still in the processor's
    /// cache when they are read.
    const BATCH: usize = 8;
    const JOINED_BATCH: usize = 2;
    /// Bytes from which on that is so, and from which on a turn has brought a part of something larger.
    const LARGE: usize = 16 << 10;
    /// Batches, and bytes, that are read before something else gets its turn: reports are sent, and messages taken,
    /// while they are in the processor's cache.
    const TURN: usize = 8;
    const TURN_BYTES: usize = 128 << 10;
    /// Failures in a row after which reading pauses, and for how long. A failure concerns one call; but a socket that
    /// fails whatever is done must not keep a processor busy.
    const PATIENCE: u32 = 16;
    const PAUSE: Duration = Duration::from_millis(20);

    fn new(multicast: bool) -> Self {
        Inlet {
            multicast,
            room: Self::BATCH,
            failures: 0,
            again: None,
        }
    }

    /// Hands over what has come.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &dyn DatagramSocket,
        shared: &Shared,
        buffers: &mut [Vec<u8>],
        landing: &mut Landing,
    ) -> Came {
        if self.again.is_some_and(|again| now() < again) {
            return Came::Nothing;
        }
        self.again = None;
        let mut bytes = 0;
        for _ in 0..Self::TURN {
            let read = match self.read_landing(cx, socket, shared, landing) {
                Some(read) => read,
                None => self.read(cx, socket, shared, buffers),
            };
            match read {
                Poll::Pending => {
                    return match bytes >= Self::LARGE {
                        true => Came::All,
                        false => Came::Nothing,
                    };
                }
                Poll::Ready(Err(_)) => {
                    self.failures += 1;
                    if self.failures < Self::PATIENCE {
                        continue;
                    }
                    self.failures = 0;
                    self.again = Some(now() + Self::PAUSE);
                    return Came::Nothing;
                }
                Poll::Ready(Ok(count)) => bytes += count,
            }
            self.failures = 0;
            if bytes >= Self::TURN_BYTES {
                break;
            }
        }
        Came::More
    }

    /// Reads straight into the message that is on its way, if there is one, and the socket can; returns how many bytes
    /// came.
    fn read_landing(
        &self,
        cx: &mut Context<'_>,
        socket: &dyn DatagramSocket,
        shared: &Shared,
        landing: &mut Landing,
    ) -> Option<Poll<io::Result<usize>>> {
        if !socket.scatters() {
            return None;
        }
        shared.receive(|node, now| {
            node.receive_landing(now, self.multicast, landing, |slices| {
                socket.poll_recv_scattered(cx, slices)
            })
        })
    }

    /// Reads and hands over a batch; returns how many bytes came.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        socket: &dyn DatagramSocket,
        shared: &Shared,
        buffers: &mut [Vec<u8>],
    ) -> Poll<io::Result<usize>> {
        let mut received = [Received::default(); Self::BATCH];
        let mut slices = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer));
        let mut slices: [_; Self::BATCH] =
            std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let count = ready!(socket.poll_recv(cx, &mut slices[..self.room], &mut received))?;
        self.room = match received[..count]
            .iter()
            .any(|received| received.len >= Self::LARGE)
        {
            true => Self::JOINED_BATCH,
            false => Self::BATCH,
        };
        let mut bytes = 0;
        shared.receive(|node, now| {
            for (received, buffer) in received[..count].iter().zip(buffers.iter_mut()) {
                bytes += received.len;
                let packets = received.packets_mut(buffer);
                node.handle_datagrams(now, received, self.multicast, packets);
            }
        });
        Poll::Ready(Ok(bytes))
    }
}

/// What a driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Lets the runtime's other tasks run, and looks again.
    Continue,
    /// Lets other processes run, too.
    Yield,
    /// Nothing any more.
    End,
}

impl Drop for Driver {
    /// Its runtime has ended, or it has panicked: whoever waits for this end is told, instead of waiting for ever.
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl Driver {
    /// How soon to look after timers again while the socket takes nothing.
    const BLOCKED: Duration = Duration::from_millis(5);

    /// Runs a node that hears what comes to its own socket, and to the group's address as `open` opens it.
    pub(crate) fn new(shared: Arc<Shared>, open: OpenGroup) -> Self {
        Driver {
            shared,
            buffers: vec![vec![0; Transmit::MAX_LEN]; Inlet::BATCH],
            landing: Landing::new(),
            own: Inlet::new(false),
            group: Group::Unopened(open),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Resolves once the node has nothing more to say to anybody.
    pub(crate) async fn run(mut self) {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await {
                Step::End => return,
                Step::Continue => {}
                // Whoever sends may need this processor, and has more then. To sleep and be woken instead costs both
                // more: 58,000 switches for a run of broadcasts to four receivers on two cores, against 9,000.
                Step::Yield => std::thread::yield_now(),
            }
            // Not by waking itself: a runtime has those wait for 61 turns of such a task who let others run in this
            // way, such as whoever takes many messages. They waited by the thousand then: 64 MiB instead of 1.
            tokio::task::yield_now().await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let shared = &self.shared;
        let mut came = self
            .own
            .poll(cx, shared.socket(), shared, &mut self.buffers, &mut self.landing);
        if let Group::Unopened(open) = &mut self.group
            && let Some(address) = shared.look(Node::multicast)
        {
            self.group = match open(address) {
                Ok(socket) => Group::Open(socket, Inlet::new(true)),
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot hear the group's address: served by unicast");
                    Group::Deaf
                }
            };
        }
        if let Group::Open(socket, inlet) = &mut self.group {
            came = came.max(inlet.poll(cx, &**socket, shared, &mut self.buffers, &mut self.landing));
        }
        let left = shared.attend(cx);
        if left.is_over {
            return Poll::Ready(Step::End);
        }
        let again = match &self.group {
            Group::Open(_, inlet) => inlet.again,
            Group::Unopened(_) | Group::Deaf => None,
        };
        let mut next = [left.next, self.own.again, again].into_iter().flatten().min();
        if left.sent == Sent::Blocked {
            // What is due already is due to be sent, for which the socket wakes this task.
            next = next.map(|at| at.max(now() + Self::BLOCKED));
        }
        if came == Came::All {
            return Poll::Ready(Step::Yield);
        }
        if came == Came::More || left.sent == Sent::More {
            return Poll::Ready(Step::Continue);
        }
        if let Some(at) = next {
            self.timer.as_mut().reset(at.into());
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

//! What runs a node: moves datagrams between it and its sockets, and wakes who waits for it.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use flexbond_transport::{DatagramSocket, Received, Transmit};
use parking_lot::Mutex;
use tokio::time::Sleep;

use super::MemberId;
use super::flow::RecordKind;
use super::node::{Event, Node, PushError};
use crate::socket::wakers::WakerSet;

/// A node and those who wait for it.
#[derive(Debug)]
pub(crate) struct Shared {
    node: Mutex<Node>,
    /// The driver, which has something to send.
    driver: WakerSet,
    /// Those who wait for messages, events or for something to be delivered.
    users: WakerSet,
}

impl Shared {
    pub(crate) fn new(node: Node) -> Arc<Self> {
        Arc::new(Shared {
            node: Mutex::new(node),
            driver: WakerSet::default(),
            users: WakerSet::default(),
        })
    }

    /// Queues a message for all others; returns its number.
    pub(crate) fn push(&self, body: Bytes) -> Result<u64, PushError> {
        let number = self.node.lock().push(RecordKind::Message, body)?;
        self.driver.wake_all();
        Ok(number)
    }

    /// Waits until `look` finds something.
    pub(crate) async fn wait<T>(&self, mut look: impl FnMut(&mut Node) -> Option<T>) -> T {
        std::future::poll_fn(|cx| {
            for registered in [false, true] {
                if let Some(found) = look(&mut self.node.lock()) {
                    return Poll::Ready(found);
                }
                if !registered {
                    self.users.register(cx.waker());
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The next message of anybody.
    pub(crate) async fn recv(&self) -> (MemberId, Bytes) {
        let (from, _, body) = self.wait(|node| node.pop(Instant::now())).await;
        // There is room again, of which the sender is to hear.
        self.driver.wake_all();
        (from, body)
    }

    pub(crate) async fn event(&self) -> Event {
        self.wait(Node::poll_event).await
    }
}

/// Runs a node until it is dropped.
#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Shared>,
    /// For all that is sent, and for what comes to this node alone.
    own: Inlet,
    /// For what comes to the group's address.
    group: Option<Inlet>,
    timer: Pin<Box<Sleep>>,
    /// What was delivered when somebody was last told.
    settled: u64,
}

/// A socket that is read from, with room for what comes.
#[derive(Debug)]
struct Inlet {
    socket: Box<dyn DatagramSocket>,
    multicast: bool,
    buffers: Vec<Vec<u8>>,
}

impl Inlet {
    /// Buffers that are filled at once.
    const BATCH: usize = 8;
    /// Batches that are read before something else gets its turn.
    const TURN: usize = 8;

    fn new(socket: Box<dyn DatagramSocket>, multicast: bool) -> Self {
        let buffers = vec![vec![0; Transmit::MAX_LEN]; Self::BATCH];
        Inlet {
            socket,
            multicast,
            buffers,
        }
    }

    /// Hands over what has come; true if there may be more.
    fn poll(&mut self, cx: &mut Context<'_>, node: &Mutex<Node>) -> bool {
        for _ in 0..Self::TURN {
            let mut received = [Received::default(); Self::BATCH];
            let polled = {
                let mut slices = self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer));
                let mut slices: [_; Self::BATCH] =
                    std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
                self.socket.poll_recv(cx, &mut slices, &mut received)
            };
            let count = match polled {
                Poll::Pending => return false,
                // It concerns one call only.
                Poll::Ready(Err(_)) => continue,
                Poll::Ready(Ok(count)) => count,
            };
            let now = Instant::now();
            let mut node = node.lock();
            for (received, buffer) in received[..count].iter().zip(&self.buffers) {
                for packet in received.packets(buffer) {
                    node.handle_datagram(now, received.source, self.multicast, packet);
                }
            }
        }
        true
    }
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        own: Box<dyn DatagramSocket>,
        group: Option<Box<dyn DatagramSocket>>,
    ) -> Self {
        Driver {
            shared,
            own: Inlet::new(own, false),
            group: group.map(|socket| Inlet::new(socket, true)),
            timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            settled: 0,
        }
    }

    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.own.socket.local_addr()
    }

    /// Never resolves.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.driver.register(cx.waker());
        let mut more = self.own.poll(cx, &self.shared.node);
        if let Some(group) = &mut self.group {
            more |= group.poll(cx, &self.shared.node);
        }
        let now = Instant::now();
        let mut node = self.shared.node.lock();
        node.handle_timeout(now);
        let sent_all = self.own.transmit(cx, now, &mut node);
        let next = node.poll_timeout(now);
        let settled = node.settled();
        let news = node.has_news() || settled != self.settled;
        drop(node);
        self.settled = settled;
        if news {
            self.shared.users.wake_all();
        }
        if more || (sent_all && next.is_some_and(|at| at <= now)) {
            cx.waker().wake_by_ref();
        } else if let Some(at) = next {
            self.timer.as_mut().reset(at.into());
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl Inlet {
    /// Sends what there is to send; false if the socket takes no more now.
    fn transmit(&self, cx: &mut Context<'_>, now: Instant, node: &mut Node) -> bool {
        loop {
            let segments = self.socket.max_send_segments();
            let Some(outgoing) = node.poll_transmit(now, segments) else {
                return true;
            };
            let to = outgoing.to;
            let mut transmit = Transmit::new(to, outgoing.contents);
            if let Some(size) = outgoing.segment_size {
                transmit = transmit.segmented(size);
            }
            if self.socket.poll_send(cx, &[transmit]).is_pending() {
                node.untransmit(to);
                return false;
            }
            // What cannot be sent is lost, as anything may be.
        }
    }
}

#[cfg(test)]
mod tests;

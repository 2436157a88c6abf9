//! A node, its socket, and those who wait for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use flexbond_transport::{DatagramSocket, Transmit};
use parking_lot::Mutex;

use super::node::Node;
use crate::socket::wakers::WakerSet;
use crate::spin::{Rivals, Spin};

/// A node, its socket, and those who wait for it.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    socket: Box<dyn DatagramSocket>,
    /// The driver, when there is something that it does not know of.
    driver: WakerSet,
    /// Those who wait for messages, events or for something to be delivered.
    users: WakerSet,
    spin: Spin,
    /// The process that this is in.
    process: u32,
}

#[derive(Debug)]
struct State {
    node: Node,
    /// When the driver looks after the node at the latest.
    armed: Option<Instant>,
}

/// What is left to do after a look at a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) sent: Sent,
    /// When to look again.
    pub(super) next: Option<Instant>,
    pub(super) is_over: bool,
}

/// How far sending went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// The socket takes no more now.
    Blocked,
    /// There is more, for the next turn.
    More,
}

impl Shared {
    /// What one call sends before it leaves the rest to the driver, so that it does not keep others from the node.
    const TURN: usize = 16;

    pub(crate) fn new(node: Node, socket: Box<dyn DatagramSocket>, spin: Duration) -> Arc<Self> {
        Arc::new(Shared {
            state: Mutex::new(State { node, armed: None }),
            socket,
            driver: WakerSet::default(),
            users: WakerSet::default(),
            spin: Spin::new(spin, Rivals::Many),
            process: std::process::id(),
        })
    }

    pub(super) fn socket(&self) -> &dyn DatagramSocket {
        &*self.socket
    }

    /// Does something with the node, and sends at once what it has to say then.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let now = now();
        let mut state = self.state.lock();
        let State { node, armed } = &mut *state;
        let result = act(node, now);
        let sent = self.transmit(node, now, |transmit| self.socket.try_send(&[transmit]));
        let next = node.poll_timeout(now);
        // The driver has to know of what is due before it would look by itself.
        let unknown = sent != Sent::All || next.is_some_and(|next| armed.is_none_or(|armed| next < armed));
        let news = node.take_news();
        drop(state);
        if unknown {
            self.driver.wake_all();
        }
        if news {
            self.users.wake_all();
        }
        result
    }

    /// Looks after the node, as its driver.
    pub(super) fn attend(&self, cx: &mut Context<'_>) -> Left {
        let now = now();
        self.driver.register(cx.waker());
        let mut state = self.state.lock();
        let State { node, armed } = &mut *state;
        node.handle_timeout(now);
        let sent = self.transmit(node, now, |transmit| {
            match self.socket.poll_send(cx, &[transmit]) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        let next = node.poll_timeout(now);
        *armed = next;
        let is_over = node.is_over();
        let news = node.take_news();
        drop(state);
        if news || is_over {
            self.users.wake_all();
        }
        Left { sent, next, is_over }
    }

    /// Sends what there is to send, for a turn.
    fn transmit(
        &self,
        node: &mut Node,
        now: Instant,
        mut send: impl FnMut(Transmit<'_>) -> io::Result<usize>,
    ) -> Sent {
        for turn in 0..Self::TURN {
            let is_first = turn == 0;
            let Some(outgoing) = node.poll_transmit(now, self.socket.max_send_segments()) else {
                return Sent::All;
            };
            let (to, from) = (outgoing.to, outgoing.from);
            // What fork() has made of this process has the same keys and numbers: only one of the two may use them.
            if is_first && std::process::id() != self.process {
                node.abandon("its process is a copy of the one that joined");
                return Sent::All;
            }
            let mut transmit = Transmit::new(to, outgoing.contents);
            if let Some(from) = from {
                transmit = transmit.from(from);
            }
            if let Some(size) = outgoing.segment_size {
                transmit = transmit.segmented(size);
            }
            match send(transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    node.untransmit(to, from);
                    return Sent::Blocked;
                }
                // Lost, as anything may be: it is repaired like what the network loses.
                Err(error) => node.note_unsent(to, &error),
                Ok(_) => {}
            }
        }
        Sent::More
    }

    /// Hands packets to the node.
    pub(super) fn receive<T>(&self, handle: impl FnOnce(&mut Node, Instant) -> T) -> T {
        handle(&mut self.state.lock().node, now())
    }

    /// Nobody drives the node any more.
    pub(super) fn abandon(&self) {
        self.state.lock().node.abandon("its runtime has ended");
        self.users.wake_all();
    }

    /// Looks at the node.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Node) -> T) -> T {
        look(&self.state.lock().node)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Polls until `look` finds something, and wakes the context's task when it may.
    pub(crate) fn poll_wait<T>(
        &self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Node, Instant) -> Option<T>,
    ) -> Poll<T> {
        if let Some(found) = self.act(&mut look) {
            return Poll::Ready(found);
        }
        self.users.register(cx.waker());
        self.act(look).map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until `look` finds something.
    ///
    /// Cancel safe where `look` takes nothing that it does not return.
    pub(crate) async fn wait<T>(&self, mut look: impl FnMut(&mut Node, Instant) -> Option<T>) -> T {
        if let Some(found) = self.act(&mut look) {
            return found;
        }
        let spun = self
            .spin
            .until(|| Ok::<_, std::convert::Infallible>(self.act(&mut look)), false);
        match spun.await {
            Ok(Some(found)) => return found,
            Ok(None) => {}
            Err(never) => match never {},
        }
        std::future::poll_fn(|cx| self.poll_wait(cx, &mut look)).await
    }
}

/// The runtime's clock, which tests may stop and move.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use flexbond_transport::Received;

    use super::*;
    use crate::group::node::tests::settings;

    /// Counts what it is to send, and takes it or has no way to anywhere.
    #[derive(Debug, Default)]
    struct Counting {
        sent: Arc<AtomicUsize>,
        is_unreachable: bool,
    }

    impl DatagramSocket for Counting {
        fn try_send(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
            self.sent.fetch_add(batch.len(), Ordering::Relaxed);
            match self.is_unreachable {
                true => Err(io::ErrorKind::NetworkUnreachable.into()),
                false => Ok(batch.len()),
            }
        }

        fn poll_send(&self, _: &mut Context<'_>, batch: &[Transmit<'_>]) -> Poll<io::Result<usize>> {
            Poll::Ready(self.try_send(batch))
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [Received],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }
    }

    /// A node that asks to join, and its socket.
    fn joining(socket: Counting) -> Arc<Shared> {
        let coordinator = ([127, 0, 0, 1], 2).into();
        let node = Node::member(now(), coordinator, [1; 16], &[], settings(false));
        Shared::new(node, Box::new(socket), Duration::ZERO)
    }

    #[test]
    fn what_the_system_refuses_to_send_is_counted_and_sent_again() {
        let shared = joining(Counting {
            is_unreachable: true,
            ..Counting::default()
        });
        let left = shared.attend(&mut Context::from_waker(Waker::noop()));
        assert_eq!((left.sent, left.is_over), (Sent::All, false));
        assert_eq!(shared.look(Node::counters).unsent, 1, "it asked to join");
        assert!(left.next.is_some(), "it asks again");
    }

    #[test]
    fn what_fork_has_made_of_a_process_says_nothing() {
        let sent = Arc::default();
        for process in [std::process::id(), std::process::id() + 1] {
            let mut shared = joining(Counting {
                sent: Arc::clone(&sent),
                ..Counting::default()
            });
            Arc::get_mut(&mut shared).expect("nobody else has it").process = process;
            shared.act(Node::handle_timeout);
            assert_eq!(sent.load(Ordering::Relaxed), 1, "the process itself asks to join");
            let is_over = shared.look(Node::is_over);
            assert_eq!(is_over, process != std::process::id());
        }
    }
}

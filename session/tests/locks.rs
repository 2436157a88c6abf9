//! What belongs to the application (buffers it lent, wakers, watchers) may look at the socket whenever it is called.
#![cfg(all(feature = "tcp", feature = "inproc"))]

mod harness;
mod raw;
mod scripted;

use std::pin::pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use flexbond_session::Message;
use flexbond_session::socket::{SlowPeer, Socket, SocketType};
use harness::{DEADLINE, brisk, peers, recv, socket, socket_with, vacant};
use raw::command;
use scripted::{ENDPOINT, scripted};

/// Runs a test of its own, on a runtime of its own, that may lock up.
fn completes(what: &str, test: impl AsyncFnOnce() + Send + 'static) {
    let (done, waiting) = channel::<()>();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test());
        done.send(()).expect("somebody waits");
    });
    match waiting.recv_timeout(DEADLINE / 4) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("locked up: {what}"),
        Err(RecvTimeoutError::Disconnected) => panic!("failed: {what}"),
    }
}

/// Looks at a socket from wherever it is called.
#[derive(Clone, Default)]
struct Onlooker(Arc<OnceLock<Socket>>);

impl Onlooker {
    fn of(socket: &Socket) -> Onlooker {
        Onlooker(Arc::new(OnceLock::from(socket.clone())))
    }

    fn look(&self) {
        if let Some(socket) = self.0.get() {
            let _ = socket.peers();
        }
    }
}

impl Wake for Onlooker {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

/// Memory that is lent to a message; its owner looks at the socket when it comes back.
struct Lent(Vec<u8>, Onlooker);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.1.look();
    }
}

fn lent(onlooker: &Onlooker) -> Message {
    Message::from(Bytes::from_owner(Lent(vec![7; 5000], onlooker.clone())))
}

#[test]
fn a_lent_buffer_comes_back_when_its_message_is_evicted() {
    completes("the oldest message is dropped", async || {
        let (registry, mut ends) = scripted();
        let options = brisk()
            .registry(registry)
            .send_hwm(2)
            .slow_peer(SlowPeer::DropOldest);
        let publisher = socket_with(SocketType::XPub, options);
        publisher.connect(ENDPOINT).expect("connecting");
        let far = ends.next().await;
        far.handshake("SUB").await;
        far.send(&command("SUBSCRIBE", b""));
        recv(&publisher).await;
        far.allow(0);
        let onlooker = Onlooker::of(&publisher);
        for _ in 0..5 {
            publisher.try_send(lent(&onlooker)).expect("sent");
        }
        assert_eq!(publisher.stats().dropped, 3);
    });
}

#[test]
fn a_lent_buffer_comes_back_when_its_message_is_replaced() {
    for kind in [SocketType::Push, SocketType::Dealer] {
        completes("a waiting message is replaced", async move || {
            let push = socket_with(kind, brisk().conflate(true));
            push.connect(vacant()).expect("connecting");
            let onlooker = Onlooker::of(&push);
            for _ in 0..3 {
                push.try_send(lent(&onlooker)).expect("sent");
            }
        });
    }
    completes("a waiting message is replaced for a subscriber", async || {
        let (registry, mut ends) = scripted();
        let publisher = socket_with(SocketType::Pub, brisk().registry(registry).conflate(true));
        publisher.connect(ENDPOINT).expect("connecting");
        let far = ends.next().await;
        far.handshake("SUB").await;
        far.send(&[command("SUBSCRIBE", b""), command("PING", b"\0\0")].concat());
        far.try_recv_unit()
            .await
            .expect("a PONG, so that the subscription was seen");
        far.allow(0);
        let onlooker = Onlooker::of(&publisher);
        for _ in 0..3 {
            publisher.try_send(lent(&onlooker)).expect("sent");
        }
    });
}

#[test]
fn a_watcher_that_is_woken_by_a_drop_may_look_at_the_socket() {
    for policy in [SlowPeer::DropNewest, SlowPeer::DropOldest, SlowPeer::Disconnect] {
        completes("a drop is reported", async move || {
            let (registry, mut ends) = scripted();
            let options = brisk().registry(registry).send_hwm(1).slow_peer(policy);
            let publisher = socket_with(SocketType::XPub, options);
            publisher.connect(ENDPOINT).expect("connecting");
            let far = ends.next().await;
            far.handshake("SUB").await;
            far.send(&command("SUBSCRIBE", b""));
            recv(&publisher).await;
            far.allow(0);
            let mut monitor = publisher.monitor();
            let waker = Waker::from(Arc::new(Onlooker::of(&publisher)));
            let watching = pin!(monitor.recv());
            assert!(watching.poll(&mut Context::from_waker(&waker)).is_pending());
            for n in 0..3 {
                publisher.try_send(format!("{n}")).expect("sent");
            }
            assert!(publisher.stats().dropped > 0);
        });
    }
}

#[test]
fn a_receiver_that_is_woken_by_a_send_may_look_at_the_sender() {
    completes("a message goes to a direct peer", async || {
        let (push, pull) = (socket(SocketType::Push), socket(SocketType::Pull));
        pull.bind("inproc://locks").await.expect("bound");
        push.connect("inproc://locks").expect("connecting");
        peers(&push, 1).await;
        peers(&pull, 1).await;
        // One more, whose messages a task writes.
        push.connect(vacant()).expect("connecting");
        let waker = Waker::from(Arc::new(Onlooker::of(&push)));
        let receiving = pin!(pull.recv());
        assert!(receiving.poll(&mut Context::from_waker(&waker)).is_pending());
        for _ in 0..2 {
            push.try_send("hello").expect("sent");
        }
    });
}

//! Every way to send and every way to receive, mixed at random and given up at random: no message is lost, doubled,
//! split or overtaken. A seed is printed; set `FLEXBOND_SEED` to repeat a run.
#![cfg(all(feature = "tcp", feature = "ipc", feature = "inproc"))]

mod harness;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use flexbond_session::Message;
use flexbond_session::socket::{Options, RecvError, SendErrorKind, Socket, SocketType};
use harness::{number, numbered, socket_with, within};
use tokio::sync::mpsc;

const SENDERS: u64 = 3;
const EACH: u64 = 250;

fn seeded() -> fastrand::Rng {
    let seed = std::env::var("FLEXBOND_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("FLEXBOND_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// One to ten parts, small or large, each with the number.
fn parcel(number: u64) -> Message {
    let size = match number % 60 {
        7 => 4096,
        19 => 140_000,
        _ => 8 + (number % 80) as usize,
    };
    let parts = if number.is_multiple_of(17) {
        10
    } else {
        1 + number % 3
    };
    (0..parts).map(|_| numbered(number, size)).collect()
}

/// Polls a future a few times and drops it then.
async fn briefly<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn send_all(socket: Socket, mut rng: fastrand::Rng, numbers: std::ops::Range<u64>) {
    let mut waiting: VecDeque<Message> = numbers.map(parcel).collect();
    while let Some(message) = waiting.front() {
        match rng.u8(..5) {
            0 => {
                let sent = socket.send(message.clone()).await;
                sent.expect("sent");
                waiting.pop_front();
            }
            1 => {
                if let Some(sent) = briefly(rng.usize(..2), socket.send(message.clone())).await {
                    sent.expect("sent");
                    waiting.pop_front();
                }
            }
            2 => match socket.try_send(message.clone()) {
                Ok(()) => drop(waiting.pop_front()),
                Err(error) => {
                    assert_eq!(*error.kind(), SendErrorKind::WouldBlock);
                    assert!(error.into_message() == *message, "it comes back as it was");
                    tokio::task::yield_now().await;
                }
            },
            way => {
                let mut some: VecDeque<_> = waiting.drain(..rng.usize(1..9).min(waiting.len())).collect();
                if way == 3 {
                    socket.send_many(&mut some).await.expect("sent");
                    assert!(some.is_empty());
                } else if let Some(sent) = briefly(rng.usize(..3), socket.send_many(&mut some)).await {
                    sent.expect("sent");
                }
                while let Some(message) = some.pop_back() {
                    waiting.push_front(message);
                }
            }
        }
    }
}

async fn receive(socket: Socket, mut rng: fastrand::Rng, received: mpsc::UnboundedSender<Message>) {
    loop {
        let mut messages = Vec::new();
        match rng.u8(..6) {
            0 => messages.extend(socket.recv().await),
            1 => messages.extend(briefly(rng.usize(..2), socket.recv()).await.into_iter().flatten()),
            2 => match socket.try_recv() {
                Ok(message) => messages.push(message),
                Err(RecvError::WouldBlock) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            },
            3 => {
                let limit = rng.usize(1..9);
                let count = socket.recv_many(&mut messages, limit).await.expect("open");
                assert!(count == messages.len() && count <= limit && count > 0);
            }
            4 => {
                let count = briefly(rng.usize(..2), socket.recv_many(&mut messages, 1000)).await;
                assert_eq!(count.map_or(0, |count| count.expect("open")), messages.len());
            }
            _ => messages.push(socket.recv_from().await.expect("open").0),
        }
        for message in messages {
            if received.send(message).is_err() {
                return;
            }
        }
    }
}

async fn mixture(rng: &mut fastrand::Rng, endpoint: String, kinds: [SocketType; 2], receivers: usize) {
    let hwm = rng.usize(1..=5);
    let what = format!(
        "{} of {endpoint} with a mark of {hwm} and {receivers} receivers",
        kinds[0]
    );
    let options = Options::new().hwm(hwm);
    let [from, to] = kinds.map(|kind| socket_with(kind, options.clone()));
    let endpoint = to.bind(endpoint).await.expect("bound");
    from.connect(endpoint).expect("connecting");
    let (received, mut arrivals) = mpsc::unbounded_channel();
    let receivers: Vec<_> = (0..receivers)
        .map(|_| tokio::spawn(receive(to.clone(), rng.fork(), received.clone())))
        .collect();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            tokio::spawn(send_all(
                from.clone(),
                rng.fork(),
                sender * EACH..(sender + 1) * EACH,
            ))
        })
        .collect();
    let mut seen = vec![false; (SENDERS * EACH) as usize];
    let mut next: Vec<u64> = (0..SENDERS).map(|sender| sender * EACH).collect();
    for _ in 0..SENDERS * EACH {
        let message = within(&what, arrivals.recv()).await.expect("receivers live");
        let n = number(&message[0]);
        assert!(message == parcel(n), "{what}: {n} is not whole");
        assert!(
            !std::mem::replace(&mut seen[n as usize], true),
            "{what}: {n} came twice"
        );
        if receivers.len() == 1 {
            let next = &mut next[(n / EACH) as usize];
            assert_eq!(n, *next, "{what}: in order");
            *next += 1;
        }
    }
    for sender in senders {
        within(&what, sender).await.expect("all sent");
    }
    let sent = from.stats();
    assert_eq!((sent.messages_sent, sent.dropped), (SENDERS * EACH, 0), "{what}");
    assert_eq!(to.stats().messages_received, SENDERS * EACH, "{what}");
    assert_eq!(sent.bytes_sent, to.stats().bytes_received, "{what}");
    let closed = within(&what, from.close_within(None)).await;
    assert_eq!(closed.undelivered, 0, "{what}");
    receivers.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(arrivals.try_recv().is_err(), "{what}: nothing more");
}

async fn all_mixtures() {
    let mut rng = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    for (round, kinds) in [
        [SocketType::Push, SocketType::Pull],
        [SocketType::Dealer; 2],
        [SocketType::Pair; 2],
    ]
    .into_iter()
    .enumerate()
    {
        for receivers in 1..=2 {
            for endpoint in [
                "tcp://127.0.0.1:0".to_owned(),
                format!("ipc://{path}/{round}-{receivers}"),
                format!("inproc://{path}/{round}-{receivers}"),
            ] {
                mixture(&mut rng, endpoint, kinds, receivers).await;
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_doubled_split_or_overtaken_on_one_thread() {
    all_mixtures().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_split_or_overtaken_on_two_threads() {
    all_mixtures().await;
}

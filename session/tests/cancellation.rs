//! Fifty thousand sends and receives are given up at random moments, and no message is lost, doubled or split.
//!
//! A call that was dropped before it was complete did nothing, so it is simply made again. A seed is printed; set
//! `FLEXBOND_SEED` to repeat a run.

mod harness;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use flexbond_session::Message;
use flexbond_session::socket::{Options, Socket, SocketType};
use harness::{number, numbered, socket_with};

/// Cancellations for each of the nine combinations of transport and pattern, on each of two runtimes.
const QUOTA: usize = 50_000 / 9 / 2 + 1;
/// The number of the last message.
const END: u64 = u64::MAX;

/// Makes calls and gives them up.
struct Quitter {
    rng: fastrand::Rng,
    cancelled: Arc<AtomicUsize>,
}

impl Quitter {
    fn fork(&mut self) -> Quitter {
        Quitter {
            rng: self.rng.fork(),
            cancelled: Arc::clone(&self.cancelled),
        }
    }

    fn done(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) >= QUOTA
    }

    /// Makes the call until one is complete.
    async fn insist<F: Future>(&mut self, mut call: impl FnMut() -> F) -> F::Output {
        loop {
            let outcome = match self.rng.u8(..8) {
                // To its end, now and then: else the wakers of futures that live would not be tested.
                0 => Some(call().await),
                1 => {
                    tokio::select! {
                        output = call() => Some(output),
                        () = std::future::ready(()) => None,
                    }
                }
                2 => {
                    tokio::select! {
                        output = call() => Some(output),
                        () = tokio::task::yield_now() => None,
                    }
                }
                3 => tokio::time::timeout(Duration::from_micros(self.rng.u64(..300)), call())
                    .await
                    .ok(),
                _ => cut_short(call(), self.rng.usize(..4)).await,
            };
            match outcome {
                Some(output) => return output,
                None => {
                    self.cancelled.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Polls a future so many times, then drops it.
async fn cut_short<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// One to four equal parts with a number, small or large.
fn parcel(number: u64) -> Message {
    let size = match number % 50 {
        7 => 5000,
        23 => 150_000,
        _ => 8 + (number % 90) as usize,
    };
    (0..1 + number % 4).map(|_| numbered(number, size)).collect()
}

fn check(message: &Message, expected: u64) {
    assert!(
        *message == parcel(expected),
        "expected {expected}, got {} in {} parts",
        number(&message[0]),
        message.len()
    );
}

fn tight() -> Options {
    Options::new().hwm(3).linger(Duration::ZERO)
}

async fn connected(bound: &Socket, connecting: &Socket, endpoint: &str) {
    let endpoint = bound.bind(endpoint).await.expect("bound");
    connecting.connect(endpoint).expect("connecting");
}

async fn push_pull(endpoint: String, mut quitter: Quitter) {
    let (push, pull) = (
        socket_with(SocketType::Push, tight()),
        socket_with(SocketType::Pull, tight()),
    );
    connected(&pull, &push, &endpoint).await;
    let mut receiving = quitter.fork();
    let receiver = tokio::spawn(async move {
        let mut next = 0;
        loop {
            let message = receiving.insist(|| pull.recv()).await.expect("received");
            if number(&message[0]) == END {
                return next;
            }
            check(&message, next);
            next += 1;
        }
    });
    let mut count = 0;
    while !quitter.done() {
        quitter.insist(|| push.send(parcel(count))).await.expect("sent");
        count += 1;
    }
    push.send(numbered(END, 8)).await.expect("sent");
    assert_eq!(receiver.await.expect("all in order"), count);
}

async fn dealer_router(endpoint: String, mut quitter: Quitter) {
    let router = socket_with(SocketType::Router, tight().router_mandatory(true));
    let dealer = socket_with(SocketType::Dealer, tight());
    connected(&router, &dealer, &endpoint).await;
    let mut echoing = quitter.fork();
    let echo = tokio::spawn(async move {
        loop {
            let message = echoing.insist(|| router.recv()).await.expect("received");
            let is_end = number(&message[1]) == END;
            echoing
                .insist(|| router.send(message.clone()))
                .await
                .expect("sent");
            if is_end {
                return router;
            }
        }
    });
    let mut receiving = quitter.fork();
    let receiver = dealer.clone();
    let receiver = tokio::spawn(async move {
        let mut next = 0;
        loop {
            let message = receiving.insist(|| receiver.recv()).await.expect("received");
            if number(&message[0]) == END {
                return next;
            }
            check(&message, next);
            next += 1;
        }
    });
    let mut count = 0;
    while !quitter.done() {
        quitter.insist(|| dealer.send(parcel(count))).await.expect("sent");
        count += 1;
    }
    dealer.send(numbered(END, 8)).await.expect("sent");
    let _router = echo.await.expect("echoed");
    assert_eq!(receiver.await.expect("all in order"), count);
}

async fn req_rep(endpoint: String, mut quitter: Quitter) {
    let (req, rep) = (
        socket_with(SocketType::Req, tight()),
        socket_with(SocketType::Rep, tight()),
    );
    connected(&rep, &req, &endpoint).await;
    let mut answering = quitter.fork();
    let answers = tokio::spawn(async move {
        let mut next = 0;
        loop {
            let message = answering.insist(|| rep.recv()).await.expect("received");
            let is_end = number(&message[0]) == END;
            if !is_end {
                check(&message, next);
                next += 1;
            }
            answering
                .insist(|| rep.send(message.clone()))
                .await
                .expect("sent");
            if is_end {
                return (next, rep);
            }
        }
    });
    let mut count = 0;
    while !quitter.done() {
        quitter.insist(|| req.send(parcel(count))).await.expect("sent");
        let message = quitter.insist(|| req.recv()).await.expect("received");
        check(&message, count);
        count += 1;
    }
    req.send(numbered(END, 8)).await.expect("sent");
    req.recv().await.expect("received");
    assert_eq!(answers.await.expect("all in order").0, count);
}

async fn every_pattern_and_transport(runtime: &str) {
    let seed = std::env::var("FLEXBOND_SEED")
        .ok()
        .map_or_else(|| fastrand::u64(..), |text| text.parse().expect("a seed"));
    println!("FLEXBOND_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut total = 0;
    for pattern in ["push_pull", "dealer_router", "req_rep"] {
        for scheme in ["tcp", "ipc", "inproc"] {
            let endpoint = match scheme {
                "tcp" => "tcp://127.0.0.1:0".to_owned(),
                "ipc" => format!("ipc://{}", folder.path().join(pattern).display()),
                _ => format!("inproc://cancellation-{runtime}-{pattern}"),
            };
            let cancelled = Arc::new(AtomicUsize::new(0));
            let quitter = Quitter {
                rng: rng.fork(),
                cancelled: Arc::clone(&cancelled),
            };
            let patience = Duration::from_secs(60);
            let run = async {
                match pattern {
                    "push_pull" => push_pull(endpoint, quitter).await,
                    "dealer_router" => dealer_router(endpoint, quitter).await,
                    _ => req_rep(endpoint, quitter).await,
                }
            };
            let outcome = tokio::time::timeout(patience, run).await;
            let count = cancelled.load(Ordering::Relaxed);
            assert!(
                outcome.is_ok(),
                "{pattern} over {scheme} hung after {count} cancellations, seed {seed}"
            );
            total += count;
        }
    }
    println!("{total} cancellations");
    assert!(total >= 25_000);
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_split_on_one_thread() {
    every_pattern_and_transport("one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_split_on_two_threads() {
    every_pattern_and_transport("two").await;
}

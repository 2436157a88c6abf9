//! What may happen at once, and must never: that something is there, and who waits for it sleeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::thread;

use super::ending::Ending;
use super::flights::Flights;
use super::news::News;
use super::sync::{AtomicBool, Mutex, Ordering};
use super::task::Task;
use super::wakers::WakerSet;
use super::woken::{Signal, Woken};

/// A queue as a pipe is one: who finds it empty leaves a waker.
#[derive(Default)]
struct Pipe(Mutex<(u32, Option<Waker>)>);

impl Pipe {
    fn push(&self) {
        let waker = {
            let mut pipe = self.0.lock();
            pipe.0 += 1;
            pipe.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all; with nothing there, `waker` is told of the next.
    fn take(&self, waker: &Waker) -> u32 {
        let mut pipe = self.0.lock();
        let taken = std::mem::take(&mut pipe.0);
        if taken == 0 {
            pipe.1 = Some(waker.clone());
        }
        taken
    }
}

/// Sources push, and a socket receives from them in turn, as `FairQueue` does it.
fn fair_queue(sources: usize, each: u32) {
    loom::model(move || {
        let news = Arc::new(News::default());
        let pipes: Vec<_> = (0..sources).map(|_| Arc::new(Pipe::default())).collect();
        let wakers: Vec<_> = (0..sources).map(|key| news.waker(key)).collect();
        // A new source is looked at once.
        wakers.iter().for_each(Waker::wake_by_ref);
        let senders: Vec<_> = pipes
            .iter()
            .map(|pipe| {
                let pipe = Arc::clone(pipe);
                thread::spawn(move || (0..each).for_each(|_| pipe.push()))
            })
            .collect();
        let task = Task::new();
        let mut received = 0;
        let mut receive = || {
            let mut keys = Vec::new();
            if news.is_any() {
                news.take(|key| keys.push(key));
            }
            let before = received;
            for key in keys {
                loop {
                    match pipes[key].take(&wakers[key]) {
                        0 => break,
                        count => received += count,
                    }
                }
            }
            (received > before, received)
        };
        loop {
            let (_, so_far) = receive();
            if so_far == sources as u32 * each {
                break;
            }
            // As every receive of a socket: it registers, looks again, and sleeps.
            news.waiters().register(&task.waker());
            let (found, so_far) = receive();
            if so_far == sources as u32 * each {
                break;
            }
            if !found {
                task.sleep();
            }
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().expect("it ends"));
    });
}

#[test]
fn a_message_of_one_source_is_not_slept_over() {
    fair_queue(1, 2);
}

#[test]
fn a_message_of_two_sources_is_not_slept_over() {
    fair_queue(2, 1);
}

/// As a server that drains: it asks for a word of the last call's end, looks whether one is under way, and sleeps.
fn drained(calls: u32) {
    loom::model(move || {
        let flights = Arc::new(Flights::new());
        let server = Arc::new(Task::new());
        let callers: Vec<_> = (0..calls)
            .map(|_| {
                flights.begin();
                let (flights, server) = (Arc::clone(&flights), Arc::clone(&server));
                thread::spawn(move || {
                    if flights.end() {
                        server.waker().wake();
                    }
                })
            })
            .collect();
        flights.drain();
        while flights.count() > 0 {
            server.sleep();
        }
        callers
            .into_iter()
            .for_each(|caller| caller.join().expect("it ends"));
    });
}

#[test]
fn a_server_that_drains_hears_of_the_only_call() {
    drained(1);
}

#[test]
fn a_server_that_drains_hears_of_the_last_call() {
    drained(2);
}

/// As a socket that is closed while its tasks end of their own: somebody tells its watchers.
fn closed(tasks: u32) {
    loom::model(move || {
        let ending = Arc::new(Ending::new());
        let told = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                ending.begin();
                let (ending, told) = (Arc::clone(&ending), Arc::clone(&told));
                thread::spawn(move || {
                    if ending.end() {
                        told.store(true, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        assert!(ending.close() && ending.is_closed());
        if ending.is_over() {
            told.store(true, Ordering::Relaxed);
        }
        tasks.into_iter().for_each(|task| task.join().expect("it ends"));
        assert!(ending.is_over() && told.load(Ordering::Relaxed));
    });
}

#[test]
fn watchers_hear_that_a_socket_is_closed_whoever_ends_last() {
    closed(1);
    closed(2);
}

/// As whoever waits for a socket: it registers, looks again, and sleeps.
fn wait(set: &WakerSet, happened: &Mutex<bool>) {
    let task = Task::new();
    while !*happened.lock() {
        set.register(&task.waker());
        if *happened.lock() {
            break;
        }
        task.sleep();
    }
}

#[test]
fn everybody_who_waits_is_woken() {
    loom::model(|| {
        let set = Arc::new(WakerSet::default());
        let happened = Arc::new(Mutex::new(false));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let (set, happened) = (Arc::clone(&set), Arc::clone(&happened));
                thread::spawn(move || wait(&set, &happened))
            })
            .collect();
        *happened.lock() = true;
        set.wake_all();
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().expect("it ends"));
    });
}

/// What a task leaves behind that was cancelled.
struct Gone;

impl Wake for Gone {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn who_waits_is_not_forgotten_among_those_who_are_gone() {
    loom::model(|| {
        let set = Arc::new(WakerSet::default());
        // As many as there may be before all are asked who lives: the next one asks.
        (0..64).for_each(|_| set.register(&Waker::from(Arc::new(Gone))));
        let happened = Arc::new(Mutex::new(false));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let (set, happened) = (Arc::clone(&set), Arc::clone(&happened));
                thread::spawn(move || wait(&set, &happened))
            })
            .collect();
        *happened.lock() = true;
        set.wake_all();
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().expect("it ends"));
    });
}

/// Connections bring packets, and a tunnel receives from them in turn, as `Inbox` does it.
fn inbox(connections: u64, each: u32) {
    loom::model(move || {
        let woken = Arc::new(Woken::default());
        let pipes: Vec<_> = (0..connections).map(|_| Arc::new(Pipe::default())).collect();
        let signals: Vec<_> = (0..connections).map(|id| Signal::new(id, &woken)).collect();
        signals.iter().for_each(Wake::wake_by_ref);
        let senders: Vec<_> = pipes
            .iter()
            .map(|pipe| {
                let pipe = Arc::clone(pipe);
                thread::spawn(move || (0..each).for_each(|_| pipe.push()))
            })
            .collect();
        let task = Task::new();
        let mut turn = VecDeque::new();
        let mut received = 0;
        while received < connections as u32 * each {
            woken.append_to(&mut turn);
            let before = received;
            while let Some(id) = turn.pop_front() {
                let index = usize::try_from(id).expect("there are few");
                signals[index].clear();
                let waker = Waker::from(Arc::clone(&signals[index]));
                match pipes[index].take(&waker) {
                    0 => {}
                    count => {
                        received += count;
                        // Woken meanwhile, it is on the list already.
                        if !signals[index].note() {
                            turn.push_back(id);
                        }
                    }
                }
            }
            if received == before && !woken.wait(task.waker()) {
                task.sleep();
            }
        }
        senders
            .into_iter()
            .for_each(|sender| sender.join().expect("it ends"));
    });
}

#[test]
fn a_packet_of_one_connection_is_not_slept_over() {
    inbox(1, 2);
}

#[test]
fn a_packet_of_two_connections_is_not_slept_over() {
    inbox(2, 1);
}

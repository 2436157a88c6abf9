//! A bare channel between two threads.

use std::sync::{Arc, mpsc};
use std::thread;

use crossbeam_channel::bounded;
use peer_harness::{Args, Go, Meter, fail, print};
use serde_json::json;

/// Sends new messages from one thread to another and counts them.
pub(crate) fn run(args: &Args, meter: &Arc<Meter>, mut go: Go) {
    print(&json!({ "ready": true }));
    go.wait_blocking();
    meter.measure(args);
    let crossbeam = args.setting == "crossbeam";
    // Small payloads inline, as in every contender that keeps them inline.
    match (crossbeam, args.size) {
        (true, 16) => crossbeam_run(args, meter, [0xA5_u8; 16], |part| *part),
        (false, 16) => std_run(args, meter, [0xA5_u8; 16], |part| *part),
        (true, size) => crossbeam_run(args, meter, vec![0xA5_u8; size], Clone::clone),
        (false, size) => std_run(args, meter, vec![0xA5_u8; size], Clone::clone),
    }
}

fn crossbeam_run<M: Send + 'static>(args: &Args, meter: &Meter, part: M, make: fn(&M) -> M) {
    let (tx, rx) = bounded(args.hwm);
    thread::spawn(move || {
        loop {
            if tx.send(make(&part)).is_err() {
                fail("the receiver went away");
            }
        }
    });
    for message in rx {
        drop(message);
        meter.counter(0).add(1);
    }
}

fn std_run<M: Send + 'static>(args: &Args, meter: &Meter, part: M, make: fn(&M) -> M) {
    let (tx, rx) = mpsc::sync_channel(args.hwm);
    thread::spawn(move || {
        loop {
            if tx.send(make(&part)).is_err() {
                fail("the receiver went away");
            }
        }
    });
    for message in rx {
        drop(message);
        meter.counter(0).add(1);
    }
}

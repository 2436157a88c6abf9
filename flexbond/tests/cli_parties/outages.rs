//! Servers and parties that are killed, between messages and in the middle of a large one.

use std::time::{Duration, Instant};

use crate::member::{self, tensor_bytes};
use crate::program::{PATIENCE, Program, scrape};
use crate::site::{Running, Site, fails};

const STORE: &str = "store = \"messages.redb\"";

#[test]
fn a_message_waits_for_who_comes_after_all_have_ended() {
    let site = Site::new();
    let mut server = site.serve(STORE, "", "");
    let (a, b) = site.pair(&server.endpoint);
    for number in 0..3 {
        a.sends("b", &number.to_string());
        server.kill_and_restart();
    }
    server.program.signal("TERM");
    server.event("left in the store: 3 messages");
    server.restart();
    for number in 0..3 {
        b.receives("a", &number.to_string());
        server.kill_and_restart();
    }
    let end = b.recv("a", &["--timeout", "0.2"]);
    assert!(
        matches!(end.code, Some(1 | 3)) && end.stdout.is_empty(),
        "{end:?}"
    );
}

#[test]
fn the_time_to_live_goes_on_while_the_server_is_dead() {
    let site = Site::new();
    let mut server = site.serve(STORE, "", "");
    let brief = serde_json::json!({"limits": {"ttl_ms": 400}});
    let a = site.party_with(&server.endpoint, "a", &["a", "b"], &brief);
    let b = site.party(&server.endpoint, "b");
    a.sends("b", "1");
    site.party(&server.endpoint, "a").sends("b", "2");
    server.kill_and_restart();
    server.event("1 message has waited too long on channel x from a to b");
    fails(
        &b.recv("a", &[]),
        1,
        "message 0 from party a has waited too long, or is larger than what is taken here",
    );
    b.receives("a", "2");
}

/// A number of the server's metrics.
fn number(url: &str, name: &str) -> f64 {
    scrape::value(&scrape::get(url, ""), name).unwrap_or_default()
}

/// Waits until the server holds so many bytes.
fn until_held(url: &str, bytes: usize) {
    let deadline = Instant::now() + PATIENCE;
    while number(url, "flexbond_serve_held_bytes") < bytes as f64 {
        assert!(Instant::now() < deadline, "{}", scrape::get(url, ""));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills the first one of them, and starts it again.
enum Victim {
    Server,
    Sender,
    Receiver,
}

fn url(server: &mut Running) -> String {
    scrape::url(&mut server.program)
}

/// A large message from `a` to `b`, and a death while it is on its way.
fn a_large_message_survives(top: &str, limits: &str, victim: &Victim) {
    let site = Site::new();
    let mut server = site.serve(top, limits, "");
    let metrics = url(&mut server);
    let (a, b) = site.pair(&server.endpoint);
    let is_durable = !top.is_empty();
    let mut sender = member::start(&a, "send");
    let mut receiver: Option<Program> = None;
    if !is_durable {
        // It is handed on as it comes.
        receiver = Some(member::start(&b, "recv"));
    }
    sender.event("begins at 0");
    match (victim, is_durable) {
        (Victim::Receiver, true) => {
            // It comes when the message is there.
            until_held(&metrics, tensor_bytes());
            let mut first = member::start(&b, "recv");
            first.event("begins");
            server.event("job job: b is there");
            first.signal("KILL");
        }
        (Victim::Receiver, false) => {
            until_held(&metrics, 1);
            receiver.take().unwrap().signal("KILL");
        }
        (Victim::Server, _) => {
            until_held(&metrics, if is_durable { tensor_bytes() / 2 } else { 1 });
            server.kill_and_restart();
        }
        (Victim::Sender, _) => {
            until_held(&metrics, if is_durable { tensor_bytes() / 4 } else { 1 });
            sender.signal("KILL");
            sender = member::start(&a, "send");
            // It begins anew, unless it had come to its end after all.
            sender.event("begins at ");
        }
    }
    let mut receiver = receiver.unwrap_or_else(|| member::start(&b, "recv"));
    // A trial with a larger one may take longer.
    let patience = PATIENCE.max(PATIENCE / 16 * (tensor_bytes() >> 20) as u32);
    receiver.event_within(patience, "received");
    assert_eq!(receiver.end().code, Some(0));
    sender.event_within(patience, "delivered");
    assert_eq!(sender.end().code, Some(0));
    // Once, and no more.
    let end = b.recv("a", &["--timeout", "0.2"]);
    assert!(end.stdout.is_empty(), "{end:?}");
}

/// The message is larger than what the server keeps of one.
const STREAMED: &str = "window_bytes = 4194304\n";

#[test]
fn the_server_dies_in_the_middle_of_a_large_message_that_it_stores() {
    a_large_message_survives(STORE, "", &Victim::Server);
}

#[test]
fn the_server_dies_in_the_middle_of_a_large_message_that_it_hands_on() {
    a_large_message_survives("", STREAMED, &Victim::Server);
}

#[test]
fn the_sender_dies_in_the_middle_of_a_large_message_to_a_store() {
    a_large_message_survives(STORE, "", &Victim::Sender);
}

#[test]
fn the_sender_dies_in_the_middle_of_a_large_message_that_is_handed_on() {
    a_large_message_survives("", STREAMED, &Victim::Sender);
}

#[test]
fn the_receiver_dies_in_the_middle_of_a_large_message_from_a_store() {
    a_large_message_survives(STORE, "", &Victim::Receiver);
}

#[test]
fn the_receiver_dies_in_the_middle_of_a_large_message_that_is_handed_on() {
    a_large_message_survives("", STREAMED, &Victim::Receiver);
}

//! A server that has no room: its senders are told, nothing is lost, and all goes on when there is room.

use crate::site::{Site, fails};

/// Fills what there is of room, and makes room.
fn a_full_server_tells_its_senders(top: &str, limits: &str) {
    let site = Site::new();
    let mut server = site.serve(top, limits, "");
    let (a, b) = site.pair(&server.endpoint);
    let value = |number: usize| format!("\"{number}{}\"", "x".repeat(200_000));
    let mut sent = 0;
    let end = loop {
        let end = a.send("b", &value(sent), &["--timeout", "0.5"]);
        if end.code != Some(0) {
            break end;
        }
        sent += 1;
        assert!(sent < 20, "there is room for ever");
    };
    assert!(sent >= 2, "{end:?}");
    fails(&end, 3, "nobody has taken the message over");
    fails(&end, 3, "the message server has no room at present");
    server.event("job job: a waits for room: the quota of the ");
    b.receives("a", &value(0));
    // What could not be sent was not sent.
    a.sends("b", &value(sent));
    for number in 1..=sent {
        b.receives("a", &value(number));
    }
}

#[test]
fn a_full_store_tells_its_senders() {
    a_full_server_tells_its_senders("store = \"messages.redb\"", "store_bytes = 1048576\n");
}

#[test]
fn a_full_memory_tells_its_senders() {
    a_full_server_tells_its_senders("", "party_bytes = 1048576\n");
}

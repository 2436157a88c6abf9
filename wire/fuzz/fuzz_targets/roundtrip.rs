//! Arbitrary messages and subscriptions between two connections of arbitrary versions.
#![no_main]

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use arbitrary::Arbitrary;
use flexbond_transport::Message;
use flexbond_wire::zmtp::{Config, Connection, Event, SocketType, Version};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    versions: (u8, u8),
    step: u8,
    routing_id: Vec<u8>,
    messages: Vec<Vec<Vec<u8>>>,
    /// Lengths of large bodies to send after the messages.
    large: Vec<u32>,
}

fn version(choice: u8) -> Version {
    [Version::V1_0, Version::V2_0, Version::V3_0, Version::V3_1][usize::from(choice % 4)]
}

fn carry(from: &mut Connection, to: &mut Connection, step: usize, now: Instant) -> Vec<Event> {
    let mut events = Vec::new();
    while !from.transmit().is_empty() {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = from.transmit().slices(&mut slices);
        let mut carried = 0;
        for chunk in slices[..filled].iter().flat_map(|slice| slice.chunks(step)) {
            to.read_buffer().extend_from_slice(chunk);
            to.handle_read(now);
            carried += chunk.len();
            while let Some(event) = to.poll_event(now).expect("a peer of our own makes no mistakes") {
                events.push(event);
            }
        }
        from.transmit().advance(carried);
    }
    events
}

fuzz_target!(|input: Input| {
    let now = Instant::now();
    let mut dealer = Config::new(SocketType::Dealer);
    dealer.max_version = version(input.versions.0);
    dealer.routing_id = input.routing_id.into();
    if dealer.validate().is_err() {
        return;
    }
    let mut router = Config::new(SocketType::Router);
    router.max_version = version(input.versions.1);
    let mut dealer = Connection::new(Arc::new(dealer), now);
    let mut router = Connection::new(Arc::new(router), now);
    let step = usize::from(input.step) + 1;
    while !(dealer.is_ready() && router.is_ready()) {
        carry(&mut dealer, &mut router, step, now);
        carry(&mut router, &mut dealer, step, now);
    }
    carry(&mut router, &mut dealer, step, now);
    let mut messages: Vec<Message> = input
        .messages
        .into_iter()
        .filter(|parts| !parts.is_empty())
        .map(|parts| parts.into_iter().collect())
        .collect();
    messages.extend(
        input
            .large
            .into_iter()
            .take(3)
            .map(|len| Message::from(vec![7; len as usize % 400_000])),
    );
    for message in &messages {
        dealer.send(message);
    }
    let step = step.max(dealer.transmit().len() / 1000);
    let events = carry(&mut dealer, &mut router, step, now);
    let expected: Vec<Event> = messages.into_iter().map(Event::Message).collect();
    assert_eq!(events, expected);
});

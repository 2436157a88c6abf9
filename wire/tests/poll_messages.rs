//! Messages polled many at a time are those that are polled one by one, whatever the peer sends and wherever it is cut.

mod support;

use std::collections::VecDeque;
use std::time::Instant;

use flexbond_transport::Message;
use flexbond_wire::zmtp::{Connection, Event, ProtocolError, SocketType};
use proptest::prelude::*;
use support::{config, pair};

/// A frame as a peer may write it: any flags, any of the two forms, sizes around every limit.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![6 => Just(0_u8), 2 => Just(1), 1 => Just(4), 1 => any::<u8>()];
    let len = prop_oneof![
        8 => 0_usize..70,
        2 => 250_usize..260,
        1 => 4_090_usize..4_100,
        1 => 131_060_usize..131_080,
        1 => Just(200_000)
    ];
    (flags, any::<bool>(), len, any::<u8>()).prop_map(|(flags, long, len, fill)| {
        let mut frame = match u8::try_from(len) {
            Ok(short) if !long => vec![flags & !2, short],
            _ => [&[flags | 2][..], &(len as u64).to_be_bytes()].concat(),
        };
        // A command that is well formed, if it is one.
        let body = if flags & 4 != 0 { &b"\x04PONG"[..] } else { &[] };
        frame.extend(body.iter().copied().chain(std::iter::repeat(fill)).take(len));
        frame
    })
}

type Heard = (Vec<Event>, Option<ProtocolError>);

fn hear(
    connection: &mut Connection,
    now: Instant,
    bytes: &[u8],
    cuts: &[usize],
    mut poll: impl FnMut(&mut Connection, &mut Vec<Event>) -> Result<(), ProtocolError>,
) -> Heard {
    let mut events = Vec::new();
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let buffer = connection.read_buffer();
        let room = buffer.capacity() - buffer.len();
        let step = cuts.next().map_or(1, |&cut| cut).min(room).min(rest.len());
        buffer.extend_from_slice(&rest[..step]);
        rest = &rest[step..];
        connection.handle_read(now);
        if let Err(error) = poll(connection, &mut events) {
            return (events, Some(error));
        }
    }
    (events, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn many_at_a_time_are_the_same_as_one_by_one(
        frames in prop::collection::vec(frame(), 0..40),
        garbage in prop::collection::vec(any::<u8>(), 0..20),
        cuts in prop::collection::vec(prop_oneof![1_usize..20, 1_usize..100_000], 1..10),
        limit in 1_usize..20,
        kind in prop_oneof![Just(SocketType::Pull), Just(SocketType::Dealer), Just(SocketType::XPub), Just(SocketType::Sub)],
    ) {
        let now = Instant::now();
        let theirs = match kind {
            SocketType::Pull => SocketType::Push,
            SocketType::Dealer => SocketType::Router,
            SocketType::XPub => SocketType::Sub,
            _ => SocketType::Pub,
        };
        let bytes = [frames.concat(), garbage].concat();
        let fresh = || {
            let mut ours = config(kind);
            ours.max_message_size = 300_000;
            ours.max_frames = 5;
            pair(ours, config(theirs), now).0
        };
        let single = hear(&mut fresh(), now, &bytes, &cuts, |connection, events| {
            while let Some(event) = connection.poll_event(now)? {
                events.push(event);
            }
            Ok(())
        });
        let many = hear(&mut fresh(), now, &bytes, &cuts, |connection, events| {
            loop {
                let mut messages = VecDeque::<Message>::new();
                let polled = connection.poll_messages(now, &mut messages, limit);
                let full = messages.len() == limit;
                events.extend(messages.into_iter().map(Event::Message));
                match polled? {
                    Some(event) => events.push(event),
                    None if full => {}
                    None => return Ok(()),
                }
            }
        });
        prop_assert!(single == many, "{} events and {:?}, not {} and {:?}", single.0.len(), single.1, many.0.len(), many.1);
    }
}

#[test]
fn no_list_of_parts_becomes_longer_than_allowed() {
    let now = Instant::now();
    let (mut pull, _) = pair(config(SocketType::Pull), config(SocketType::Push), now);
    // A message of a thousand empty parts, and one of one.
    let bytes = [[1, 0].repeat(999), vec![0, 0], vec![0, 1, b'x']].concat();
    pull.read_buffer().extend_from_slice(&bytes);
    pull.handle_read(now);
    assert_eq!(pull.incomplete(), bytes.len());
    let mut messages = VecDeque::new();
    let mut rounds = 0;
    loop {
        let allowed = pull.incomplete() + 5000;
        pull.allow(allowed);
        assert_eq!(pull.poll_messages(now, &mut messages, 10), Ok(None));
        let made = pull.take_decoded();
        assert!(made + pull.incomplete() <= allowed + 100, "{made}");
        rounds += 1;
        if !pull.is_held() {
            break;
        }
    }
    assert!((10..20).contains(&rounds), "{rounds}");
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].len(), 1000);
    assert_eq!(messages[1], Message::from("x"));
    assert_eq!(pull.incomplete(), 0);
}

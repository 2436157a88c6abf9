//! A party that was let in and does not keep to the rules.

use super::super::packet::{Content, Data, Hello, Item, MAX_OFFSET};
use super::stage::{LOCAL, Stage, data, hello, pieces};
use super::*;

#[test]
fn a_flow_is_opened_once() {
    let mut stage = Stage::new(hello());
    assert!(stage.opens(0, "x"));
    for (flow, name) in [(0, "x"), (1, "x"), (0, "y")] {
        assert!(!stage.opens(flow, name), "{flow} {name}");
    }
    assert!(stage.opens(1, "y"));
}

#[test]
fn answers_that_nobody_acknowledges_are_bounded() {
    for is_resumed in [false, true] {
        let mut stage = Stage::new(hello());
        assert!(stage.opens(0, "x"));
        if is_resumed {
            stage.node.resume(0, &key("x"), 1).unwrap();
        }
        let taken = (0..10_000)
            .take_while(|offset| {
                let data = match is_resumed {
                    // What the program has already; its end is told again each time.
                    true => data(0, vec![0]),
                    false => Data {
                        expired: true,
                        ..data(*offset, Vec::new())
                    },
                };
                stage.takes(Item::Data(data), Vec::new())
            })
            .count();
        assert!(taken < 4200 && stage.queued() < 4200, "{taken} were taken");
    }
}

#[test]
fn offsets_that_nobody_counts_to_are_refused() {
    let mut stage = Stage::new(hello());
    stage.node.send(stage.now, 0, &key("x"), letter(1), None).unwrap();
    let opened = |next| Item::Opened {
        flow: 0,
        epoch: 1,
        next,
        held: Vec::new(),
    };
    assert!(!stage.takes(opened(u64::MAX), Vec::new()));
    assert!(!stage.takes(opened(MAX_OFFSET + 1), Vec::new()));
    assert!(stage.takes(opened(MAX_OFFSET), Vec::new()));
    for number in 0..2 {
        let sent = stage.node.send(stage.now, 0, &key("x"), letter(number), None);
        assert_eq!(sent, Ok(()));
    }
    assert!(stage.opens(0, "y"));
    let last = Item::Data(data(MAX_OFFSET, vec![1]));
    assert!(!stage.takes(last, vec![Bytes::from_static(b"x")]));
}

#[test]
fn memory_is_taken_for_what_has_come() {
    let mut stage = Stage::new(hello());
    assert!(stage.opens(0, "x"));
    let first = data(0, vec![1 << 29]);
    assert!(stage.takes(Item::Data(first), vec![Bytes::from_static(b"xyz")]));
    let room = stage.node.peers()[0].inn.get(&key("x")).unwrap().room();
    assert!(room < 1000, "{room} bytes for three");
    let rest = Data {
        at: 3,
        ..data(0, Vec::new())
    };
    assert!(stage.takes(Item::Data(rest), vec![Bytes::from(vec![0; 5000])]));
    let room = stage.node.peers()[0].inn.get(&key("x")).unwrap().room();
    assert!((5003..20_000).contains(&room), "{room} bytes for five thousand");
}

#[test]
fn what_servers_say_is_not_taken_from_parties() {
    let mut stage = Stage::new(hello());
    stage.sends("x", letter(1));
    assert!(stage.opened(0, 3, 0));
    for item in [
        Item::Seen { is_up: true },
        Item::Credit { total: 1 },
        Item::Rewind { flow: 0, offset: 0 },
        Item::Want { total: 1 },
    ] {
        assert!(!stage.takes(item, Vec::new()));
    }
    assert_eq!(stage.node.peers()[0].wrong, 4);
    assert!(stage.node.peers()[0].is_alive(stage.now));
    // What comes behind one is not lost.
    let seq = stage.node.peers()[0].link.ack();
    let items = vec![Item::Ready, Item::Want { total: 1 }, Item::Leave];
    stage.hear(Content::Items { seq, items });
    assert_eq!(stage.node.peers()[0].link.ack(), seq + 1);
    assert!(!stage.node.peers()[0].has_left);
}

#[test]
fn a_server_that_counts_wrong_does_no_harm() {
    let mut stage = Stage::new(Hello {
        credit: 0,
        custody: 10,
        ..hello()
    });
    stage.sends("x", letter("larger than that"));
    assert!(stage.opened(0, 3, 0));
    for is_up in [true, false, true, true] {
        assert!(stage.takes(Item::Seen { is_up }, Vec::new()));
    }
    assert!(!stage.takes(Item::Rewind { flow: 1, offset: 0 }, Vec::new()));
    for offset in [0, 1, MAX_OFFSET, u64::MAX] {
        assert!(stage.takes(Item::Rewind { flow: 0, offset }, Vec::new()));
    }
    for total in [500, 0, u64::MAX, 1, u64::MAX] {
        assert!(stage.takes(Item::Credit { total }, Vec::new()));
    }
    assert_eq!(pieces(&stage.items()), [(0, 0, 0)]);
    for _ in 0..1000 {
        assert!(stage.takes(Item::Rewind { flow: 0, offset: 0 }, Vec::new()));
    }
    assert_eq!(pieces(&stage.items()), [(0, 0, 0)]);
    // Another HELLO of the same process changes nothing.
    stage.hear(Content::Hello(hello()));
    assert!(stage.node.peers()[0].is_relayed());
}

#[test]
fn numberings_that_change_again_and_again_are_bounded() {
    for round in 0..20 {
        let mut stage = Stage::new(hello());
        for epoch in 0..round {
            let from = Some((epoch, MAX_OFFSET - 100));
            assert!(stage.takes(
                Item::Open {
                    flow: 0,
                    key: key("x"),
                    from
                },
                Vec::new()
            ));
            for offset in 0..4 {
                assert!(stage.brings(MAX_OFFSET - 100 + offset, "content"));
            }
            stage.restart(hello());
        }
        let flow = stage.node.peers()[0].inn.get(&key("x"));
        let held = flow.map_or((0, 0), Inflow::held);
        assert!(held.0 <= 8 && held.1 <= 100, "{held:?}");
    }
    let mut stage = Stage::new(hello());
    let from = Some((1, MAX_OFFSET + 1));
    assert!(!stage.takes(
        Item::Open {
            flow: 0,
            key: key("x"),
            from
        },
        Vec::new()
    ));
}

#[test]
fn the_last_offset_stops_nobody() {
    let mut stage = Stage::new(hello());
    assert!(stage.opens(0, "x"));
    assert!(stage.brings(MAX_OFFSET - 1, "last"));
    assert!(stage.receives("x").is_some());
    stage.restart(hello());
    let from = Some((LOCAL, MAX_OFFSET));
    assert!(stage.takes(
        Item::Open {
            flow: 0,
            key: key("x"),
            from
        },
        Vec::new()
    ));
    assert!(!stage.brings(MAX_OFFSET, "more than the last"));
    assert!(stage.opens(1, "y"));
}

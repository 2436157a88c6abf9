//! Messages that the program acknowledges itself.

use super::super::packet::{Data, Item};
use super::stage::{LOCAL, Stage, data, hello};
use super::*;

const EPOCH: Option<u64> = Some(LOCAL);

/// Offsets of messages that have had their ends, and whether these have expired.
fn settled(items: &[Item]) -> Vec<(u64, bool)> {
    let settled = items.iter().filter_map(|item| match item {
        Item::Settled { offset, expired, .. } => Some((*offset, *expired)),
        _ => None,
    });
    settled.collect()
}

/// The first messages of channel "x" from `b` are here.
fn stage(messages: &[&'static str]) -> Stage {
    let mut stage = Stage::new(hello());
    assert!(stage.opens(0, "x"));
    for (offset, content) in (0..).zip(messages) {
        assert!(stage.brings(offset, content));
    }
    stage.items();
    stage
}

fn lend(stage: &mut Stage) -> Option<(u64, Option<String>)> {
    let taken = stage.node.lend(0, &key("x"), None)?;
    Some((taken.offset, text(&taken)))
}

fn acknowledge(stage: &mut Stage, offset: u64) -> Vec<(u64, bool)> {
    stage.node.acknowledge(0, &key("x"), (EPOCH, offset));
    settled(&stage.items())
}

fn give_back(stage: &mut Stage, offset: u64) {
    stage.node.give_back(stage.now, 0, &key("x"), (EPOCH, offset));
}

#[test]
fn the_sender_keeps_what_is_not_acknowledged() {
    let mut stage = stage(&["one", "two", "three"]);
    assert_eq!(lend(&mut stage), Some((0, Some("one".to_owned()))));
    assert_eq!(lend(&mut stage), Some((1, Some("two".to_owned()))));
    assert_eq!(settled(&stage.items()), []);
    assert_eq!(acknowledge(&mut stage, 1), [(1, false)]);
    assert_eq!(acknowledge(&mut stage, 1), [], "once");
    assert_eq!(acknowledge(&mut stage, 2), [], "it was not lent");
    while stage.node.poll_event().is_some() {}
    give_back(&mut stage, 0);
    let key = key("x");
    assert_eq!(stage.node.poll_event(), Some(Event::Arrived { peer: 0, key }));
    assert_eq!(lend(&mut stage), Some((0, Some("one".to_owned()))), "again");
    assert_eq!(stage.receives("x"), Some("three".to_owned()));
    assert_eq!((lend(&mut stage), stage.receives("x")), (None, None));
    assert_eq!(settled(&stage.items()), [(2, false)]);
    // The window counts it.
    assert_eq!(
        stage.node.peers()[0].inn.get(&self::key("x")).unwrap().held().0,
        1
    );
    assert_eq!(acknowledge(&mut stage, 0), [(0, false)]);
}

#[test]
fn a_sender_that_comes_back_hears_what_is_not_acknowledged() {
    let mut stage = stage(&["one", "two"]);
    lend(&mut stage);
    stage.restart(hello());
    assert!(stage.takes(
        Item::Open {
            flow: 7,
            key: key("x"),
            from: Some((LOCAL, 0)),
        },
        Vec::new(),
    ));
    let items = stage.items();
    let opened = |item: &Item| matches!(item, Item::Opened { next: 2, held, .. } if *held == [0, 1]);
    assert!(items.iter().any(opened), "{items:?}");
    stage.node.acknowledge(0, &key("x"), (EPOCH, 0));
    let items = stage.items();
    let ended = |item: &Item| {
        matches!(
            item,
            Item::Settled {
                flow: 7,
                offset: 0,
                ..
            }
        )
    };
    assert!(items.iter().any(ended), "{items:?}");
}

#[test]
fn one_of_another_numbering_is_given_back_or_forgotten() {
    let mut stage = stage(&["one", "two"]);
    lend(&mut stage);
    lend(&mut stage);
    stage.restart(hello());
    assert!(stage.takes(
        Item::Open {
            flow: 0,
            key: key("x"),
            from: Some((99, 5)),
        },
        Vec::new(),
    ));
    stage.items();
    assert_eq!(acknowledge(&mut stage, 0), [], "nobody waits for it");
    assert_eq!(lend(&mut stage), None);
    give_back(&mut stage, 1);
    assert_eq!(lend(&mut stage), Some((1, Some("two".to_owned()))));
    assert_eq!(stage.node.peers()[0].inn.get(&key("x")).unwrap().held().0, 1);
}

#[test]
fn what_the_program_holds_does_not_expire() {
    let mut stage = stage(&[]);
    for offset in 0..2 {
        let data = Data {
            ttl: Some(1000),
            ..data(offset, vec![3])
        };
        assert!(stage.takes(Item::Data(data), vec![Bytes::from_static(b"abc")]));
    }
    lend(&mut stage);
    stage.wait(1000);
    assert_eq!(settled(&stage.items()), [(1, true)]);
    stage.wait(10);
    assert_eq!(acknowledge(&mut stage, 1), [], "only a mark is left of it");
    give_back(&mut stage, 0);
    stage.wait(0);
    assert_eq!(settled(&stage.items()), [(0, true)], "its time is over");
    assert_eq!(lend(&mut stage), Some((0, None)));
    assert_eq!(lend(&mut stage), Some((1, None)));
    assert_eq!(lend(&mut stage), None);
}

#[test]
fn what_was_skipped_or_aborted_needs_no_acknowledgement() {
    let mut stage = stage(&["one", "two"]);
    lend(&mut stage);
    stage.node.resume(0, &key("x"), 1).unwrap();
    assert_eq!(settled(&stage.items()), [(0, false)]);
    assert_eq!(acknowledge(&mut stage, 0), []);
    lend(&mut stage);
    stage.node.abort(party(0), "enough".to_owned());
    stage.items();
    assert_eq!(acknowledge(&mut stage, 1), []);
    give_back(&mut stage, 1);
    assert_eq!(lend(&mut stage), None);
}

//! Which numbering a channel has, when either side has forgotten it.

use super::super::packet::Item;
use super::stage::{LOCAL, Stage, hello, pieces};
use super::*;

fn open(from: Option<(u64, u64)>) -> Item {
    let (flow, key) = (0, key("x"));
    Item::Open { flow, key, from }
}

/// The answer to an opening.
fn answer(items: &[Item]) -> Option<(u64, u64, Vec<u64>)> {
    items.iter().find_map(|item| match item {
        Item::Opened {
            epoch, next, held, ..
        } => Some((*epoch, *next, held.clone())),
        _ => None,
    })
}

fn opening(items: &[Item]) -> Option<Option<(u64, u64)>> {
    items.iter().find_map(|item| match item {
        Item::Open { from, .. } => Some(*from),
        _ => None,
    })
}

fn settled(items: &[Item]) -> Vec<u64> {
    let settled = items.iter().filter_map(|item| match item {
        Item::Settled { offset, .. } => Some(*offset),
        _ => None,
    });
    settled.collect()
}

#[test]
fn where_nobody_has_one_the_receiver_draws_it() {
    let mut stage = Stage::new(hello());
    assert!(stage.takes(open(None), Vec::new()));
    assert_eq!(answer(&stage.items()), Some((LOCAL, 0, vec![])));
    assert!(stage.brings(0, "zero") && stage.brings(1, "one"));
    assert_eq!(stage.receives("x").as_deref(), Some("zero"));
    // A sender that is new goes on where the receiver is.
    stage.restart(hello());
    assert!(stage.takes(open(None), Vec::new()));
    assert_eq!(answer(&stage.items()), Some((LOCAL, 2, vec![1])));
}

#[test]
fn a_receiver_that_is_new_takes_the_senders() {
    let mut stage = Stage::new(hello());
    assert!(stage.takes(open(Some((33, 5))), Vec::new()));
    assert_eq!(answer(&stage.items()), Some((33, 5, vec![])));
    assert!(stage.brings(5, "five"));
    // The same one again.
    stage.restart(hello());
    assert!(stage.takes(open(Some((33, 5))), Vec::new()));
    assert_eq!(answer(&stage.items()), Some((33, 6, vec![5])));
    assert_eq!(stage.receives("x").as_deref(), Some("five"));
    assert_eq!(settled(&stage.items()), [5]);
}

#[test]
fn what_a_program_has_already_does_not_come_again() {
    let mut stage = Stage::new(hello());
    stage.node.resume(0, &key("x"), 7).unwrap();
    assert!(stage.takes(open(Some((33, 5))), Vec::new()));
    assert_eq!(answer(&stage.items()), Some((33, 7, vec![])));
    assert!(stage.brings(6, "six"));
    assert_eq!(stage.receives("x"), None);
    assert_eq!(settled(&stage.items()), [6]);
}

#[test]
fn what_is_of_an_old_numbering_is_received_and_settles_nothing() {
    let mut stage = Stage::new(hello());
    assert!(stage.takes(open(Some((33, 5))), Vec::new()));
    assert!(stage.brings(5, "old") && stage.brings(6, "older"));
    stage.restart(hello());
    assert!(stage.takes(open(Some((34, 0))), Vec::new()));
    assert_eq!(answer(&stage.items()), Some((34, 0, vec![])));
    assert!(stage.brings(0, "new") && stage.brings(1, "newer"));
    let got: Vec<_> = std::iter::from_fn(|| stage.receives("x")).collect();
    assert_eq!(got, ["old", "older", "new", "newer"]);
    assert_eq!(settled(&stage.items()), [0, 1]);
}

#[test]
fn a_sender_keeps_its_numbering() {
    let mut stage = Stage::new(hello());
    for text in ["zero", "one", "two"] {
        stage.sends("x", letter(text));
    }
    assert_eq!(opening(&stage.items()), Some(None));
    assert!(stage.opened(0, 33, 10));
    assert_eq!(stage.items().len(), 3);
    let (flow, expired) = (0, false);
    let offset = 10;
    assert!(stage.takes(
        Item::Settled {
            flow,
            offset,
            expired
        },
        Vec::new()
    ));
    stage.restart(hello());
    assert_eq!(opening(&stage.items()), Some(Some((33, 11))));
    assert!(
        !stage.opened(0, 34, 0),
        "a receiver takes the numbering that it is told"
    );
    assert!(stage.opened(0, 33, 12));
    assert_eq!(pieces(&stage.items()), [(0, 12, 0)]);
    assert_eq!(stage.node.open(0, &key("x")), Ok(Some(13)));
}

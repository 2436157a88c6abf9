//! A party whose packets go to a message server, which the test plays.

use super::super::packet::{Content, Hello, Item};
use super::stage::{Stage, hello, pieces};
use super::*;

/// What a letter of so many bytes in one part and one piece costs.
fn cost(bytes: u64) -> u64 {
    128 + 8 + bytes
}

fn sized(len: usize) -> Letter {
    letter("x".repeat(len))
}

/// Channels 0 and 1, "x" and "y", are open.
fn stage(credit: u64, custody: u64) -> Stage {
    let mut stage = Stage::new(Hello {
        credit,
        custody,
        window_bytes: 64 << 20,
        ..hello()
    });
    for (flow, name) in ["x", "y"].into_iter().enumerate() {
        stage.node.open(0, &key(name)).unwrap();
        assert_eq!(stage.items().len(), 1);
        assert!(stage.opened(flow as u32, 3, 0));
    }
    stage
}

fn wanted(items: &[Item]) -> Vec<u64> {
    let wanted = items.iter().filter_map(|item| match item {
        Item::Want { total } => Some(*total),
        _ => None,
    });
    wanted.collect()
}

fn seen(stage: &mut Stage, is_up: bool) {
    assert!(stage.takes(Item::Seen { is_up }, Vec::new()));
}

fn credited(stage: &mut Stage, total: u64) -> Vec<Item> {
    assert!(stage.takes(Item::Credit { total }, Vec::new()));
    stage.items()
}

fn settle(stage: &mut Stage, flow: u32, offset: u64) {
    let expired = false;
    assert!(stage.takes(
        Item::Settled {
            flow,
            offset,
            expired
        },
        Vec::new()
    ));
}

#[test]
fn nothing_is_sent_beyond_the_credit() {
    let mut stage = stage(cost(100) + cost(200), u64::MAX);
    for len in [100, 200, 300] {
        stage.sends("x", sized(len));
    }
    let items = stage.items();
    assert_eq!(pieces(&items), [(0, 0, 0), (0, 1, 0)]);
    let total = cost(100) + cost(200) + cost(300);
    assert_eq!(wanted(&items), [total]);
    assert!(stage.node.peers()[0].is_short());
    assert_eq!(credited(&mut stage, total - 1), [], "it has asked once");
    let items = credited(&mut stage, total);
    assert_eq!(pieces(&items), [(0, 2, 0)]);
    assert!(!stage.node.peers()[0].is_short());
    // A new session has an account of its own.
    stage.restart(Hello {
        credit: cost(100),
        ..hello()
    });
    stage.items();
    assert!(stage.opened(0, 3, 0));
    let items = stage.items();
    assert_eq!(pieces(&items), [(0, 0, 0)]);
    assert_eq!(wanted(&items), [cost(100) + cost(200)]);
}

#[test]
fn a_message_of_several_pieces_begins_when_there_is_room_for_all() {
    let mut stage = stage(2000, u64::MAX);
    stage.sends("x", sized(2500));
    let items = stage.items();
    let whole = 2500 + 3 * 128 + 8;
    assert_eq!((pieces(&items), wanted(&items)), (vec![], vec![2000 + whole]));
    // Small ones pass it, but do not take what it waits for.
    for _ in 0..3 {
        stage.sends("y", sized(700));
    }
    let items = stage.items();
    assert_eq!(
        (pieces(&items), wanted(&items)),
        (vec![(1, 0, 0), (1, 1, 0)], vec![])
    );
    let total = 2 * cost(700) + whole;
    assert_eq!(credited(&mut stage, total - 1), []);
    let items = credited(&mut stage, total);
    assert_eq!(pieces(&items), [(0, 0, 0), (0, 0, 1000), (0, 0, 2000)]);
    assert_eq!(wanted(&items), [total + cost(700)]);
    let items = credited(&mut stage, total + cost(700));
    assert_eq!(pieces(&items), [(1, 2, 0)]);
}

#[test]
fn what_is_not_sent_to_its_end_gives_its_credit_back() {
    let whole = |pieces: u64| pieces * 1128 + 8;
    let mut stage = stage(whole(5000) + 1000, u64::MAX);
    stage.sends("x", sized(5_000_000));
    assert_eq!(pieces(&stage.items()).len(), 4096, "the link takes no more");
    stage.sends("y", sized(900_000));
    settle(&mut stage, 0, 0);
    let items = stage.items();
    assert_eq!((pieces(&items).len(), wanted(&items)), (900, vec![]));
    stage.sends("y", sized(900_000));
    assert_eq!(wanted(&stage.items()).len(), 1, "what was sent is spent");
}

#[test]
fn too_large_for_custody_is_sent_while_the_receiver_is_there() {
    let mut stage = stage(2000, 500);
    stage.sends("x", sized(2500));
    stage.sends("x", sized(1));
    stage.sends("y", sized(2));
    assert_eq!(pieces(&stage.items()), [(1, 0, 0)]);
    seen(&mut stage, true);
    // Piece by piece: the server need not have room for all of it.
    let items = stage.items();
    assert_eq!(pieces(&items), [(0, 0, 0)]);
    let first = cost(2) + cost(1000);
    assert_eq!(wanted(&items), [2000 + 1128]);
    seen(&mut stage, false);
    assert_eq!(credited(&mut stage, 10_000), []);
    stage.sends("y", sized(3));
    assert_eq!(pieces(&stage.items()), [(1, 1, 0)]);
    seen(&mut stage, true);
    let items = stage.items();
    assert_eq!(pieces(&items), [(0, 0, 1000), (0, 0, 2000), (0, 1, 0)]);
    assert!(first < 2000 && wanted(&items).is_empty());
}

#[test]
fn what_is_wanted_again_goes_first() {
    let mut stage = stage(100_000, 500);
    seen(&mut stage, true);
    for len in [1500, 100, 1500] {
        stage.sends("x", sized(len));
    }
    stage.sends("y", sized(100));
    assert_eq!(pieces(&stage.items()).len(), 6);
    stage.sends("y", sized(100));
    let (flow, offset) = (0, 2);
    assert!(stage.takes(Item::Rewind { flow, offset }, Vec::new()));
    assert!(stage.takes(Item::Rewind { flow, offset: 0 }, Vec::new()));
    assert!(
        stage.takes(Item::Rewind { flow, offset: 9 }, Vec::new()),
        "there is none"
    );
    assert_eq!(
        pieces(&stage.items()),
        [(0, 0, 0), (0, 0, 1000), (0, 2, 0), (0, 2, 1000), (1, 1, 0)]
    );
    // What has its end need not come again, and what is away cannot be given.
    assert!(stage.takes(Item::Rewind { flow, offset: 0 }, Vec::new()));
    assert!(stage.takes(Item::Rewind { flow, offset: 2 }, Vec::new()));
    settle(&mut stage, 0, 0);
    seen(&mut stage, false);
    stage.sends("y", sized(100));
    assert_eq!(pieces(&stage.items()), [(1, 2, 0)]);
    seen(&mut stage, true);
    assert_eq!(pieces(&stage.items()), [(0, 2, 0), (0, 2, 1000)]);
    assert_eq!(stage.items(), []);
}

#[test]
fn what_is_wanted_again_gets_credit_before_others() {
    let mut stage = stage(1136 + 628, 500);
    seen(&mut stage, true);
    stage.sends("x", sized(1500));
    assert_eq!(pieces(&stage.items()), [(0, 0, 0), (0, 0, 1000)]);
    stage.sends("y", sized(400));
    let total = 1136 + 628;
    assert_eq!(wanted(&stage.items()), [total + cost(400)]);
    assert!(stage.takes(Item::Rewind { flow: 0, offset: 0 }, Vec::new()));
    assert_eq!(wanted(&stage.items()), [total + 1136], "the last one counts");
    let items = credited(&mut stage, total + 1136);
    assert_eq!(
        (pieces(&items), wanted(&items)),
        (vec![(0, 0, 0)], vec![total + 1136 + 628])
    );
    let items = credited(&mut stage, total + 1136 + 628);
    assert_eq!(pieces(&items), [(0, 0, 1000)]);
    assert_eq!(wanted(&items), [total + total + cost(400)]);
}

#[test]
fn a_server_is_not_the_party_for_which_it_stands() {
    let mut stage = stage(100_000, u64::MAX);
    let (is_alive, was_up) = {
        let peer = &stage.node.peers()[0];
        (peer.is_alive(stage.now), peer.was_up)
    };
    assert_eq!((is_alive, was_up), (false, false));
    assert!(!stage.items().contains(&Item::Ready));
    seen(&mut stage, true);
    assert!(stage.node.peers()[0].is_alive(stage.now));
    assert!(stage.items().contains(&Item::Ready));
    assert!(!stage.node.is_ready());
    assert!(stage.takes(Item::Ready, Vec::new()));
    assert!(stage.node.is_ready());
    assert!(stage.takes(Item::Leave, Vec::new()));
    seen(&mut stage, false);
    assert!(stage.node.peers()[0].has_left && !stage.node.peers()[0].is_alive(stage.now));
    // Its next start.
    seen(&mut stage, true);
    assert!(!stage.node.peers()[0].has_left);
    stage.restart(Hello { credit: 0, ..hello() });
    assert!(
        !stage.node.peers()[0].is_alive(stage.now),
        "a new server has to say so, too"
    );
}

#[test]
fn who_leaves_waits_for_what_a_server_does_not_keep() {
    let mut stage = stage(100_000, 500);
    seen(&mut stage, true);
    stage.sends("x", sized(100));
    stage.sends("y", sized(501));
    stage.node.leave();
    let items = stage.items();
    assert_eq!(pieces(&items).len(), 2);
    assert!(!items.contains(&Item::Leave), "the large one may be wanted again");
    assert!(stage.takes(Item::Rewind { flow: 1, offset: 0 }, Vec::new()));
    assert_eq!(pieces(&stage.items()), [(1, 0, 0)]);
    settle(&mut stage, 1, 0);
    assert!(!stage.node.is_done());
    assert!(stage.items().contains(&Item::Leave));
    stage.hear(Content::Ack { gap: false });
    assert!(stage.node.is_done(), "the server has the other one");
}

#[test]
fn pieces_are_no_larger_than_what_a_server_keeps() {
    let now = Instant::now();
    let mut net = Net::new(2, 1, &limits());
    net.setups[0].piece = 1 << 20;
    let node = net.make(0);
    let mut stage = Stage::with(
        node,
        net.incarnations,
        now,
        Hello {
            credit: 1 << 30,
            custody: 3000,
            window_bytes: 1 << 20,
            ..hello()
        },
    );
    stage.sends("x", sized(7000));
    stage.sends("x", sized(3000));
    stage.items();
    assert!(stage.opened(0, 3, 0));
    seen(&mut stage, true);
    let pieces = pieces(&stage.items());
    assert_eq!(pieces, [(0, 0, 0), (0, 0, 3000), (0, 0, 6000), (0, 1, 0)]);
}

#[test]
fn who_leaves_a_server_that_is_gone_waits_if_others_need_to_hear_something() {
    /// What is still to be said, and to how little that comes.
    fn ends(stage: &mut Stage) -> (bool, bool) {
        stage.node.leave();
        stage.items();
        stage.node.handle_lost(0);
        assert!(!stage.node.is_done(), "nothing is acknowledged");
        (
            stage.node.is_done_but_for_farewells(),
            stage.node.is_handed_over(),
        )
    }
    /// `a` has sent something that `b` has received, and all that was said has come over.
    fn settled() -> Stage {
        let mut stage = stage(100_000, u64::MAX);
        stage.sends("x", sized(10));
        stage.items();
        settle(&mut stage, 0, 0);
        assert!(stage.opens(0, "z") && stage.brings(0, "hello"));
        stage.items();
        stage.hear(Content::Ack { gap: false });
        assert_eq!(stage.queued(), 0);
        stage
    }
    assert_eq!(ends(&mut settled()), (true, true), "that it leaves");
    let mut stage = settled();
    stage.sends("x", sized(10));
    assert_eq!(ends(&mut stage), (false, false), "nobody has received it");
    let mut stage = settled();
    assert_eq!(stage.receives("z").as_deref(), Some("hello"));
    assert_eq!(ends(&mut stage), (false, false), "it would come again");
    let mut stage = settled();
    stage.node.abort(party(0), "enough".to_owned());
    assert_eq!(ends(&mut stage), (false, false), "others would go on");
    let mut stage = settled();
    seen(&mut stage, true);
    assert_eq!(
        ends(&mut stage),
        (false, false),
        "others may wait for it at the start"
    );
    // What the server has said itself it need not be told.
    let mut stage = settled();
    let (by, reason) = (party(1), "enough".to_owned());
    assert!(stage.takes(Item::Abort { by, reason }, Vec::new()));
    assert_eq!(ends(&mut stage), (true, true));
}

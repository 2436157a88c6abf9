//! Messages that are too large to be kept whole.

use super::*;

const WINDOW: u64 = 64 << 10;
const SIZE: usize = 1 << 20;

fn plan(homes: &[usize]) -> Plan {
    Plan {
        homes: homes.to_vec(),
        relay_limits: RelayLimits {
            memory_bytes: 1 << 20,
            window_bytes: WINDOW,
            ..relay_limits()
        },
        ..Plan::default()
    }
}

#[test]
fn pieces_that_are_larger_than_the_window_do_not_stop_a_pair() {
    for is_durable in [false, true] {
        let plan = Plan {
            is_durable,
            ..plan(&[0, 0])
        };
        assert_eq!(plan.relay_limits.validate(), Ok(()));
        let mut net = Net::new(1, plan);
        net.setups[0].piece = u64::from(Limits::default().piece);
        net.restart(0);
        net.run(Duration::from_secs(2));
        net.send(0, 1, "x", large(200_000, 1)).unwrap();
        net.send(0, 1, "y", letter("small")).unwrap();
        assert_eq!(receive(&mut net), large(200_000, 1));
        assert!(net.take(1, 0, "y", None).is_some());
        net.run(Duration::from_secs(5));
        net.assert_empty(0);
    }
}

fn receive(net: &mut Net) -> Letter {
    let mut taken = None;
    net.until(5, |net| {
        taken = net.take(1, 0, "x", None);
        taken.is_some()
    });
    taken.unwrap().letter.expect("it has not expired")
}

#[test]
fn a_large_message_goes_through_a_small_window() {
    for homes in [&[0, 0], &[0, 1]] {
        let mut net = Net::new(1, plan(homes));
        (net.loss, net.jitter) = (10, 3);
        net.send(0, 1, "x", large(SIZE, 1)).unwrap();
        net.send(0, 1, "x", large(SIZE, 2)).unwrap();
        net.send(0, 1, "y", letter("quick")).unwrap();
        let mut quick = None;
        net.until(5, |net| {
            quick = quick.take().or_else(|| net.take(1, 0, "y", None));
            quick.is_some()
        });
        assert_eq!(net.take(1, 0, "x", None), None, "it is far from whole");
        assert_eq!(receive(&mut net), large(SIZE, 1));
        assert_eq!(receive(&mut net), large(SIZE, 2));
        net.run(Duration::from_secs(5));
        for server in &net.servers {
            assert!(server.peak <= WINDOW, "{} bytes were kept", server.peak);
        }
        net.assert_empty(0);
        assert!(!net.nodes.iter().flatten().any(|node| node.check(None).is_err()));
    }
}

#[test]
fn a_large_message_waits_at_its_sender_until_its_receiver_is_there() {
    let mut net = Net::new(1, plan(&[0, 0]));
    net.stop(1);
    net.send(0, 1, "x", large(SIZE, 1)).unwrap();
    net.send(0, 1, "y", letter("kept")).unwrap();
    net.run(Duration::from_secs(10));
    assert!(net.servers[0].peak < 1000, "the small one only");
    // It is not done before the large one is received.
    net.node(0).leave();
    net.run(Duration::from_secs(10));
    assert!(!net.node(0).is_done());
    net.start(1);
    assert_eq!(receive(&mut net), large(SIZE, 1));
    net.until(1, |net| net.node(0).is_done());
}

#[test]
fn its_receiver_starts_again_in_the_middle() {
    with_seeds(5, |seed| {
        for homes in [&[0, 0], &[0, 1]] {
            let mut net = Net::new(seed, plan(homes));
            (net.loss, net.jitter) = (10, 3);
            net.send(0, 1, "x", letter("before")).unwrap();
            net.send(0, 1, "x", large(SIZE, 1)).unwrap();
            net.send(0, 1, "x", letter("after")).unwrap();
            let mut before = None;
            net.until(1, |net| {
                before = before.take().or_else(|| net.take(1, 0, "x", None));
                before.is_some()
            });
            for _ in 0..3 {
                let some = net.random.u64(20..400);
                net.run(Duration::from_millis(some));
                net.restart(1);
                net.resume(1, 0, "x", 1);
            }
            assert_eq!(receive(&mut net), large(SIZE, 1));
            assert_eq!(receive(&mut net), letter("after"));
            for server in &net.servers {
                assert!(server.peak <= WINDOW, "{} bytes were kept", server.peak);
            }
        }
    });
}

#[test]
fn the_server_starts_again_in_the_middle() {
    with_seeds(5, |seed| {
        let mut net = Net::new(seed, plan(&[0, 1]));
        (net.loss, net.jitter) = (10, 3);
        net.send(0, 1, "x", large(SIZE, 1)).unwrap();
        net.send(0, 1, "x", letter("after")).unwrap();
        for server in [0, 1, 0] {
            let some = net.random.u64(20..400);
            net.run(Duration::from_millis(some));
            net.restart_server(server);
        }
        assert_eq!(receive(&mut net), large(SIZE, 1));
        assert_eq!(receive(&mut net), letter("after"));
    });
}

#[test]
fn when_its_sender_starts_again_the_next_message_is_another() {
    let mut net = Net::new(1, plan(&[0, 0]));
    net.send(0, 1, "x", letter("before")).unwrap();
    net.send(0, 1, "x", large(SIZE, 1)).unwrap();
    net.run(Duration::from_millis(150));
    net.restart(0);
    assert_eq!(net.position(0, 1, "x"), None);
    net.run(Duration::from_secs(1));
    assert_eq!(net.position(0, 1, "x"), Some(1), "the large one was not taken");
    net.send(0, 1, "x", large(SIZE / 2, 2)).unwrap();
    assert_eq!(receive(&mut net), letter("before"));
    assert_eq!(receive(&mut net), large(SIZE / 2, 2));
    net.run(Duration::from_secs(5));
    net.assert_empty(0);
}

#[test]
fn one_that_nobody_can_send_again_is_told_of() {
    let mut net = Net::new(1, plan(&[0, 0]));
    net.send(0, 1, "x", large(SIZE, 1)).unwrap();
    net.send(0, 1, "x", letter("after")).unwrap();
    // All of it is with the receiver, whose program has not had it.
    let key = key("x");
    net.until(5, |net| {
        net.nodes[1].as_ref().unwrap().peers()[0]
            .inn
            .get(&key)
            .is_some_and(|flow| flow.held().0 == 2)
    });
    net.stop(0);
    net.restart(1);
    net.run(Duration::from_secs(5));
    assert_eq!(net.take(1, 0, "x", None), None, "its sender may come back");
    net.start(0);
    net.position(0, 1, "x");
    net.run(Duration::from_secs(5));
    let tomb = net.take(1, 0, "x", None).unwrap();
    assert_eq!((tomb.offset, tomb.letter), (0, None));
    assert_eq!(receive(&mut net), letter("after"));
}

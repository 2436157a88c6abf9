//! Channels that nobody receives from, beside others.

use super::*;

fn plan(homes: &[usize], is_durable: bool) -> Plan {
    Plan {
        homes: homes.to_vec(),
        is_durable,
        relay_limits: RelayLimits {
            memory_bytes: 8 << 20,
            store_bytes: 1 << 20,
            party_bytes: Some(1 << 20),
            job_bytes: Some(1 << 20),
            window_bytes: 256 << 10,
            ..relay_limits()
        },
        ..Plan::default()
    }
}

fn all(test: impl Fn(Plan)) {
    for homes in [&[0, 0], &[0, 1]] {
        for is_durable in [false, true] {
            test(plan(homes, is_durable));
        }
    }
}

/// What comes on a channel.
fn receive(net: &mut Net, name: &str) -> Letter {
    let mut taken = None;
    net.until(1, |net| {
        taken = net.take(1, 0, name, None);
        taken.is_some()
    });
    taken.unwrap().letter.expect("it has not expired")
}

#[test]
fn one_that_nobody_receives_from_stops_no_other() {
    all(|plan| {
        let mut net = Net::new(1, plan);
        for _ in 0..1000 {
            net.send(0, 1, "a", large(10_000, 1)).unwrap();
        }
        net.run(Duration::from_secs(5));
        // All sizes that are kept whole, one behind the other.
        for size in [1, 1000, 100_000, 90_000, 50_000] {
            net.send(0, 1, "b", large(size, 2)).unwrap();
        }
        for size in [1, 1000, 100_000, 90_000, 50_000] {
            assert_eq!(receive(&mut net, "b"), large(size, 2));
        }
        for _ in 0..1000 {
            assert_eq!(receive(&mut net, "a"), large(10_000, 1));
        }
        net.run(Duration::from_secs(5));
        net.assert_empty(0);
    });
}

#[test]
fn many_that_nobody_receives_from_leave_room_for_one_more() {
    all(|plan| {
        let mut net = Net::new(1, plan);
        let names = ["a", "b", "c", "d", "e"];
        for name in names {
            for _ in 0..1000 {
                net.send(0, 1, name, large(500, 1)).unwrap();
            }
            net.run(Duration::from_secs(1));
        }
        net.send(0, 1, "z", large(10_000, 2)).unwrap();
        assert_eq!(receive(&mut net, "z"), large(10_000, 2));
        // Those that have had too little go on when others are received.
        for name in names {
            for _ in 0..1000 {
                assert_eq!(receive(&mut net, name), large(500, 1));
            }
        }
    });
}

#[test]
fn a_new_sender_counts_what_is_left_of_the_one_before() {
    for is_durable in [false, true] {
        let mut net = Net::new(1, plan(&[0, 0], is_durable));
        net.stop(1);
        for name in ["a", "b"] {
            for _ in 0..1000 {
                net.send(0, 1, name, large(1000, 1)).unwrap();
            }
            net.run(Duration::from_secs(1));
            net.restart(0);
        }
        net.start(1);
        for _ in 0..1000 {
            net.send(0, 1, "c", large(1000, 1)).unwrap();
        }
        net.run(Duration::from_secs(1));
        net.send(0, 1, "z", large(10_000, 2)).unwrap();
        assert_eq!(receive(&mut net, "z"), large(10_000, 2));
    }
}

#[test]
fn it_is_so_when_the_server_starts_again() {
    for is_durable in [false, true] {
        let mut net = Net::new(1, plan(&[0, 0], is_durable));
        for _ in 0..1000 {
            net.send(0, 1, "a", large(1000, 1)).unwrap();
        }
        for number in 0..5 {
            net.run(Duration::from_secs(1));
            net.restart_server(0);
            net.send(0, 1, "z", large(50_000, number)).unwrap();
            assert_eq!(receive(&mut net, "z"), large(50_000, number));
        }
        for _ in 0..1000 {
            assert_eq!(receive(&mut net, "a"), large(1000, 1));
        }
    }
}

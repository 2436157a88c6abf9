//! Messages that wait at a server: for their receiver, for room, and too long.

use super::*;

fn durable() -> Plan {
    Plan {
        is_durable: true,
        ..Plan::default()
    }
}

fn all(net: &mut Net) -> Vec<String> {
    let taken = std::iter::from_fn(|| net.take(1, 0, "x", None));
    taken.filter_map(|taken| text(&taken)).collect()
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn a_receiver_comes_an_hour_after_its_sender_has_left() {
    for plan in [Plan::default(), durable()] {
        let is_durable = plan.is_durable;
        let mut net = Net::new(1, plan);
        net.stop(1);
        for number in 0..300 {
            net.send(0, 1, "x", letter(number)).unwrap();
        }
        net.node(0).leave();
        net.until(1, |net| net.node(0).is_done());
        net.stop(0);
        net.run(Duration::from_secs(1800));
        if is_durable {
            net.restart_server(0);
        }
        net.run(Duration::from_secs(1800));
        net.start(1);
        net.until(1, |net| net.node(1).peers()[0].has_left);
        assert_eq!(all(&mut net), numbers(300));
        net.run(Duration::from_secs(1));
        net.assert_empty(0);
    }
}

#[test]
fn a_store_keeps_nothing_in_memory_for_who_is_away() {
    let mut net = Net::new(1, durable());
    net.run(Duration::from_secs(1));
    net.stop(1);
    for number in 0..100 {
        net.send(0, 1, "x", letter(number)).unwrap();
    }
    net.run(Duration::from_secs(2));
    assert_eq!(net.stats(0).memory_bytes, 0);
    assert_eq!(net.servers[0].store.as_ref().unwrap().kept(), 200);
    net.start(1);
    net.run(Duration::from_secs(2));
    assert_eq!(all(&mut net), numbers(100));
    net.run(Duration::from_secs(1));
    net.assert_empty(0);
}

#[test]
fn who_leaves_is_known_in_either_order() {
    for plan in [Plan::default(), durable()] {
        for first in [0, 1] {
            let mut net = Net::new(
                1,
                Plan {
                    homes: vec![0, 0],
                    relay_limits: plan.relay_limits.clone(),
                    ..Plan {
                        is_durable: plan.is_durable,
                        ..Plan::default()
                    }
                },
            );
            net.run(Duration::from_secs(1));
            net.send(0, 1, "x", letter("from a")).unwrap();
            net.send(1, 0, "x", letter("from b")).unwrap();
            let second = 1 - first;
            net.node(first).leave();
            net.until(1, |net| net.node(first).is_done());
            net.stop(first);
            net.run(Duration::from_secs(5));
            assert!(net.node(second).peers()[0].has_left);
            let taken = net.take(second, first, "x", None).unwrap();
            assert!(text(&taken).unwrap().starts_with("from"));
            net.node(second).leave();
            net.until(1, |net| net.node(second).is_done());
            net.stop(second);
            // Who comes back is there again, and has what was sent to it meanwhile.
            net.start(first);
            net.run(Duration::from_secs(2));
            assert!(net.take(first, second, "x", None).is_some());
            assert!(net.node(first).peers()[0].has_left);
            net.start(second);
            net.run(Duration::from_secs(2));
            assert!(!net.node(first).peers()[0].has_left);
            assert!(!net.node(second).peers()[0].has_left);
        }
    }
}

#[test]
fn presence_is_that_of_the_party_and_not_of_the_server() {
    let mut net = Net::new(1, Plan::default());
    net.stop(1);
    net.run(Duration::from_secs(5));
    let is_alive = |net: &mut Net| {
        let now = net.now;
        net.node(0).peers()[0].is_alive(now)
    };
    assert!(!is_alive(&mut net) && !net.node(0).is_ready());
    net.start(1);
    net.run(Duration::from_secs(1));
    assert!(is_alive(&mut net) && net.node(0).is_ready());
    net.stop(1);
    net.run(Duration::from_millis(100));
    assert!(!is_alive(&mut net));
    // One that only falls silent is missed in time.
    net.start(1);
    net.run(Duration::from_secs(1));
    assert!(is_alive(&mut net));
    net.nodes[1] = None;
    net.run(Duration::from_secs(2));
    assert!(!is_alive(&mut net));
    let lost = net.servers[0].events.iter();
    assert_eq!(
        lost.filter(|event| matches!(event, RelayEvent::Lost { .. }))
            .count(),
        2
    );
}

#[test]
fn what_waits_too_long_is_dropped_and_both_are_told() {
    for plan in [Plan::default(), durable()] {
        let mut net = Net::new(
            1,
            Plan {
                limits: Limits {
                    ttl: Some(Duration::from_secs(2)),
                    window_messages: 3,
                    ..limits()
                },
                ..plan
            },
        );
        net.run(Duration::from_secs(1));
        net.stop(1);
        for round in 0..5 {
            net.send(0, 1, "x", letter(round)).unwrap();
            net.send(0, 1, "x", large(5000, 1)).unwrap();
            net.run(Duration::from_secs(3));
        }
        let flow = net.nodes[0].as_ref().unwrap().peers()[0]
            .out
            .get(&key("x"))
            .unwrap();
        assert_eq!((flow.waiting(), flow.expired), ((0, 0), 10));
        let stats = net.stats(0);
        assert_eq!((stats.memory_bytes, stats.held_bytes), (0, 10 * 128), "ten marks");
        net.send(0, 1, "x", letter("in time")).unwrap();
        net.run(Duration::from_secs(1));
        net.start(1);
        let mut taken = Vec::new();
        net.until(1, |net| {
            taken.extend(net.take(1, 0, "x", None));
            taken.last().is_some_and(|taken: &Taken| taken.letter.is_some())
        });
        assert_eq!(taken.last().and_then(text).as_deref(), Some("in time"));
        assert!(taken.len() > 3 && taken.last().unwrap().offset == 10, "{taken:?}");
        net.run(Duration::from_secs(1));
        net.assert_empty(0);
    }
}

#[test]
fn no_message_waits_for_ever() {
    for plan in [Plan::default(), durable()] {
        let mut net = Net::new(
            1,
            Plan {
                relay_limits: RelayLimits {
                    ttl: Duration::from_secs(3600),
                    job_idle: Duration::from_secs(1800),
                    ..relay_limits()
                },
                ..plan
            },
        );
        net.run(Duration::from_secs(1));
        net.stop(1);
        for number in 0..600 {
            net.send(0, 1, "x", letter(number)).unwrap();
        }
        net.run(Duration::from_secs(1));
        net.stop(0);
        net.run(Duration::from_secs(3000));
        assert_eq!(net.stats(0).jobs[&job("job")].parties[&party(0)].held, 600);
        net.run(Duration::from_secs(1000));
        assert_eq!(net.stats(0).memory_bytes, 0);
        // Then nothing is kept, and the job is forgotten.
        net.run(Duration::from_secs(8000));
        assert!(net.stats(0).jobs.is_empty());
        assert_eq!((net.stats(0).held_bytes, net.stats(0).granted_bytes), (0, 0));
        assert!(net.servers[0].relay.poll_timeout().is_none());
        if let Some(store) = &net.servers[0].store {
            assert_eq!(store.kept(), 0);
        }
        assert!(
            net.servers[0]
                .events
                .contains(&RelayEvent::Forgotten { job: job("job") })
        );
        // It may begin again.
        net.start(0);
        net.start(1);
        net.run(Duration::from_secs(2));
        assert!(net.node(0).is_ready());
    }
}

#[test]
fn an_abort_is_remembered_for_those_who_come_later() {
    for plan in [Plan::default(), durable()] {
        let is_durable = plan.is_durable;
        let mut net = Net::new(
            1,
            Plan {
                homes: vec![0, 0, 0],
                ..plan
            },
        );
        net.run(Duration::from_secs(1));
        net.stop(2);
        for number in 0..50 {
            net.send(0, 2, "x", letter(number)).unwrap();
        }
        net.run(Duration::from_secs(1));
        net.node(0).abort(party(0), "enough".to_owned());
        net.run(Duration::from_secs(1));
        assert!(net.node(1).check(None).is_err());
        net.assert_empty(0);
        net.stop(0);
        net.stop(1);
        if is_durable {
            net.restart_server(0);
        }
        net.run(Duration::from_secs(3600));
        net.start(2);
        net.run(Duration::from_secs(2));
        let told = net.node(2).check(None).unwrap_err().to_string();
        assert_eq!(told, "a has aborted the job: enough");
        net.stop(2);
        net.run(Duration::from_secs(25 * 3600));
        assert!(net.stats(0).jobs.is_empty());
    }
}

#[test]
fn a_server_that_ends_lets_nobody_in_and_acknowledges_what_it_has() {
    let mut net = Net::new(1, durable());
    net.stop(1);
    net.run(Duration::from_secs(1));
    for number in 0..20 {
        net.send(0, 1, "x", letter(number)).unwrap();
    }
    net.talk();
    net.servers[0].relay.drain();
    assert!(!net.servers[0].relay.is_drained() || !net.flying.is_empty());
    net.start(1);
    net.run(Duration::from_secs(2));
    net.talk();
    assert!(net.servers[0].relay.is_drained());
    assert!(!net.node(1).peers()[0].was_up);
    assert_eq!(net.servers[0].store.as_ref().unwrap().kept(), 40);
    net.restart_server(0);
    net.run(Duration::from_secs(5));
    assert_eq!(all(&mut net), numbers(20));
}

#[test]
fn who_leaves_while_its_server_is_down_tells_what_others_need_to_hear() {
    with_seeds(20, |seed| {
        for is_aborted in [false, true] {
            let mut net = Net::new(seed, durable());
            net.slowness = net.random.u64(0..50);
            net.run(Duration::from_secs(1));
            net.send(0, 1, "x", letter("once")).unwrap();
            net.run(Duration::from_secs(1));
            if is_aborted {
                net.node(1).abort(party(1), "enough".to_owned());
            } else {
                assert_eq!(all(&mut net), ["once"]);
            }
            net.node(1).leave();
            // The server is gone before it has heard anything, and for two seconds.
            net.talk();
            net.flying.clear();
            net.cut(0);
            net.cut(1);
            net.run(Duration::from_secs(2));
            assert!(!net.node(1).is_done_but_for_farewells());
            net.restart_server(0);
            net.connect(0);
            net.connect(1);
            net.until(1, |net| net.node(1).is_done());
            net.restart(1);
            net.run(Duration::from_secs(3));
            let is_over = |node: &Node| node.check(None).is_err();
            assert!(net.nodes.iter().flatten().all(|node| is_over(node) == is_aborted));
            assert_eq!(all(&mut net), Vec::<String>::new());
        }
    });
}

//! Two servers in a row.

use super::*;

fn plan() -> Plan {
    Plan {
        homes: vec![0, 0, 1],
        ..Plan::default()
    }
}

#[test]
fn presence_and_its_end_pass_through() {
    let mut net = Net::new(1, plan());
    net.stop(2);
    net.run(Duration::from_secs(5));
    assert!(!net.node(0).is_ready());
    let is_alive = |net: &mut Net, at: usize, of: usize| {
        let (now, peer) = (net.now, net.peer(at, of));
        net.node(at).peers()[peer].is_alive(now)
    };
    assert!(is_alive(&mut net, 0, 1) && !is_alive(&mut net, 0, 2));
    net.start(2);
    net.run(Duration::from_secs(2));
    assert!(net.nodes.iter().flatten().all(Node::is_ready));
    net.send(2, 0, "x", letter("bye")).unwrap();
    net.node(2).leave();
    net.until(1, |net| net.node(2).is_done());
    net.stop(2);
    net.run(Duration::from_secs(1));
    assert!(!is_alive(&mut net, 0, 2));
    let peer = net.peer(0, 2);
    assert!(net.node(0).peers()[peer].has_left);
    assert_eq!(text(&net.take(0, 2, "x", None).unwrap()).as_deref(), Some("bye"));
}

#[test]
fn an_abort_passes_through() {
    for by in [0, 2] {
        let mut net = Net::new(1, plan());
        net.run(Duration::from_secs(2));
        net.node(by).abort(party(by), "stop".to_owned());
        net.run(Duration::from_secs(1));
        for index in 0..3 {
            let told = net.node(index).check(None).unwrap_err().to_string();
            assert_eq!(told, format!("{} has aborted the job: stop", party(by)));
        }
    }
}

#[test]
fn messages_wait_at_the_server_of_their_receiver() {
    let mut net = Net::new(1, plan());
    net.run(Duration::from_secs(1));
    net.stop(2);
    for number in 0..50 {
        net.send(0, 2, "x", letter(number)).unwrap();
    }
    net.node(0).leave();
    net.until(1, |net| net.node(0).is_done());
    net.stop(0);
    net.stop(1);
    net.run(Duration::from_secs(1));
    let held = |net: &Net, server: usize| net.stats(server).jobs[&job("job")].parties[&party(0)].held;
    assert_eq!((held(&net, 0), held(&net, 1)), (50, 50));
    net.start(2);
    net.run(Duration::from_secs(2));
    let got = std::iter::from_fn(|| net.take(2, 0, "x", None)).count();
    assert_eq!(got, 50);
    net.run(Duration::from_secs(2));
    net.assert_empty(0);
    net.assert_empty(1);
}

#[test]
fn servers_are_silent_when_nobody_is_there() {
    let mut net = Net::new(1, plan());
    net.run(Duration::from_secs(2));
    for index in 0..3 {
        net.stop(index);
    }
    net.run(Duration::from_secs(30));
    let said = net.count;
    net.run(Duration::from_secs(600));
    assert_eq!(net.count, said, "not one packet");
    net.run(Duration::from_secs(3 * 3600));
    for server in 0..2 {
        assert!(net.stats(server).jobs.is_empty(), "{server}");
    }
    for index in 0..3 {
        net.start(index);
    }
    net.run(Duration::from_secs(3));
    assert!(net.nodes.iter().flatten().all(Node::is_ready));
}

#[test]
fn a_server_speaks_for_its_parties_only() {
    let mut net = Net::new(1, plan());
    net.servers[1].relay.set_access(Access {
        servers: [("server 0".to_owned(), [party(0)].into())].into(),
        ..Access::open()
    });
    net.run(Duration::from_secs(2));
    let seen = |net: &mut Net, of: usize| {
        let peer = net.peer(2, of);
        net.node(2).peers()[peer].was_up
    };
    assert!(seen(&mut net, 0) && !seen(&mut net, 1));
    assert!(net.stats(1).forged > 0);
    net.servers[1].relay.set_access(Access {
        servers: [("server 0".to_owned(), [party(0), party(1)].into())].into(),
        ..Access::open()
    });
    net.run(Duration::from_secs(3));
    assert!(seen(&mut net, 1));
}

#[test]
fn servers_in_a_row_may_have_different_windows() {
    let windows = [(64 << 20, 64 << 10), (64 << 10, 64 << 20), (256 << 10, 64 << 10)];
    for (windows, is_durable) in windows.into_iter().flat_map(|two| [(two, false), (two, true)]) {
        let mut net = Net::new(
            1,
            Plan {
                homes: vec![0, 1],
                is_durable,
                ..Plan::default()
            },
        );
        // A store's bound is that of its pairs.
        let limit = |net: &mut Net, server: usize, window: u64| {
            let limits = &mut net.servers[server].setup.limits;
            limits.window_bytes = window;
            limits.store_bytes = window.max(2 << 20);
            limits.memory_bytes = 4 << 20;
            net.restart_server(server);
        };
        limit(&mut net, 0, windows.0);
        limit(&mut net, 1, windows.1);
        for index in 0..2 {
            net.setups[index].piece = 1 << 20;
            net.restart(index);
        }
        net.run(Duration::from_secs(3));
        let sizes = [10, 200_000, 5000, 20_000, 150_000];
        let mut got = [[0; 2]; 2];
        for round in 0..2 {
            for (size, number) in sizes.into_iter().zip(0..) {
                for (from, to) in [(0, 1), (1, 0)] {
                    for channel in ["x", "y"] {
                        net.send(from, to, channel, large(size, number)).unwrap();
                    }
                }
            }
            if round == 0 {
                // It comes back with the other one's window.
                net.run(Duration::from_millis(20));
                limit(&mut net, 1, windows.0);
            }
            net.until(30, |net| {
                for (to, channels) in got.iter_mut().enumerate() {
                    for (count, channel) in channels.iter_mut().zip(["x", "y"]) {
                        if let Some(taken) = net.take(to, 1 - to, channel, None) {
                            let size = taken.letter.map(|letter| letter.size());
                            assert_eq!(size, Some(sizes[*count % 5] as u64));
                            *count += 1;
                        }
                    }
                }
                got.iter().flatten().all(|count| *count == 5 * (round + 1))
            });
        }
        net.run(Duration::from_secs(3));
        net.assert_empty(0);
        net.assert_empty(1);
    }
}

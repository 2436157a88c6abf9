//! What is left of messages that nobody will receive: whoever asks for them is told.

use super::*;

fn durable(ttl: Option<u64>) -> Plan {
    Plan {
        is_durable: true,
        limits: Limits {
            ttl: ttl.map(Duration::from_secs),
            ..limits()
        },
        ..Plan::default()
    }
}

/// Offsets as they come, and whether there is no content.
fn receive(net: &mut Net, count: usize) -> Vec<(u64, bool)> {
    let mut all = Vec::new();
    net.until(1, |net| {
        let taken = net.take(1, 0, "x", None);
        all.extend(taken.map(|taken| (taken.offset, taken.letter.is_none())));
        all.len() == count
    });
    all
}

#[test]
fn marks_outlive_the_server() {
    with_seeds(10, |seed| {
        let mut net = Net::new(seed, durable(Some(2)));
        net.run(Duration::from_secs(1));
        net.stop(1);
        let mut tagged = letter("tagged");
        tagged.tag = Some(Tag::new("t").unwrap());
        net.send(0, 1, "x", letter("early")).unwrap();
        net.send(0, 1, "x", tagged).unwrap();
        net.send(0, 1, "x", large(5000, 1)).unwrap();
        net.run(Duration::from_secs(4));
        assert_eq!(net.stats(0).held_bytes, 3 * 128, "three marks");
        for _ in 0..3 {
            net.restart_server(0);
            net.run(Duration::from_millis(500));
        }
        assert_eq!(net.stats(0).held_bytes, 3 * 128);
        net.send(0, 1, "x", letter("in time")).unwrap();
        net.run(Duration::from_millis(500));
        net.restart_server(0);
        net.start(1);
        assert_eq!(receive(&mut net, 3), [(0, true), (2, true), (3, false)]);
        let tagged = net.take(1, 0, "x", Some("t")).unwrap();
        assert_eq!((tagged.offset, tagged.letter, tagged.is_lost), (1, None, false));
        net.run(Duration::from_secs(2));
        net.assert_empty(0);
        // Numbers do not go back when the last ones were marks.
        net.stop(1);
        net.send(0, 1, "x", letter("late")).unwrap();
        net.run(Duration::from_secs(4));
        net.start(1);
        assert_eq!(receive(&mut net, 1), [(4, true)]);
        net.run(Duration::from_secs(2));
        net.restart_server(0);
        net.restart(0);
        net.run(Duration::from_secs(2));
        assert_eq!(net.position(0, 1, "x"), None);
        net.run(Duration::from_secs(2));
        assert_eq!(net.position(0, 1, "x"), Some(5));
        net.assert_empty(0);
    });
}

#[test]
fn one_that_its_sender_has_given_up_is_marked_in_the_store() {
    let mut net = Net::new(1, durable(Some(1)));
    // It cannot be sent in time.
    net.loss = 1000;
    net.send(0, 1, "x", letter("late")).unwrap();
    net.run(Duration::from_secs(2));
    net.loss = 0;
    net.stop(1);
    net.run(Duration::from_secs(5));
    assert_eq!(net.stats(0).held_bytes, 128);
    net.restart_server(0);
    net.start(1);
    assert_eq!(receive(&mut net, 1), [(0, true)]);
    net.run(Duration::from_secs(2));
    net.assert_empty(0);
}

#[test]
fn marks_are_not_kept_for_ever() {
    let plan = durable(Some(1));
    let mut net = Net::new(
        1,
        Plan {
            relay_limits: RelayLimits {
                ttl: Duration::from_secs(10),
                ..relay_limits()
            },
            ..plan
        },
    );
    net.run(Duration::from_secs(1));
    net.stop(1);
    for number in 0..1100 {
        net.send(0, 1, "x", letter(number)).ok();
        if number % 100 == 0 {
            net.run(Duration::from_millis(100));
        }
    }
    net.run(Duration::from_secs(5));
    let kept = net.servers[0].store.as_ref().unwrap().kept();
    assert!((100..=1025).contains(&kept), "{kept}");
    net.restart_server(0);
    net.run(Duration::from_secs(4));
    net.restart_server(0);
    net.run(Duration::from_secs(4));
    net.assert_empty(0);
}

/// A large message is with its receiver, whose program has not had it; then its sender's process ends, and the receiver's.
fn lost(homes: &[usize]) -> Net {
    let mut net = Net::new(
        1,
        Plan {
            homes: homes.to_vec(),
            relay_limits: RelayLimits {
                memory_bytes: 1 << 20,
                window_bytes: 64 << 10,
                ..relay_limits()
            },
            ..Plan::default()
        },
    );
    net.send(0, 1, "x", letter("before")).unwrap();
    net.send(0, 1, "x", large(1 << 20, 1)).unwrap();
    net.send(0, 1, "x", letter("after")).unwrap();
    let key = key("x");
    net.until(5, |net| {
        let flow = net.nodes[1].as_ref().unwrap().peers()[0].inn.get(&key);
        flow.is_some_and(|flow| flow.held().0 == 3)
    });
    net.run(Duration::from_secs(1));
    net.stop(0);
    net.restart(1);
    net.run(Duration::from_secs(5));
    net
}

#[test]
fn one_that_nobody_has_any_more_is_lost_once() {
    let mut net = lost(&[0, 0]);
    assert_eq!(
        net.take(1, 0, "x", None)
            .and_then(|taken| text(&taken))
            .as_deref(),
        Some("before")
    );
    assert_eq!(net.take(1, 0, "x", None), None, "its sender may come back");
    // It does not use the channel any more.
    net.start(0);
    net.run(Duration::from_secs(5));
    let mark = net.take(1, 0, "x", None).unwrap();
    assert_eq!((mark.offset, mark.letter, mark.is_lost), (1, None, true));
    let after = net.take(1, 0, "x", None).unwrap();
    assert_eq!((after.offset, text(&after).as_deref()), (2, Some("after")));
    assert_eq!(net.take(1, 0, "x", None), None);
    net.run(Duration::from_secs(5));
    net.assert_empty(0);
    assert_eq!(net.position(0, 1, "x"), None);
    net.run(Duration::from_secs(5));
    assert_eq!(net.position(0, 1, "x"), Some(3));
}

#[test]
fn one_that_is_lost_between_two_servers_is_told_of() {
    let mut net = lost(&[0, 1]);
    net.start(0);
    net.run(Duration::from_secs(10));
    let all: Vec<_> = std::iter::from_fn(|| net.take(1, 0, "x", None)).collect();
    let all: Vec<_> = all.iter().map(|taken| (taken.offset, taken.is_lost)).collect();
    assert_eq!(all, [(0, false), (1, true), (2, false)]);
    net.run(Duration::from_secs(5));
    net.assert_empty(0);
    net.assert_empty(1);
}

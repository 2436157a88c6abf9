//! Federated parties without a runtime: all that channels can do.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond::blocking::{BroadcastChannel, CallError, Federation};
use flexbond::collectives::federation::{
    ChannelError, Codec, Config, Encoding, Limits, MemoryNetwork, Received, Role, Waiting,
};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn join(network: &MemoryNetwork, local: &str) -> Federation {
    let limits = Limits::new().timeout(Duration::from_secs(20));
    let mut config = Config::new("job".parse().unwrap(), local.parse().unwrap()).limits(limits);
    for name in NAMES {
        config = config.member(name.parse().unwrap(), Role::Host);
    }
    Federation::join(config, network.carrier(local.parse().unwrap())).unwrap()
}

fn parties() -> [Federation; 3] {
    let network = MemoryNetwork::new();
    NAMES.map(|name| join(&network, name))
}

fn channel(party: &Federation) -> BroadcastChannel {
    party.broadcast("x", "a", ["b", "c"]).unwrap()
}

/// What the channel said, if it was asked.
fn said(error: CallError<ChannelError>) -> ChannelError {
    match error {
        CallError::Socket(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn two_parties_exchange_all_that_there_is() {
    let [a, b, _c] = parties();
    let (to_b, from_a) = (a.variable("x", "b").unwrap(), b.variable("x", "a").unwrap());
    assert_eq!((to_b.name().as_str(), to_b.remote().as_str()), ("x", "b"));
    let buffers = vec![Bytes::from(vec![7; 1 << 20]), Bytes::new()];
    to_b.send_with("value", buffers.clone()).unwrap();
    let (value, got): (String, _) = from_a.recv_with().unwrap();
    assert!(value == "value" && got == buffers && got[0].as_ptr() == buffers[0].as_ptr());
    let json = || (Encoding::Value(Codec::Json), vec![Bytes::from_static(b"[1]")]);
    for _ in 0..3 {
        let (encoding, parts) = json();
        to_b.send_any(encoding, parts).unwrap();
    }
    let as_sent = |offset| Received::new(offset, json().0, json().1);
    assert_eq!(from_a.recv_any().unwrap(), as_sent(1));
    let held = from_a.recv_any_delivery().unwrap();
    assert_eq!(*held, as_sent(2));
    held.ack();
    assert_eq!(from_a.recv::<[i32; 1]>().unwrap(), [1]);
    to_b.delivered().unwrap();
    assert_eq!(to_b.next_offset().unwrap(), 4);
}

#[test]
fn a_root_and_a_group_exchange_buffers() {
    let all = parties();
    let [a, b, c] = all.each_ref().map(channel);
    assert_eq!(
        (a.name().as_str(), a.root().as_str(), a.group().len()),
        ("x", "a", 2)
    );
    assert!(a.is_root() && !b.is_root());
    let buffer = vec![Bytes::from_static(b"buffer")];
    let work = [b, c].map(|member| {
        thread::spawn(move || {
            let (value, buffers): (String, _) = member.recv_broadcast_with().unwrap();
            let (own, more): (i32, _) = member.recv_scatter_with().unwrap();
            member
                .clone()
                .with_codec(Codec::Json)
                .send_gather_with(&own, more)
                .unwrap();
            assert_eq!(member.recv_broadcast_numbered::<i32>().unwrap(), (2, 2));
            let (offset, three, none) = member.recv_broadcast_numbered_with::<i32>().unwrap();
            assert_eq!((offset, three, none.len()), (3, 3, 0));
            assert_eq!(member.recv_scatter_numbered::<i32>().unwrap(), (4, 4));
            let (offset, five, none) = member.recv_scatter_numbered_with::<i32>().unwrap();
            assert_eq!((offset, five, none.len()), (5, 5, 0));
            assert_eq!(member.next_offset().unwrap(), 1);
            (value, buffers)
        })
    });
    a.broadcast_with("all", buffer.clone()).unwrap();
    a.scatter_with(&[(1, buffer.clone()), (2, Vec::new())]).unwrap();
    assert_eq!(
        a.gather_with::<i32>().unwrap(),
        [(1, buffer.clone()), (2, Vec::new())]
    );
    assert_eq!(a.next_offset().unwrap(), 2);
    for _ in 0..2 {
        a.at(2).broadcast(&2).unwrap();
        a.at(3).broadcast(&3).unwrap();
        a.at(4).scatter(&[4, 4]).unwrap();
        a.at(5).scatter(&[5, 5]).unwrap();
    }
    let error = said(a.at(9).broadcast(&9).unwrap_err());
    assert!(matches!(error, ChannelError::Gap { next: 6, .. }), "{error}");
    for worker in work {
        assert_eq!(worker.join().unwrap(), ("all".into(), buffer.clone()));
    }
}

#[test]
fn messages_have_a_time_to_live_and_members_go_on_where_they_were() {
    let network = MemoryNetwork::new();
    let a = join(&network, "a");
    let (to_b, root) = (a.variable("x", "b").unwrap(), channel(&a));
    let ttl = Some(Duration::from_millis(1));
    to_b.clone().with_ttl(ttl).send(&1).unwrap();
    to_b.with_ttl(None).send(&2).unwrap();
    root.clone().with_ttl(ttl).broadcast(&1).unwrap();
    for value in 2..5 {
        root.broadcast(&value).unwrap();
    }
    let sent = Instant::now();
    while sent.elapsed() <= Duration::from_millis(2) {
        thread::yield_now();
    }
    let b = join(&network, "b");
    let (from_a, member) = (b.variable("x", "a").unwrap(), channel(&b));
    let expired = said(from_a.recv::<i32>().unwrap_err());
    assert!(
        matches!(expired, ChannelError::Expired { offset: 0, .. }),
        "{expired}"
    );
    assert_eq!(from_a.recv::<i32>().unwrap(), 2);
    let expired = said(member.recv_broadcast::<i32>().unwrap_err());
    assert!(
        matches!(expired, ChannelError::Expired { offset: 0, .. }),
        "{expired}"
    );
    member.resume_at(3).unwrap();
    assert_eq!(member.recv_broadcast_numbered::<i32>().unwrap(), (3, 4));
    let hasty = member.with_timeout(Duration::from_millis(20));
    let error = said(hasty.recv_broadcast::<i32>().unwrap_err());
    assert!(
        matches!(
            error,
            ChannelError::Timeout {
                what: Waiting::Message,
                ..
            }
        ),
        "{error}"
    );
}

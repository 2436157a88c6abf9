//! Who asks more often than anybody can be answered.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::{Arrive, ChannelJoin, ChannelKind, ChannelLeave, Header, Heartbeat, Join, Packet};

use super::World;
use crate::group::node::channels::Channels;

const PACKETS: u32 = 20_000;
/// Answers that may wait to be sent.
const ANSWERS: usize = 4096;

fn world(members: usize) -> World {
    let mut world = World::new(1, false, Path::default().delay(Duration::from_micros(100)));
    for _ in 0..members {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.run_for(Duration::from_millis(100));
    world
}

/// Says something to the coordinator, as `sender` and from there.
fn say(world: &mut World, from: SocketAddr, sender: u32, number: u64, packet: &Packet<'_>) {
    let header = Header {
        session: world.hosts[0].node.outbox.session(),
        sender,
        epoch: world.hosts[0].node.outbox.epoch(),
        number,
    };
    let mut datagram = BytesMut::new();
    packet.encode(&header, &mut datagram).expect("it fits");
    let now = world.start + world.now;
    let node = &mut world.hosts[0].node;
    node.handle_datagram(now, from, false, &mut datagram);
}

#[test]
fn strangers_who_say_that_they_were_members_are_told_otherwise_now_and_then() {
    let mut world = world(1);
    let (id, address) = (world.id(1).0, world.hosts[1].address);
    let now = world.start + world.now;
    world.hosts[1].node.leave(now);
    world.run_until("gone", |world| world.hosts[0].node.others().count() == 0);
    world.hosts[1].killed = true;
    let before = world.hosts[0].node.counters().foreign;
    let sign = Packet::Heartbeat(Heartbeat {
        sent_at: 0,
        echo: 0,
        echo_delay: 0,
        hears_multicast: false,
    });
    for number in 0..PACKETS {
        say(&mut world, address, id, (1 << 20) + u64::from(number), &sign);
    }
    let node = &world.hosts[0].node;
    assert_eq!(node.counters().foreign - before, u64::from(PACKETS));
    assert_eq!(node.outbox.waiting(), 1, "it is told once in a while");
    // Many places are no better than one.
    for number in 0..PACKETS {
        let from = SocketAddr::from((number.to_be_bytes(), 4000));
        say(&mut world, from, id, (1 << 21) + u64::from(number), &sign);
    }
    let waiting = world.hosts[0].node.outbox.waiting();
    assert!((10..=100).contains(&waiting), "{waiting} answers");
}

#[test]
fn members_who_ask_without_end_fill_no_memory_and_come_once() {
    let mut world = world(1);
    let (id, address) = (world.id(1).0, world.hosts[1].address);
    world.hosts[0].node.host_barrier(1, false).expect("it is free");
    let asked = |kind: u32, request| match kind {
        0 => Packet::ChannelJoin(ChannelJoin {
            request,
            channel: 1,
            kind: ChannelKind::Barrier,
        }),
        1 => Packet::ChannelLeave(ChannelLeave { request, channel: 2 }),
        2 => Packet::Arrive(Arrive { channel: 7, round: 1 }),
        _ => Packet::Leave,
    };
    let mut number = 1 << 20;
    for kind in 0..4 {
        for request in 0..PACKETS {
            number += 1;
            say(&mut world, address, id, number, &asked(kind, 100 + request));
        }
    }
    let node = &mut world.hosts[0].node;
    assert!(node.pop_arrival(1).is_some());
    assert_eq!(node.pop_arrival(1), None, "it has come once");
    let waiting = node.outbox.waiting();
    assert!(waiting <= ANSWERS, "{waiting} answers wait");
}

#[test]
fn members_who_leave_groups_that_there_are_not_fill_no_memory() {
    let mut world = world(2);
    let others = [1, 2].map(|host| (world.id(host).0, world.hosts[host].address));
    let mut number = 1 << 20;
    for (id, address) in others {
        for channel in 2..=u16::MAX {
            number += 1;
            let leave = ChannelLeave { request: 1, channel };
            say(&mut world, address, id, number, &Packet::ChannelLeave(leave));
        }
    }
    let heard = world.hosts[0].node.channels.heard.len();
    assert_eq!(heard, Channels::MAX_HEARD);
    // Of a group that there is, it is noted.
    world.hosts[0].node.host_broadcast(1).expect("it is free");
    let leave = ChannelLeave {
        request: 1,
        channel: 1,
    };
    say(
        &mut world,
        others[0].1,
        others[0].0,
        number + 1,
        &Packet::ChannelLeave(leave),
    );
    assert_eq!(world.hosts[0].node.channels.heard.len(), Channels::MAX_HEARD + 1);
}

/// What a node keeps, as far as anybody can see.
fn kept(world: &World, host: usize) -> usize {
    format!("{:?}", world.hosts[host].node).len()
}

/// Everything that a session says, in part, changed and whole, from addresses that nobody has proven to be at.
fn nobody_gets_more_than_it_says(keyed: bool) {
    let mut world = World::new(5, false, Path::default().delay(Duration::from_micros(100)));
    world.recorded = Some(Vec::new());
    for _ in 0..3 {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.hosts[0].node.host_barrier(1, false).expect("it is free");
    for from in 0..=3 {
        world.send(from, vec![1; 3000]);
    }
    world.run_for(Duration::from_millis(300));
    // Two have gone, one of them without a word.
    let now = world.start + world.now;
    world.hosts[1].node.leave(now);
    world.run_until("gone", |world| world.hosts[0].node.others().count() == 2);
    (world.hosts[1].killed, world.hosts[2].killed) = (true, true);
    world.run_until("gone, too", World::all_in);
    world.run_for(Duration::from_secs(2));
    let recorded = world.recorded.take().expect("all was recorded");
    let mut samples: Vec<_> = recorded.into_iter().map(|(_, _, bytes)| bytes).collect();
    samples.retain(|bytes| bytes.len() > 4);
    let mut rng = fastrand::Rng::with_seed(5);
    rng.shuffle(&mut samples);
    let mut port = 0_u32;
    for host in [0, 3] {
        let before = kept(&world, host);
        let mut answers = 0;
        for round in 0..4 {
            for sample in &samples {
                port += 1;
                let from = SocketAddr::from(((port | 0x4000_0000).to_be_bytes(), 4000));
                let mut bytes = sample.to_vec();
                match round {
                    0 => {}
                    1 => bytes.truncate(rng.usize(..bytes.len())),
                    2 => bytes[rng.usize(4..sample.len())] ^= 1 << rng.u8(..8),
                    _ => rng.fill(&mut bytes[4..]),
                }
                let size = bytes.len();
                let now = world.start + world.now;
                let node = &mut world.hosts[host].node;
                node.handle_datagram(now, from, false, &mut bytes);
                let mut got = 0;
                while let Some(outgoing) = node.poll_transmit(now, 1) {
                    got += if outgoing.to == from {
                        outgoing.contents.len()
                    } else {
                        0
                    };
                }
                assert!(
                    got <= size,
                    "{got} bytes for {size}, as host {host}, keyed: {keyed}"
                );
                answers += usize::from(got > 0);
            }
            world.now += Duration::from_millis(200);
        }
        assert!(host > 0 || answers > 0, "who asks to join is answered");
        assert!(host == 0 || answers == 0, "members answer nobody");
        // Counters have more digits now, and each place of the reminders has a time.
        let after = kept(&world, host);
        assert!(
            samples.len() > 200 && after < before + 5000,
            "{before} and {after}"
        );
    }
}

#[test]
fn nobody_gets_more_than_it_says_who_has_not_proven_where_it_is() {
    nobody_gets_more_than_it_says(false);
}

#[cfg(feature = "group-crypto")]
#[test]
fn nobody_gets_more_than_it_says_who_has_not_proven_where_it_is_with_a_key() {
    super::keys::keyed(|| nobody_gets_more_than_it_says(true));
}

/// Joiners from addresses at which nobody is: more than any memory should hold.
fn joiners_without_an_address_leave_nothing(join: impl Fn(u32) -> Vec<u8>) {
    let mut world = World::new(6, false, Path::default());
    let now = world.start;
    let node = &mut world.hosts[0].node;
    node.handle_timeout(now);
    let before = kept(&world, 0);
    for number in 0..PACKETS {
        let from = SocketAddr::from((number.to_be_bytes(), 4000));
        let mut bytes = join(number);
        let (asked, node) = (bytes.len(), &mut world.hosts[0].node);
        node.handle_datagram(now, from, false, &mut bytes);
        let mut answered = 0;
        while let Some(outgoing) = node.poll_transmit(now, 1) {
            assert_eq!(outgoing.to, from);
            answered += outgoing.contents.len();
        }
        // What is documented: a fifteenth of what was asked, for a cookie.
        assert!((1..=asked / 15).contains(&answered), "{answered}");
    }
    let after = kept(&world, 0);
    assert!(after < before + 1000, "{before} and {after}");
    assert_eq!(world.hosts[0].node.others().count(), 0);
}

fn join_of(number: u32, cookie: Option<[u8; 32]>) -> Vec<u8> {
    let join = Join {
        nonce: u128::from(number).to_be_bytes(),
        cookie,
        name: "flood",
        recv_budget: 1 << 20,
        proof: cookie,
    };
    let header = Header {
        session: 0,
        sender: Header::NOT_A_MEMBER,
        epoch: 0,
        number: 1,
    };
    let mut datagram = BytesMut::new();
    Packet::Join(join)
        .encode(&header, &mut datagram)
        .expect("it fits");
    datagram.to_vec()
}

#[test]
fn nothing_is_kept_of_who_shows_no_cookie_or_a_wrong_one() {
    joiners_without_an_address_leave_nothing(|number| join_of(number, None));
    joiners_without_an_address_leave_nothing(|number| join_of(number, Some([number as u8; 32])));
}

//! Packets for one alone, recorded and passed on to somebody else by who has not got the key.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::{ChannelKind, Envelope, Header, Kind};

use super::keys::{is_out, keyed, quiet, told};
use super::{DEAD_AFTER, World};
use crate::group::node::{Ending, Event, NodeCounters, RecordKind};

fn envelope(bytes: &[u8]) -> Envelope {
    Header::peek(bytes).expect("a datagram")
}

/// Whether it was sealed with what only its receiver opens.
fn is_for_one(bytes: &[u8]) -> bool {
    let envelope = envelope(bytes);
    envelope.for_one || envelope.kind.is_control()
}

/// What can be counted when somebody is given something that is not for it.
fn refused(counters: NodeCounters) -> u64 {
    counters.forged + counters.unreadable
}

#[test]
fn what_is_said_to_one_is_sealed_for_one() {
    keyed(|| {
        for seed in 0..2 {
            let world = told(seed);
            for (_, to, bytes) in world.recorded() {
                let envelope = envelope(bytes);
                let to_group = to.ip().is_multicast();
                match envelope.kind {
                    kind if kind.is_handshake() => assert!(!envelope.sealed),
                    kind if kind.is_control() => assert!(envelope.sealed && !envelope.for_one),
                    Kind::Status | Kind::Sync | Kind::Arrive => assert!(envelope.for_one),
                    Kind::Heartbeat => assert_eq!(envelope.for_one, !to_group),
                    _ => assert!(envelope.sealed && !(envelope.for_one && to_group)),
                }
            }
        }
    });
}

#[test]
fn what_was_for_one_is_counted_and_refused_by_all_others() {
    keyed(|| {
        for seed in 0..2 {
            let mut world = told(seed);
            let before = world.seen();
            let mut kinds = Vec::new();
            let recorded = world.recorded.take().expect("all was recorded");
            for (from, to, bytes) in recorded.iter().filter(|(.., bytes)| is_for_one(bytes)) {
                for host in [0, 2, 3, 4] {
                    let (address, sender) = (world.hosts[host].address, envelope(bytes).header.sender);
                    if address == *to {
                        continue;
                    }
                    let (ignored, closed) = (world.ignored(host), refused(world.hosts[host].node.counters()));
                    world.inject(host, *from, false, bytes);
                    let kind = bytes[3];
                    assert_eq!(
                        world.ignored(host),
                        ignored + 1,
                        "seed {seed}: kind {kind} of {sender} to {host}"
                    );
                    if refused(world.hosts[host].node.counters()) > closed {
                        kinds.push(envelope(bytes).kind);
                    }
                }
            }
            for kind in [
                Kind::Heartbeat,
                Kind::Status,
                Kind::Sync,
                Kind::View,
                Kind::ViewAck,
            ] {
                assert!(kinds.contains(&kind), "seed {seed}: no {kind:?} was tried");
            }
            world.run_for(DEAD_AFTER + Duration::from_secs(1));
            assert_eq!(world.seen(), before, "seed {seed}");
        }
    });
}

#[test]
fn where_one_begins_makes_nobody_else_skip() {
    keyed(|| {
        for multicast in [false, true] {
            let mut world = quiet(3, multicast, 2);
            let (coordinator, behind) = (world.hosts[0].address, world.hosts[2].address);
            // It hears nothing for a while, and so lacks what is sent.
            world
                .network
                .set_path(coordinator.ip(), behind.ip(), Path::default().loss(1.0));
            for number in 0..10_u8 {
                world.send(0, vec![number; 500]);
            }
            world.run_for(Duration::from_millis(20));
            assert!(world.received(2, 0).is_empty());
            world.recorded = Some(Vec::new());
            let late = world.join();
            world.run_until("the late one is in", |world| world.hosts[late].node.is_in());
            world.run_for(Duration::from_millis(100));
            // The late one is told where to begin, which is after all that.
            let address = world.hosts[late].address;
            let recorded = world.recorded.take().expect("all was recorded");
            let told: Vec<&Bytes> = recorded
                .iter()
                .filter(|(from, to, bytes)| {
                    (*from, *to) == (coordinator, address) && envelope(bytes).kind == Kind::Sync
                })
                .map(|(.., bytes)| bytes)
                .collect();
            assert!(!told.is_empty());
            for bytes in told {
                let before = refused(world.hosts[2].node.counters());
                world.inject(2, coordinator, false, bytes);
                assert_eq!(refused(world.hosts[2].node.counters()), before + 1);
            }
            world.network.reset_path(coordinator.ip(), behind.ip());
            world.run_until("delivered", |world| world.hosts[0].node.settled(0) == 10);
            world.run_for(Duration::from_millis(50));
            let expected: Vec<Vec<u8>> = (0..10).map(|number| vec![number; 500]).collect();
            let received = world.received(2, 0);
            assert!(
                received == expected,
                "multicast {multicast}: {} of 10",
                received.len()
            );
        }
    });
}

#[test]
fn what_a_dead_coordinator_said_to_one_keeps_it_alive_for_nobody() {
    keyed(|| {
        let mut world = quiet(4, false, 2);
        // One lacks much, and so is told much that the other is not.
        let (coordinator, lacking) = (world.hosts[0].address, world.hosts[1].address);
        world
            .network
            .set_path(coordinator.ip(), lacking.ip(), Path::default().loss(0.5));
        world.recorded = Some(Vec::new());
        for _ in 0..20 {
            world.send(0, vec![7; 3000]);
            world.run_for(Duration::from_millis(10));
        }
        world.hosts[0].killed = true;
        let killed = world.now;
        let recorded = world.recorded.take().expect("all was recorded");
        let mut said = recorded
            .into_iter()
            .filter(|(from, to, bytes)| (*from, *to) == (coordinator, lacking) && is_for_one(bytes));
        let mut tried = 0;
        while !is_out(&world, 2) {
            if let Some((from, _, bytes)) = said.next() {
                world.inject(2, from, false, &bytes);
                tried += 1;
            }
            world.run_for(Duration::from_millis(50));
            let took = world.now - killed;
            assert!(took <= DEAD_AFTER + Duration::from_millis(500), "{took:?}");
        }
        assert!(tried > 20, "{tried}");
        let last = world.hosts[2].events.last();
        assert!(
            matches!(last, Some(Event::Out(Ending::CoordinatorDead))),
            "{last:?}"
        );
    });
}

#[test]
fn the_end_of_a_round_releases_nobody_from_the_next_group() {
    keyed(|| {
        let mut world = quiet(5, false, 3);
        let now = |world: &World| world.start + world.now;
        let coordinator = world.hosts[0].address;
        let join = |world: &mut World, hosts: &[usize]| {
            world.hosts[0].node.host_barrier(9, false).expect("it is free");
            for host in hosts {
                let (now, node) = (now(world), &mut world.hosts[*host].node);
                node.join_channel(now, 9, ChannelKind::Barrier);
            }
            let hosts = hosts.to_vec();
            world.run_until("seated", move |world| {
                hosts.iter().all(|host| world.hosts[*host].node.has_seat(9))
            });
        };
        join(&mut world, &[1, 3]);
        // One does not hear how the round ends, and so is told again.
        let deaf = world.hosts[1].address;
        for host in [1, 3] {
            let now = now(&world);
            world.hosts[host].node.arrive(now, 9);
        }
        world
            .network
            .set_path(coordinator.ip(), deaf.ip(), Path::default().loss(1.0));
        world.recorded = Some(Vec::new());
        world.run_for(Duration::from_millis(200));
        let recorded = world.recorded.take().expect("all was recorded");
        world.network.reset_path(coordinator.ip(), deaf.ip());
        world.run_for(Duration::from_millis(200));
        let (from, deadline) = (now(&world), now(&world) + Duration::from_millis(1));
        for host in [1, 3] {
            world.hosts[host].node.leave_channel(from, 9);
        }
        let hosting = world.hosts[0].node.hosting(9);
        world.hosts[0].node.unhost(from, 9, hosting, deadline);
        world.run_for(Duration::from_millis(200));

        join(&mut world, &[2, 3]);
        let at = now(&world);
        world.hosts[2].node.arrive(at, 9);
        world.run_for(Duration::from_millis(20));
        let mut tried = [0; 2];
        for (_, _, bytes) in recorded
            .iter()
            .filter(|(_, to, bytes)| *to == deaf && envelope(bytes).kind == Kind::Release)
        {
            // What was said to it again, and to all at first.
            tried[usize::from(envelope(bytes).for_one)] += 1;
            let ignored = world.ignored(2);
            world.inject(2, coordinator, false, bytes);
            assert_eq!(world.ignored(2), ignored + 1);
        }
        assert!(tried[0] > 0 && tried[1] > 0, "{tried:?}");
        assert_eq!(
            world.hosts[2].node.take_outcome(9),
            None,
            "the other has not come"
        );
        let number = world.hosts[0]
            .node
            .push(0, RecordKind::Message, &Bytes::from_static(b"goes on"))
            .expect("it is in");
        world.run_until("delivered", |world| world.hosts[0].node.settled(0) == number + 1);
    });
}

#[test]
fn what_was_held_back_from_a_group_does_not_come_in_the_next_one_of_its_number() {
    keyed(|| {
        let mut world = quiet(6, true, 2);
        let [coordinator, member] = [0, 1].map(|host| world.hosts[host].address);
        let mut held: Vec<(SocketAddr, SocketAddr, Bytes)> = Vec::new();
        for group in 0..2_u8 {
            world.hosts[0].node.host_broadcast(9).expect("it is free");
            let now = world.start + world.now;
            let request = world.hosts[1].node.join_channel(now, 9, ChannelKind::Broadcast);
            world.run_until("let in", |world| world.hosts[1].node.has_channel(9));
            let answer = world.hosts[1].node.take_reply(request);
            assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
            world.run_for(Duration::from_millis(50));
            for (from, to, bytes) in std::mem::take(&mut held) {
                // What would tell it something false, and what would confirm it for the member.
                let (host, ignored) = match to == coordinator {
                    true => (0, world.ignored(0)),
                    false => (1, world.ignored(1)),
                };
                world.inject(host, from, false, &bytes);
                let kind = envelope(&bytes).kind;
                assert_eq!(world.ignored(host), ignored + 1, "{kind:?}");
            }
            let body = Bytes::from(vec![group; 1500]);
            let number = world.hosts[0]
                .node
                .push(9, RecordKind::Message, &body)
                .expect("it is open");
            if group == 0 {
                // Neither side hears what the other says, and somebody keeps it.
                world.recorded = Some(Vec::new());
                for (from, to) in [(coordinator, member), (member, coordinator)] {
                    world
                        .network
                        .set_path(from.ip(), to.ip(), Path::default().loss(1.0));
                }
                world.run_for(Duration::from_millis(50));
                let both = world.recorded.take().expect("all was recorded");
                let of_group = |kind| matches!(kind, Kind::Data | Kind::Sync | Kind::Status);
                held = both
                    .into_iter()
                    .filter(|(_, to, bytes)| *to != world.hosts[2].address && of_group(envelope(bytes).kind))
                    .collect();
                assert!(held.iter().any(|(.., bytes)| envelope(bytes).kind == Kind::Data));
                for (from, to) in [(coordinator, member), (member, coordinator)] {
                    world.network.reset_path(from.ip(), to.ip());
                }
            }
            world.run_until("delivered", |world| world.hosts[0].node.settled(9) == number + 1);
            let now = world.start + world.now;
            let popped = world.hosts[1].node.pop(now, 9).expect("a message");
            assert!(popped.body == body, "group {group}");
            world.hosts[1].node.leave_channel(now, 9);
            let hosting = world.hosts[0].node.hosting(9);
            world.hosts[0]
                .node
                .unhost(now, 9, hosting, now + Duration::from_millis(1));
            world.run_for(Duration::from_millis(100));
        }
    });
}

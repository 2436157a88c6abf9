//! Numbers at the ends of their ranges: those that a long session gets to, and those that somebody makes up.

use std::time::Duration;

use bytes::BytesMut;
use fastrand::Rng;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::{
    Abort, Arrive, ChannelJoin, ChannelKind, ChannelLeave, ChannelReply, Data, FlowSync, Gap, Header,
    Heartbeat, List, Packet, Parity, RejectReason, Release, Status, View, ViewAck,
};

use super::{World, seeds};
use crate::group::node::{Ending, Event, Role};

fn quiet(seed: u64, members: usize) -> World {
    let path = Path::default().delay(Duration::from_micros(100));
    let mut world = World::new(seed, seed.is_multiple_of(2), path);
    for _ in 0..members {
        world.join();
    }
    world
}

fn views_are_used_up() {
    const LAST: u32 = u32::MAX - (1 << 20);
    let mut world = quiet(1, 2);
    let Role::Coordinator(coordinator) = &mut world.hosts[0].node.role else {
        panic!("it is the coordinator");
    };
    coordinator.roster.advance_view(LAST - 3);
    world.run_until("all in", World::all_in);
    let mut late = 0;
    // Until no view is left for one more.
    while !matches!(
        world.hosts[late].events.last(),
        Some(Event::Out(Ending::Rejected(RejectReason::Full, _)))
    ) {
        assert!(late < 10, "more came in");
        late = world.join();
        world.run_until("an answer", |world| {
            world.hosts[late].node.is_in() || world.hosts[late].node.ending().is_some()
        });
        world.run_for(Duration::from_millis(50));
    }
    world.hosts[late].killed = true;
    assert!(late > 2);
    // Those who are in can go, and the others hear of it.
    world.run_until("all know all", World::all_in);
    let number = world.send(1, vec![1; 3000]);
    world.run_until("delivered", |world| world.hosts[1].node.settled(0) == number + 1);
    let now = world.start + world.now;
    world.hosts[1].node.leave(now);
    world.run_until("it has left", |world| world.hosts[1].node.ending().is_some());
    world.hosts[1].killed = true;
    world.run_until("all know", World::all_in);
    let number = world.send(0, vec![2; 3000]);
    world.run_until("delivered", |world| world.hosts[0].node.settled(0) == number + 1);
    assert!(world.hosts[0].node.outbox.epoch() > LAST);
}

#[test]
fn when_views_are_used_up_nobody_else_comes_in_but_all_can_go() {
    views_are_used_up();
}

#[cfg(feature = "group-crypto")]
#[test]
fn when_views_are_used_up_nobody_else_comes_in_but_all_can_go_with_a_key() {
    super::keys::keyed(views_are_used_up);
}

#[test]
fn requests_go_on_after_the_last_number() {
    let mut world = quiet(2, 1);
    world.run_until("all in", World::all_in);
    world.hosts[0].node.host_barrier(1, false).expect("it is free");
    world.hosts[1].node.channels.requests.advance(u32::MAX - 4);
    for round in 1..=6 {
        let now = world.start + world.now;
        let node = &mut world.hosts[1].node;
        let request = node.join_channel(now, 1, ChannelKind::Barrier);
        let mut answer = None;
        while answer.is_none() {
            world.run_for(Duration::from_millis(1));
            answer = world.hosts[1].node.take_reply(request);
            assert!(world.now < Duration::from_secs(30), "no answer");
        }
        assert_eq!(answer, Some(Ok(round)));
        let now = world.start + world.now;
        world.hosts[1].node.arrive(now, 1);
        world.run_for(Duration::from_millis(10));
        assert!(world.hosts[1].node.take_outcome(1).is_some(), "round {round}");
        world.hosts[1].node.leave_channel(now, 1);
        world.run_for(Duration::from_millis(10));
    }
}

/// Numbers at which something may go wrong.
fn extreme(rng: &mut Rng) -> u64 {
    let edge = [0, 1 << 8, 1 << 16, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX];
    let around = rng.choice(edge).unwrap_or_default();
    around.wrapping_add(rng.u64(..5)).wrapping_sub(2)
}

fn made_up<'a>(rng: &mut Rng, gaps: &'a [Gap], failed: &'a [u32]) -> Packet<'a> {
    let channel = rng.u16(..3);
    let point_to_point = rng.u8(..8) == 0;
    match rng.u8(..15) {
        0..3 => Packet::Data(Data {
            channel,
            point_to_point,
            answer: rng.bool(),
            repair: rng.bool(),
            seq: extreme(rng),
            payload: &[0xFF; 30][..rng.usize(1..30)],
        }),
        3..5 => Packet::Status(Status {
            channel,
            point_to_point,
            unknown: rng.u8(..8) == 0,
            source: rng.u32(..4),
            next: extreme(rng),
            edge: extreme(rng),
            known: extreme(rng),
            early: extreme(rng) as u32,
            echo: extreme(rng),
            echo_delay: extreme(rng) as u32,
            local_drops: extreme(rng) as u32,
            missing: List::new(gaps),
        }),
        5..8 => Packet::Sync(FlowSync {
            channel,
            point_to_point,
            start: rng.bool().then(|| extreme(rng)),
            next: extreme(rng),
        }),
        14 => Packet::Parity(Parity {
            channel,
            point_to_point,
            answer: rng.bool(),
            base: extreme(rng),
            count: rng.u8(1..),
            index: rng.u8(..),
            payload: &[0xFF; 30][..rng.usize(1..30)],
        }),
        8 => Packet::Heartbeat(Heartbeat {
            sent_at: extreme(rng),
            echo: extreme(rng),
            echo_delay: extreme(rng) as u32,
            hears_multicast: rng.bool(),
        }),
        9 => Packet::Arrive(Arrive {
            channel,
            round: extreme(rng),
        }),
        10 => Packet::Release(Release {
            channel,
            round: extreme(rng),
        }),
        11 => Packet::Abort(Abort {
            channel,
            round: extreme(rng),
            failed: List::new(failed),
        }),
        12 => match rng.u8(..3) {
            0 => Packet::ViewAck(ViewAck {
                channel: 0,
                view: extreme(rng) as u32,
            }),
            1 => Packet::View(View {
                channel: 0,
                kind: ChannelKind::Session,
                view: extreme(rng) as u32,
                part: 0,
                parts: rng.u16(1..3),
                key: None,
                members: List::new(&[]),
            }),
            _ => Packet::Leave,
        },
        _ => match rng.u8(..3) {
            0 => Packet::ChannelJoin(ChannelJoin {
                request: extreme(rng) as u32,
                channel,
                kind: ChannelKind::Barrier,
            }),
            1 => Packet::ChannelLeave(ChannelLeave {
                request: extreme(rng) as u32,
                channel,
            }),
            _ => Packet::ChannelReply(ChannelReply {
                request: rng.u32(..3),
                channel,
                refusal: None,
                first_round: extreme(rng),
            }),
        },
    }
}

/// Hosts 1 and 0 say what they like; 2 and 3 have to get on with it, and with each other as far as the session lasts.
#[test]
fn whatever_somebody_makes_up_nobody_falls_over_it() {
    for seed in seeds(30) {
        let mut rng = Rng::with_seed(seed);
        let mut world = quiet(seed, 3);
        world.run_until(&format!("seed {seed}: all in"), World::all_in);
        world.hosts[0].node.host_barrier(1, true).expect("it is free");
        world.hosts[0].node.host_broadcast(2).expect("it is free");
        let now = world.start + world.now;
        for index in 1..=3 {
            let node = &mut world.hosts[index].node;
            node.join_channel(now, 1, ChannelKind::Barrier);
            node.join_channel(now, 2, ChannelKind::Broadcast);
        }
        world.run_for(Duration::from_millis(50));
        let who = rng.usize(..2);
        for number in 1 << 20..(1 << 20) + 300 {
            let gaps: Vec<_> = (0..rng.usize(..4))
                .map(|_| (extreme(&mut rng), rng.u16(1..)))
                .filter(|(start, len)| start.checked_add((*len).into()).is_some())
                .map(|(start, len)| Gap { start, len })
                .collect();
            let failed = [extreme(&mut rng) as u32];
            let packet = made_up(&mut rng, &gaps, &failed);
            let header = Header {
                session: world.hosts[0].node.outbox.session(),
                sender: world.id(who).0,
                epoch: rng.u32(..5),
                number: if rng.u8(..100) == 0 {
                    extreme(&mut rng)
                } else {
                    number
                },
            };
            let mut datagram = BytesMut::new();
            if packet.encode(&header, &mut datagram).is_err() {
                continue;
            }
            let to = rng.usize(..=3);
            if to == who {
                continue;
            }
            let now = world.start + world.now;
            let from = world.hosts[who].address;
            for index in 1..=3 {
                world.hosts[index].node.arrive(now, 1);
            }
            world.hosts[to]
                .node
                .handle_datagram(now, from, rng.bool(), &mut datagram);
            if rng.u8(..4) == 0 {
                let _ = world.hosts[rng.usize(..=3)].node.push(
                    0,
                    crate::group::flow::RecordKind::Message,
                    &vec![7; rng.usize(..3000)].into(),
                );
                world.run_for(Duration::from_micros(rng.u64(..3000)));
            }
        }
        if who == 0 {
            continue;
        }
        // Without the one who made things up, the others go on.
        world.hosts[1].killed = true;
        world.run_for(Duration::from_secs(4));
        for from in [0, 2, 3] {
            assert!(world.hosts[from].node.is_in(), "seed {seed}: {from} is out");
            let number = world.send(from, vec![9; 2000]);
            world.run_until(&format!("seed {seed}: {from} goes on"), |world| {
                world.hosts[from].node.settled(0) == number + 1
            });
        }
    }
}

//! How groups end for those who lack something, and come again under the same number.

use std::time::Duration;

use bytes::Bytes;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::ChannelKind;

use super::{World, settings};
use crate::group::MemberId;
use crate::group::barrier::Outcome;
use crate::group::flow::RecordKind;
use crate::group::node::{GroupEnd, HostError, Node, NodeSettings};

const GROUP: u16 = 9;

/// Joins the group, and waits until it is in; returns the request.
fn enter(world: &mut World, host: usize) -> u32 {
    let now = world.start + world.now;
    let node = &mut world.hosts[host].node;
    let request = node.join_channel(now, GROUP, ChannelKind::Broadcast);
    world.run_until("let in", |world| world.hosts[host].node.has_channel(GROUP));
    let answer = world.hosts[host].node.take_reply(request);
    assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
    world.run_for(Duration::from_millis(50));
    request
}

/// All that has come to a member and is not yet taken.
fn take(world: &mut World, host: usize) -> Vec<Bytes> {
    let now = world.start + world.now;
    let node = &mut world.hosts[host].node;
    std::iter::from_fn(|| node.pop(now, GROUP).map(|popped| popped.body)).collect()
}

/// One member has lost the end of the last message when the group is over. Returns with the member listening again.
fn cut_short(multicast: bool) -> World {
    let path = Path::default().delay(Duration::from_micros(100));
    let mut world = World::new(3, multicast, path);
    for _ in 0..2 {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.run_for(Duration::from_secs(1));
    world.hosts[0].node.host_broadcast(GROUP).expect("it is free");
    enter(&mut world, 1);
    let [coordinator, member] = [0, 1].map(|host| world.hosts[host].address.ip());
    let body = Bytes::from(vec![1; 40_000]);
    let node = &mut world.hosts[0].node;
    node.push(GROUP, RecordKind::Message, &body).expect("it is open");
    world.run_for(Duration::from_micros(150));
    let deaf = Path::default().loss(1.0);
    world.network.set_path(coordinator, member, deaf);
    world.run_for(Duration::from_millis(5));
    let now = world.start + world.now;
    let hosting = world.hosts[0].node.hosting(GROUP);
    world.hosts[0]
        .node
        .unhost(now, GROUP, hosting, now + Duration::from_millis(1));
    world.run_for(Duration::from_millis(50));
    assert!(!world.hosts[0].node.has_channel(GROUP), "it is over");
    world.network.reset_path(coordinator, member);
    world
}

fn who_lacks_the_end_is_told() {
    for multicast in [false, true] {
        let mut world = cut_short(multicast);
        assert_eq!(take(&mut world, 1), [] as [Bytes; 0]);
        world.run_for(Duration::from_secs(2));
        assert_eq!(take(&mut world, 1), [] as [Bytes; 0]);
        assert!(!world.hosts[1].node.has_channel(GROUP), "it still waits");
    }
}

fn the_next_group_continues_nothing() {
    for multicast in [true, false] {
        let mut world = cut_short(multicast);
        world.hosts[0].node.host_broadcast(GROUP).expect("it is over");
        enter(&mut world, 2);
        let body = Bytes::from(vec![2; 60_000]);
        for _ in 0..3 {
            let node = &mut world.hosts[0].node;
            node.push(GROUP, RecordKind::Message, &body).expect("it is open");
        }
        world.run_for(Duration::from_secs(1));
        assert!(take(&mut world, 2) == vec![body; 3], "multicast {multicast}");
        let got = take(&mut world, 1);
        assert!(got.is_empty(), "multicast {multicast}: {} bytes", got[0].len());
        assert!(
            world.hosts[1].node.is_in(),
            "it is out: {:?}",
            world.hosts[1].node.ending()
        );
        assert!(!world.hosts[1].node.has_channel(GROUP), "it still waits");
    }
}

#[test]
fn who_lacks_the_end_of_a_group_that_is_over_is_told() {
    who_lacks_the_end_is_told();
}

#[test]
fn the_next_group_of_the_same_number_continues_nothing_of_the_one_before() {
    the_next_group_continues_nothing();
}

/// Several small messages are in one segment, which is confirmed even if there is no memory for the last of them.
#[test]
fn who_had_no_memory_for_the_last_that_it_confirmed_gets_it_even_if_more_is_missing() {
    for budget in (2000..3000).step_by(50) {
        let mut world = World::new(7, false, Path::default().delay(Duration::from_micros(100)));
        let settings = NodeSettings {
            recv_budget: budget,
            max_message: 1000,
            ..settings(false)
        };
        let node = Node::member(world.start, world.hosts[0].address, [7; 16], &[], settings);
        world.add(node);
        world.run_until("all in", World::all_in);
        world.run_for(Duration::from_secs(1));
        let hosting = world.hosts[0].node.host_broadcast(GROUP).expect("it is free");
        let request = enter(&mut world, 1);
        let node = &mut world.hosts[0].node;
        let push = |_| node.push(GROUP, RecordKind::Message, &vec![1; 40].into());
        let numbers: Vec<u64> = (0..1000)
            .map(push)
            .map(|number| number.expect("there is room"))
            .collect();
        world.run_for(Duration::from_millis(200));
        let now = world.start + world.now;
        let node = &mut world.hosts[0].node;
        node.unhost(now, GROUP, hosting, now + Duration::from_millis(1));
        world.run_for(Duration::from_secs(1));
        let mut got = Vec::new();
        for _ in 0..1000 {
            got.extend(take(&mut world, 1));
            world.run_for(Duration::from_millis(10));
            if world.hosts[1].node.place_end(GROUP, request).is_some() {
                break;
            }
        }
        let end = world.hosts[1].node.place_end(GROUP, request);
        assert_eq!(end, Some(GroupEnd::Cut), "{budget}");
        let id = world.id(1);
        let node = &world.hosts[0].node;
        let delivered = numbers.iter().filter(|number| {
            let missed = node.missed(GROUP, **number..=**number);
            !missed.contains(&id)
        });
        let delivered = delivered.count();
        assert!(got.len() >= delivered, "{budget}: {} of {delivered}", got.len());
    }
}

/// Who has a place at a barrier that is over, and does not come there before there is another one of its number, waits
/// for nobody and goes with nobody.
#[test]
fn the_next_barrier_of_the_same_number_holds_and_releases_nobody_of_the_one_before() {
    for multicast in [false, true] {
        let mut world = World::new(5, multicast, Path::default().delay(Duration::from_micros(100)));
        for _ in 0..2 {
            world.join();
        }
        world.run_until("all in", World::all_in);
        world.run_for(Duration::from_secs(1));
        let sit = |world: &mut World, host: usize| {
            let now = world.start + world.now;
            let node = &mut world.hosts[host].node;
            let request = node.join_channel(now, GROUP, ChannelKind::Barrier);
            world.run_until("let in", |world| world.hosts[host].node.has_seat(GROUP));
            assert!(world.hosts[host].node.take_reply(request).is_some());
        };
        let arrive = |world: &mut World, host: usize| {
            let now = world.start + world.now;
            world.hosts[host].node.arrive(now, GROUP);
        };
        let hosting = world.hosts[0]
            .node
            .host_barrier(GROUP, false)
            .expect("it is free");
        sit(&mut world, 1);
        let now = world.start + world.now;
        let node = &mut world.hosts[0].node;
        node.unhost(now, GROUP, hosting, now + Duration::from_millis(1));
        world.run_for(Duration::from_millis(50));
        let next = world.hosts[0]
            .node
            .host_barrier(GROUP, false)
            .expect("it is over");
        assert_ne!(hosting, next);
        sit(&mut world, 2);
        let coordinator = world.hosts[0].address.ip();
        let unheard = Path::default().loss(1.0);
        let member = world.hosts[1].address.ip();
        world.network.set_path(member, coordinator, unheard);
        [1, 2].into_iter().for_each(|host| arrive(&mut world, host));
        world.run_for(Duration::from_millis(200));
        let outcomes = [1, 2].map(|host| world.hosts[host].node.take_outcome(GROUP));
        assert_eq!(outcomes, [None, Some(Outcome::Released)], "multicast {multicast}");
        world.network.reset_path(member, coordinator);
        world.run_for(Duration::from_millis(200));
        let outcome = world.hosts[1].node.take_outcome(GROUP);
        assert_eq!(outcome, Some(Outcome::Aborted(vec![MemberId::COORDINATOR])));
        assert!(!world.hosts[1].node.takes_part(GROUP), "it may join the next one");
        // The handle of a barrier that is over ends nothing.
        let now = world.start + world.now;
        world.hosts[0].node.unhost(now, GROUP, hosting, now);
        sit(&mut world, 1);
        [1, 2].into_iter().for_each(|host| arrive(&mut world, host));
        world.run_for(Duration::from_millis(50));
        let outcomes = [1, 2].map(|host| world.hosts[host].node.take_outcome(GROUP));
        assert_eq!(outcomes, [(); 2].map(|()| Some(Outcome::Released)));
    }
}

#[test]
fn a_number_that_was_used_too_often_is_used_no_more() {
    let mut world = World::new(6, false, Path::default());
    let now = world.start;
    let node = &mut world.hosts[0].node;
    let end = |node: &mut Node, hosting| {
        node.unhost(now, GROUP, hosting, now);
        node.handle_timeout(now);
    };
    let hosting = node.host_broadcast(GROUP).expect("it is free");
    end(node, hosting);
    node.flows.skip_numbers(GROUP);
    let hosting = node.host_broadcast(GROUP).expect("the last one");
    end(node, hosting);
    assert_eq!(node.host_broadcast(GROUP), Err(HostError::Taken));
    assert!(node.host_broadcast(GROUP + 1).is_ok());
    let hosting = node.host_barrier(GROUP, true).expect("of another kind");
    end(node, hosting);
    node.channels.rounds.insert(GROUP, Some(u64::MAX - 7));
    let hosting = node.host_barrier(GROUP, true).expect("the last one");
    end(node, hosting);
    assert_eq!(node.host_barrier(GROUP, true), Err(HostError::Taken));
}

#[cfg(feature = "group-crypto")]
#[test]
fn who_lacks_the_end_of_a_group_that_is_over_is_told_with_a_key() {
    super::keys::keyed(who_lacks_the_end_is_told);
}

#[cfg(feature = "group-crypto")]
#[test]
fn the_next_group_of_the_same_number_continues_nothing_with_a_key() {
    super::keys::keyed(the_next_group_continues_nothing);
}

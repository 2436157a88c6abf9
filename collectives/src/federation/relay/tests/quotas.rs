//! Each limit gone over.

use super::stage::{Stage, Voice, data, open};
use super::*;
use crate::federation::core::packet::{Item, Refusal};

/// No channel gets all the room that there is.
const CHANNELS: u32 = 40;

/// How many messages of a size get into the server's custody when nobody receives.
fn kept(net: &mut Net, to: usize, size: usize, most: u32) -> u32 {
    let mut count = 0;
    for number in 0..most {
        let name = (number % CHANNELS).to_string();
        if net.send(0, to, &name, large(size, 1)).is_err() {
            break;
        }
        count += 1;
    }
    net.run(Duration::from_secs(2));
    u32::try_from(net.stats(0).jobs[&job("job")].parties[&party(0)].held)
        .unwrap()
        .min(count)
}

/// The receiver gets as many as that.
fn receive(net: &mut Net, count: u32) {
    let mut got = 0;
    net.until(5, |net| {
        for channel in 0..CHANNELS {
            got += u32::from(net.take(1, 0, &channel.to_string(), None).is_some());
        }
        got == count
    });
}

fn plan(relay_limits: RelayLimits) -> Plan {
    Plan {
        homes: vec![0, 0, 0],
        relay_limits,
        ..Plan::default()
    }
}

const MIB: u64 = 1 << 20;

fn fulls(net: &Net, kind: QuotaKind) -> usize {
    let events = net.servers[0].events.iter();
    events
        .filter(|event| matches!(event, RelayEvent::Full { quota, .. } if *quota == kind))
        .count()
}

#[test]
fn each_bound_stops_what_goes_over_it_and_lets_it_go_on() {
    let limits = [
        (
            QuotaKind::Server,
            RelayLimits {
                memory_bytes: MIB,
                job_bytes: Some(64 * MIB),
                party_bytes: Some(64 * MIB),
                ..relay_limits()
            },
        ),
        (
            QuotaKind::Job,
            RelayLimits {
                job_bytes: Some(MIB),
                ..relay_limits()
            },
        ),
        (
            QuotaKind::Party,
            RelayLimits {
                party_bytes: Some(MIB),
                ..relay_limits()
            },
        ),
        (
            QuotaKind::Pair,
            RelayLimits {
                window_bytes: MIB,
                ..relay_limits()
            },
        ),
    ];
    for (kind, relay_limits) in limits {
        let mut net = Net::new(1, plan(relay_limits));
        net.run(Duration::from_secs(1));
        net.stop(1);
        let count = kept(&mut net, 1, 10_000, 200);
        assert!((50..105).contains(&count), "{kind:?}: {count}");
        let stats = net.stats(0);
        assert!(
            stats.held_bytes + stats.granted_bytes <= MIB,
            "{kind:?}: {stats:?}"
        );
        assert!(fulls(&net, kind) > 0, "{kind:?}: {:?}", net.servers[0].events);
        // Others go on, unless the bound is theirs, too.
        net.send(2, 0, "y", letter("mine")).unwrap();
        net.run(Duration::from_secs(1));
        let is_through = net.take(0, 2, "y", None).is_some();
        assert!(
            is_through || matches!(kind, QuotaKind::Server | QuotaKind::Job),
            "{kind:?}"
        );
        net.start(1);
        receive(&mut net, 200);
        net.run(Duration::from_secs(2));
        net.take(0, 2, "y", None);
        net.run(Duration::from_secs(1));
        net.assert_empty(0);
    }
}

#[test]
fn a_store_has_bounds_as_well() {
    let mut net = Net::new(
        1,
        Plan {
            is_durable: true,
            ..plan(RelayLimits {
                store_bytes: MIB,
                ..relay_limits()
            })
        },
    );
    net.run(Duration::from_secs(1));
    net.stop(1);
    // Half of it is for one job.
    let count = kept(&mut net, 1, 10_000, 200);
    assert!((25..52).contains(&count), "{count}");
    let too_large = net.send(0, 2, "x", large(300_000, 1));
    assert!(
        matches!(too_large, Err(Rejected::TooLarge { limit: 262_144, .. })),
        "{too_large:?}"
    );
    net.restart_server(0);
    net.run(Duration::from_secs(1));
    net.start(1);
    receive(&mut net, 200);
    net.run(Duration::from_secs(2));
    net.assert_empty(0);
}

#[test]
fn who_waits_first_is_served_first() {
    let mut net = Net::new(
        1,
        Plan {
            homes: vec![0, 0, 0, 0],
            ..plan(RelayLimits {
                memory_bytes: MIB,
                job_bytes: Some(MIB),
                party_bytes: Some(MIB),
                window_bytes: MIB,
                ..relay_limits()
            })
        },
    );
    net.run(Duration::from_secs(1));
    net.stop(3);
    // Small ones fill nearly all; then a large one waits, and small ones come behind it.
    for _ in 0..60 {
        net.send(0, 3, "x", large(10_000, 1)).unwrap();
    }
    net.run(Duration::from_secs(1));
    net.send(1, 3, "x", large(400_000, 2)).unwrap();
    net.run(Duration::from_secs(1));
    for _ in 0..60 {
        net.send(2, 3, "x", large(10_000, 3)).unwrap();
    }
    net.run(Duration::from_secs(1));
    assert!(net.stats(0).waiting > 0);
    net.start(3);
    let mut order = Vec::new();
    net.until(5, |net| {
        for from in 0..3 {
            if net.take(3, from, "x", None).is_some() {
                order.push(from);
            }
        }
        order.len() == 121
    });
    let large = order.iter().position(|from| *from == 1).unwrap();
    let behind = order[..large].iter().filter(|from| **from == 2).count();
    assert!(behind < 40, "{behind} have passed it");
}

#[test]
fn there_are_only_so_many_jobs_and_parties() {
    let mut stage = Stage::new(
        RelayLimits {
            jobs: 3,
            jobs_per_party: 2,
            parties_per_job: 3,
            ..relay_limits()
        },
        Access::open(),
    );
    let voice = |name: &str, from, to| {
        let mut voice = Voice::new(from, to);
        voice.job = job(name);
        voice.members = vec![party(from.min(to)), party(from.max(to))];
        voice
    };
    for name in ["one", "two"] {
        stage.hello(&voice(name, 0, 1));
        assert_eq!(stage.refusals(), []);
    }
    stage.hello(&voice("three", 0, 1));
    assert_eq!(stage.refusals(), [Refusal::NoRoom]);
    stage.hello(&voice("three", 2, 3));
    stage.hello(&voice("three", 3, 2));
    stage.hello(&voice("two", 1, 0));
    assert_eq!(stage.refusals(), []);
    stage.hello(&voice("four", 1, 0));
    assert_eq!(stage.refusals(), [Refusal::NoRoom]);
    let mut many = voice("three", 0, 1);
    many.members = (0..4).map(party).collect();
    stage.hello(&many);
    assert_eq!(stage.refusals(), [Refusal::NotAMember]);
    // When jobs are forgotten there is room again.
    for connection in [100, 101, 102, 103] {
        stage.relay.handle_lost(Way::Party(connection));
    }
    stage.pass(Duration::from_secs(7300));
    assert!(stage.is_untouched());
    many.job = job("four");
    stage.hello(&many);
    assert_eq!(stage.refusals(), [Refusal::NoRoom], "too many parties");
    stage.hello(&voice("four", 1, 0));
    assert_eq!(stage.refusals(), []);
}

#[test]
fn channels_are_limited_and_those_of_others_do_not_count() {
    let mut stage = Stage::new(
        RelayLimits {
            channels: 2,
            ..relay_limits()
        },
        Access::open(),
    );
    let (mut first, mut second) = (Voice::new(0, 1), Voice::new(1, 0));
    for voice in [&mut first, &mut second] {
        stage.hello(voice);
        assert!(stage.takes(voice, open(0, "x")));
        assert!(stage.takes(voice, open(1, "y")));
        assert!(stage.takes(voice, open(2, "z")));
        let said = stage.items(voice);
        assert!(said.contains(&Item::Declined { flow: 2, limit: 2 }), "{said:?}");
        let (item, pieces) = data(2, 0, 10);
        assert!(!stage.takes_with(voice, item, pieces));
    }
}

#[test]
fn too_large_a_message_is_refused_by_its_sender_already() {
    let mut net = Net::new(
        1,
        plan(RelayLimits {
            message: 1000,
            ..relay_limits()
        }),
    );
    net.send(0, 1, "x", large(1001, 1)).expect("it is not known yet");
    net.run(Duration::from_secs(1));
    let taken = net.take(1, 0, "x", None).unwrap();
    assert_eq!(taken.letter, None, "its receiver is told that there was one");
    let rejected = net.send(0, 1, "x", large(1001, 1));
    assert_eq!(
        rejected,
        Err(Rejected::TooLarge {
            size: 1001,
            limit: 1000
        })
    );
}

#[test]
fn what_is_known_of_small_messages_fits_into_the_memory() {
    for is_durable in [false, true] {
        let mut net = Net::new(
            1,
            Plan {
                is_durable,
                ..plan(RelayLimits {
                    memory_bytes: MIB,
                    job_bytes: Some(64 * MIB),
                    party_bytes: Some(64 * MIB),
                    ..relay_limits()
                })
            },
        );
        net.run(Duration::from_secs(1));
        net.stop(1);
        for channel in 0..8 {
            for number in 0..800 {
                net.send(0, 1, &channel.to_string(), letter(number)).unwrap();
            }
        }
        net.run(Duration::from_secs(5));
        let held = net.stats(0).jobs[&job("job")].parties[&party(0)].held;
        // Of 512 of a party, a quarter may lie at hand besides.
        assert!((300..=640).contains(&held), "{held}");
        net.start(1);
        let mut got = 0;
        net.until(10, |net| {
            for channel in 0..8 {
                got += u32::from(net.take(1, 0, &channel.to_string(), None).is_some());
            }
            got == 6400
        });
        net.run(Duration::from_secs(5));
        net.assert_empty(0);
    }
}

#[test]
fn one_channel_too_many_is_declined_and_the_others_go_on() {
    // The limit of the server, of the second of two in a row, and of the receiver itself.
    for (homes, channels) in [
        (vec![0, 0], (2, 4096)),
        (vec![0, 1], (4096, 2)),
        (vec![0, 0], (4096, 4096)),
    ] {
        let mut net = Net::new(
            1,
            Plan {
                homes: homes.clone(),
                relay_limits: RelayLimits {
                    channels: channels.0,
                    ..relay_limits()
                },
                ..Plan::default()
            },
        );
        if homes[1] == 1 {
            net.servers[1].setup.limits.channels = channels.1;
            net.restart_server(1);
        }
        if channels == (4096, 4096) {
            net.setups[1].limits.channels = 2;
            net.restart(1);
        }
        for name in ["x", "y", "z"] {
            net.send(0, 1, name, letter(name)).unwrap();
        }
        net.run(Duration::from_secs(3));
        let refused = net.send(0, 1, "z", letter("again"));
        assert_eq!(refused, Err(Rejected::TooManyChannels { limit: 2 }), "{homes:?}");
        for name in ["x", "y"] {
            net.send(0, 1, name, letter("more")).unwrap();
        }
        net.run(Duration::from_secs(3));
        for name in ["x", "y"] {
            for expected in [name, "more"] {
                let taken = net.take(1, 0, name, None).and_then(|taken| text(&taken));
                assert_eq!(taken.as_deref(), Some(expected), "{homes:?}");
            }
        }
        assert_eq!(net.take(1, 0, "z", None), None);
        let mut events = net.servers[0].events.iter();
        let is_told = |event: &RelayEvent| matches!(event, RelayEvent::Declined { limit: 2, .. });
        assert!(events.any(is_told), "{homes:?}");
    }
}

#[test]
fn one_that_was_too_large_for_a_server_not_yet_met_is_told_of_at_both_ends() {
    let mut net = Net::new(
        1,
        Plan {
            relay_limits: RelayLimits {
                message: 1000,
                ..relay_limits()
            },
            ..Plan::default()
        },
    );
    net.send(0, 1, "x", large(2000, 1)).unwrap();
    net.send(0, 1, "x", letter("small")).unwrap();
    net.run(Duration::from_secs(2));
    assert!(net.node(0).peers()[0].has_dropped());
    let (_, flow) = net.node(0).peers()[0].out.iter().next().unwrap();
    assert_eq!((flow.too_large, flow.expired), (1, 0));
    let taken = net.take(1, 0, "x", None).unwrap();
    assert_eq!((taken.offset, taken.letter), (0, None));
    let taken = net.take(1, 0, "x", None).unwrap();
    assert_eq!(text(&taken).as_deref(), Some("small"));
    let refused = net.send(0, 1, "x", large(2000, 1));
    assert_eq!(
        refused,
        Err(Rejected::TooLarge {
            size: 2000,
            limit: 1000
        })
    );
}

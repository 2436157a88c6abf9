//! Those who are not let in, and those who are and do not keep to the rules.

use super::stage::{Stage, Voice, data, nothing, open};
use super::*;
use crate::federation::core::packet::{Content, Item, Refusal};

#[test]
fn a_stranger_leaves_nothing_behind() {
    let mut stage = Stage::new(relay_limits(), Access::default());
    let stranger = Voice::new(0, 1);
    stage.hello(&stranger);
    assert_eq!(stage.refusals(), [Refusal::Unauthorized]);
    assert!(stage.is_untouched());
    // Whatever else he says is not answered.
    stage.say_with(&stranger, Content::Ack { gap: true }, Vec::new());
    assert_eq!((stage.hear().len(), stage.relay.stats().foreign), (0, 1));
    assert!(stage.is_untouched());
}

#[test]
fn who_is_no_member_is_refused_and_takes_no_place() {
    let mut stage = Stage::open();
    stage.hello(&Voice::new(0, 1));
    stage.hear();
    // With the members of the job, and with a list that has him.
    let mut third = Voice::new(2, 1);
    stage.hello(&third);
    assert_eq!(stage.refusals(), [Refusal::NotAMember]);
    third.members.push(party(2));
    stage.hello(&third);
    assert_eq!(stage.refusals(), [Refusal::NotAMember]);
    assert_eq!(stage.relay.members.len(), 2);
    let halves = stage.relay.halves.iter().count();
    assert_eq!(halves, 2);
}

#[test]
fn a_job_id_cannot_be_taken_from_its_members() {
    let listed = [(job("job"), [party(0), party(1)].into())];
    let mut stage = Stage::new(
        relay_limits(),
        Access {
            jobs: listed.into(),
            ..Access::open()
        },
    );
    // Before its members have come.
    let mut thief = Voice::new(2, 3);
    thief.members = vec![party(2), party(3)];
    stage.hello(&thief);
    assert_eq!(stage.refusals(), [Refusal::Unauthorized]);
    // And an open one, when they have.
    let mut stage = Stage::open();
    stage.hello(&Voice::new(0, 1));
    stage.hear();
    stage.hello(&thief);
    assert_eq!(stage.refusals(), [Refusal::NotAMember]);
    let mut other = Voice::new(1, 0);
    other.members.push(party(2));
    stage.hello(&other);
    assert_eq!(stage.refusals(), [Refusal::OtherMembers]);
    stage.hello(&Voice::new(1, 0));
    assert_eq!(stage.refusals(), []);
}

#[test]
fn nobody_speaks_for_another() {
    let mut stage = Stage::open();
    let mut victim = Voice::new(0, 1);
    stage.hello(&victim);
    stage.hear();
    let forger = Voice {
        identity: Some(party(1).to_string()),
        connection: 666,
        ..victim.clone()
    };
    stage.hello(&forger);
    assert_eq!(stage.refusals(), [Refusal::Unauthorized]);
    let abort = Item::Abort {
        by: party(0),
        reason: "forged".to_owned(),
    };
    let content = Content::Items {
        seq: 0,
        items: vec![abort],
    };
    stage.say_with(&forger, content, Vec::new());
    assert!(!stage.relay.stats().jobs[&job("job")].is_aborted);
    assert_eq!(stage.relay.stats().forged, 2);
    let forged = stage.events().into_iter();
    assert_eq!(
        forged
            .filter(|event| matches!(event, RelayEvent::Forged { identity, .. } if identity == "b"))
            .count(),
        2
    );
    assert!(stage.takes(&mut victim, open(0, "x")), "the victim goes on");
}

#[test]
fn an_abort_of_a_stranger_is_none() {
    let mut stage = Stage::open();
    stage.hello(&Voice::new(0, 1));
    let stranger = Voice::new(2, 1);
    let abort = Item::Abort {
        by: party(0),
        reason: "no".to_owned(),
    };
    let content = Content::Items {
        seq: 0,
        items: vec![abort],
    };
    stage.say_with(&stranger, content, Vec::new());
    assert!(!stage.relay.stats().jobs[&job("job")].is_aborted);
    // A member cannot blame it on one who is none.
    let mut member = Voice::new(0, 1);
    let abort = Item::Abort {
        by: party(3),
        reason: "ü".repeat(1000),
    };
    assert!(stage.takes(&mut member, abort));
    let told = stage.events().into_iter().find_map(|event| match event {
        RelayEvent::Aborted { by, reason, .. } => Some((by, reason)),
        _ => None,
    });
    assert_eq!(told, Some((party(0), "ü".repeat(512))));
}

#[test]
fn of_two_processes_with_one_id_the_second_waits_for_the_end_of_the_first() {
    let mut stage = Stage::open();
    let members = vec![party(0), party(1), party(2)];
    let with = |mut voice: Voice| {
        voice.members = members.clone();
        voice
    };
    let first = with(Voice::new(0, 1));
    let first_on_other = with(Voice::new(0, 2));
    stage.hello(&first);
    stage.hello(&first_on_other);
    stage.hear();
    let (second, second_on_other) = (first.again(20), first_on_other.again(20));
    for voice in [&second, &second_on_other] {
        stage.hello(voice);
        assert_eq!(stage.refusals(), [Refusal::InUse]);
    }
    // One half of the first is heard: all of it is alive.
    stage.pass(Duration::from_millis(900));
    stage.say_with(&first_on_other, Content::Ack { gap: false }, Vec::new());
    stage.pass(Duration::from_millis(900));
    stage.hear();
    stage.hello(&second);
    assert_eq!(stage.refusals(), [Refusal::InUse]);
    // Its connection breaks, and the second takes its place on all halves.
    stage.relay.handle_lost(Way::Party(first.connection));
    stage.hello(&second);
    stage.hello(&second_on_other);
    assert_eq!(stage.refusals(), []);
    for voice in [&first, &first_on_other] {
        stage.say_with(voice, Content::Ack { gap: false }, Vec::new());
        assert_eq!(stage.refusals(), [Refusal::Superseded]);
        stage.hello(voice);
        assert_eq!(stage.refusals(), [Refusal::Superseded]);
    }
    let half = stage.half(&second);
    assert!(stage.relay.halves[half].link.is_with(20));
}

#[test]
fn more_than_the_credit_is_not_taken() {
    let mut stage = Stage::open();
    let mut voice = Voice::new(0, 1);
    stage.hello(&voice);
    let (item, pieces) = data(0, 0, 10);
    assert!(
        !stage.takes_with(&mut voice, item.clone(), pieces.clone()),
        "no channel"
    );
    assert!(stage.takes(&mut voice, open(0, "x")));
    let granted = stage.relay.halves[stage.half(&voice)].account.granted;
    assert!(granted > 0 && granted <= 64 << 10, "{granted}");
    let (large, large_pieces) = data(0, 0, granted);
    assert!(!stage.takes_with(&mut voice, large, large_pieces));
    assert!(stage.takes_with(&mut voice, item, pieces));
    // It is for whole messages that it must ask, and not for all there is.
    let granted = stage.relay.halves[stage.half(&voice)].account.granted;
    for total in [u64::MAX, 1 << 40] {
        stage.takes(&mut voice, Item::Want { total });
        assert_eq!(stage.relay.halves[stage.half(&voice)].account.granted, granted);
    }
    assert!(stage.takes(&mut voice, Item::Want { total: 1 << 20 }));
    assert!(stage.relay.halves[stage.half(&voice)].account.granted >= 1 << 20);
    let wrong = stage.events().into_iter();
    let wrong = wrong.filter(|event| matches!(event, RelayEvent::Wrong { .. }));
    assert_eq!(wrong.count(), 4);
}

#[test]
fn a_million_offsets_of_nothing_find_an_end() {
    let limits = RelayLimits {
        memory_bytes: 1 << 20,
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let mut voice = Voice::new(0, 1);
    stage.hello(&voice);
    assert!(stage.takes(&mut voice, open(0, "x")));
    let taken = (0..1_000_000_u64)
        .take_while(|number| stage.takes(&mut voice, nothing(0, number * 1000)))
        .count();
    assert!(taken < 10_000, "{taken}");
    let stats = stage.relay.stats();
    assert!(stats.held_bytes + stats.granted_bytes <= 1 << 20, "{stats:?}");
    // Channels have an end, too.
    let count = |stage: &mut Stage, voice: &mut Voice| {
        let is_open = |stage: &Stage, voice: &Voice, number: u32| {
            let half = &stage.relay.halves[stage.half(voice)];
            half.incoming.contains(u64::from(number))
        };
        let mut channels = 1..10_000;
        channels.position(|number| {
            let is_taken = stage.takes(voice, open(number, &number.to_string()));
            !is_taken || !is_open(stage, voice, number)
        })
    };
    assert_eq!(
        count(&mut stage, &mut voice),
        Some(122),
        "an eighth of the memory"
    );
    let mut stage = Stage::open();
    let mut voice = Voice::new(0, 1);
    stage.hello(&voice);
    assert_eq!(count(&mut stage, &mut voice), Some(4096));
    // And so have offsets.
    let mut stage = Stage::open();
    let mut voice = Voice::new(0, 1);
    stage.hello(&voice);
    for first in [u64::MAX, 1 << 62] {
        let far = Item::Open {
            flow: 0,
            key: key("x"),
            from: Some((1, first)),
        };
        assert!(!stage.takes(&mut voice, far));
    }
    let far = Item::Open {
        flow: 0,
        key: key("x"),
        from: Some((1, (1 << 62) - 1)),
    };
    assert!(stage.takes(&mut voice, far));
    assert!(!stage.takes(&mut voice, nothing(0, 1 << 62)));
    assert!(stage.takes(&mut voice, nothing(0, (1 << 62) - 1)));
}

#[test]
fn who_acknowledges_nothing_is_heard_no_more() {
    let mut stage = Stage::open();
    let mut voice = Voice::new(0, 1);
    stage.hello(&voice);
    assert!(stage.takes(&mut voice, open(0, "x")));
    // Each is answered at once: it was given up by its sender.
    let taken = (0..1_000_000)
        .take_while(|number| {
            let total = stage.relay.halves[stage.half(&voice)].account.granted + 1000;
            stage.takes(&mut voice, Item::Want { total }) && stage.takes(&mut voice, nothing(0, *number))
        })
        .count();
    assert!(taken <= 20_000, "{taken}");
    let half = stage.half(&voice);
    assert!(stage.relay.halves[half].link.queued().0 <= (1 << 14) + 10);
}

#[test]
fn what_was_never_sent_cannot_be_settled() {
    let mut stage = Stage::open();
    let (mut sender, mut receiver) = (Voice::new(0, 1), Voice::new(1, 0));
    stage.hello(&sender);
    assert!(stage.takes(&mut sender, open(0, "x")));
    let (item, pieces) = data(0, 0, 10);
    assert!(stage.takes_with(&mut sender, item, pieces));
    let settled = |offset| Item::Settled {
        flow: 0,
        offset,
        expired: false,
    };
    stage.hello(&receiver);
    assert!(
        !stage.takes(&mut receiver, settled(0)),
        "it was told of no channel"
    );
    let opened = |epoch, next, held| Item::Opened {
        flow: 0,
        epoch,
        next,
        held,
    };
    assert!(
        !stage.takes(&mut receiver, opened(0, 0, Vec::new())),
        "of which it is asked"
    );
    let items = stage.items(&mut receiver);
    let Some(Item::Open {
        from: Some((epoch, 0)),
        ..
    }) = items.iter().find(|item| matches!(item, Item::Open { .. }))
    else {
        panic!("{items:?}");
    };
    let epoch = *epoch;
    assert!(!stage.takes(&mut receiver, opened(epoch + 1, 0, Vec::new())));
    assert!(!stage.takes(&mut receiver, opened(epoch, (1 << 62) + 1, Vec::new())));
    assert!(!stage.takes(&mut receiver, opened(epoch, 0, vec![0])));
    assert!(stage.takes(&mut receiver, opened(epoch, 0, Vec::new())));
    assert!(
        !stage.takes(&mut receiver, opened(epoch, 0, Vec::new())),
        "once only"
    );
    stage.takes(&mut receiver, settled(0));
    assert_eq!(stage.relay.stats().jobs[&job("job")].parties[&party(0)].held, 1);
    stage.items(&mut receiver);
    for offset in [1, 1 << 40, u64::MAX] {
        stage.takes(&mut receiver, settled(offset));
    }
    assert_eq!(stage.relay.stats().jobs[&job("job")].parties[&party(0)].held, 1);
    assert!(stage.takes(&mut receiver, settled(0)), "it was sent by now");
    assert_eq!(stage.relay.stats().held_bytes, 0);
    assert!(stage.relay.stats().jobs[&job("job")].parties[&party(1)].wrong >= 5);
}

#[test]
fn pieces_that_do_not_fit_are_not_taken() {
    let mut stage = Stage::open();
    let mut voice = Voice::new(0, 1);
    stage.hello(&voice);
    assert!(stage.takes(&mut voice, open(0, "x")));
    let piece = |at, parts: Vec<u64>, sizes: &[usize]| {
        let (item, _) = data(0, 0, 1);
        let Item::Data(mut data) = item else {
            unreachable!();
        };
        (data.at, data.parts) = (at, parts.into());
        data.pieces = u16::try_from(sizes.len()).unwrap();
        let pieces = sizes.iter().map(|size| Bytes::from(vec![0; *size]));
        (Item::Data(data), pieces.collect::<Vec<_>>())
    };
    for (at, parts, sizes) in [
        (5, vec![], &[1][..]),
        (0, vec![], &[]),
        (0, vec![10], &[]),
        (0, vec![10], &[11]),
        (0, vec![10, 10], &[11]),
        (0, vec![10], &[5, 6]),
        (0, vec![10], &[0, 5]),
        (0, vec![u64::MAX, 2], &[1]),
        (0, vec![1 << 31], &[1]),
    ] {
        let (item, pieces) = piece(at, parts.clone(), sizes);
        assert!(
            !stage.takes_with(&mut voice, item, pieces),
            "{at} {parts:?} {sizes:?}"
        );
    }
    let (item, pieces) = piece(0, vec![10, 0, 10], &[10]);
    assert!(stage.takes_with(&mut voice, item, pieces));
    for (at, sizes) in [(11, &[1][..]), (10, &[11]), (10, &[])] {
        let (item, pieces) = piece(at, vec![], sizes);
        assert!(!stage.takes_with(&mut voice, item, pieces), "{at} {sizes:?}");
    }
    // What was announced is not what takes memory.
    assert!(stage.relay.stats().memory_bytes <= 10);
    let (item, pieces) = piece(10, vec![], &[10]);
    assert!(stage.takes_with(&mut voice, item, pieces));
    assert_eq!(stage.relay.stats().memory_bytes, 20);
}

#[test]
fn any_bytes_do_no_harm() {
    with_seeds(50, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut stage = Stage::open();
        let mut voices = [Voice::new(0, 1), Voice::new(1, 0)];
        voices.iter().for_each(|voice| stage.hello(voice));
        for _ in 0..400 {
            let voice = &mut voices[random.usize(0..2)];
            let number = |random: &mut fastrand::Rng| match random.u32(0..4) {
                0 => random.u64(..),
                1 => u64::MAX - random.u64(0..3),
                _ => random.u64(0..4),
            };
            let flow = random.u32(0..3);
            let item = match random.u32(0..12) {
                0 => open(flow, ["x", "y", "z"][random.usize(0..3)]),
                1 => Item::Open {
                    flow,
                    key: key(["x", "y", "z"][random.usize(0..3)]),
                    from: Some((random.u64(0..2), number(&mut random))),
                },
                2 => Item::Opened {
                    flow,
                    epoch: number(&mut random),
                    next: number(&mut random),
                    held: vec![number(&mut random)],
                },
                3 => Item::Settled {
                    flow,
                    offset: number(&mut random),
                    expired: random.bool(),
                },
                4 => Item::Credit {
                    total: number(&mut random),
                },
                5 => Item::Want {
                    total: number(&mut random),
                },
                6 => Item::Rewind {
                    flow,
                    offset: number(&mut random),
                },
                7 => Item::Seen { is_up: random.bool() },
                8 => Item::Leave,
                9 => Item::Declined { flow, limit: 7 },
                10 => nothing(flow, number(&mut random)),
                _ => data(flow, number(&mut random), random.u64(1..50)).0,
            };
            let pieces = match &item {
                Item::Data(data) if data.pieces > 0 => {
                    let len = usize::try_from(data.parts[0]).unwrap();
                    vec![Bytes::from(vec![0; len])]
                }
                _ => Vec::new(),
            };
            stage.takes_with(voice, item, pieces);
            match random.u32(0..20) {
                0 => {
                    let again = voice.again(random.u64(1000..2000));
                    stage.relay.handle_lost(Way::Party(voice.connection));
                    *voice = again;
                    stage.hello(voice);
                }
                1 => stage.pass(Duration::from_millis(random.u64(0..2000))),
                2..8 => {
                    let mut copy = voice.clone();
                    stage.items(&mut copy);
                    voice.ack = copy.ack;
                }
                _ => {}
            }
        }
        let stats = stage.relay.stats();
        let held: u64 = stats.jobs[&job("job")]
            .parties
            .values()
            .map(|party| party.held_bytes)
            .sum();
        assert_eq!(stats.held_bytes, held, "all accounts add up");
    });
}

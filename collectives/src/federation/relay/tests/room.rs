//! The room that jobs, pairs and channels take beside their messages: who gets some in any case, and when it is free again.

use super::super::relay::Relay;
use super::stage::{Stage, Voice, data, open};
use super::*;
use crate::federation::core::packet::{Item, Refusal};

fn small() -> RelayLimits {
    RelayLimits {
        memory_bytes: 1 << 20,
        ..relay_limits()
    }
}

/// How many channels are opened, of 1,000.
fn opens(stage: &mut Stage, voice: &mut Voice) -> u32 {
    let mut count = 0;
    while count < 1000 && stage.takes(voice, open(count, &count.to_string())) {
        stage.items(voice);
        count += 1;
    }
    count
}

/// Somebody in a job of this name, on a connection of his own.
fn voice(name: &str, from: usize, to: usize, connection: u64) -> Voice {
    Voice {
        job: job(name),
        connection,
        ..Voice::new(from, to)
    }
}

fn abort(stage: &mut Stage, voice: &mut Voice) {
    let (by, reason) = (voice.from.clone(), "enough".to_owned());
    assert!(stage.takes(voice, Item::Abort { by, reason }));
}

fn count_halves(relay: &Relay) -> usize {
    relay.halves.iter().count()
}

#[test]
fn the_first_channels_are_opened_whatever_there_is() {
    let mut stage = Stage::new(small(), Access::open());
    let (mut one, mut two) = (voice("one", 0, 1, 100), voice("two", 0, 1, 200));
    stage.hello(&one);
    stage.hello(&two);
    // One job takes all that there is for its party.
    let count = opens(&mut stage, &mut one);
    assert!((50..200).contains(&count), "{count}");
    let is_full = |event: &RelayEvent| {
        matches!(
            event,
            RelayEvent::Full {
                quota: QuotaKind::Party,
                ..
            }
        )
    };
    assert!(stage.events().iter().any(is_full));
    // Nothing that comes behind the opening of a channel waits for another job.
    assert_eq!(opens(&mut stage, &mut two), 16);
    assert!(stage.events().iter().any(is_full));
}

#[test]
fn the_channels_of_an_aborted_job_go_at_once() {
    let mut stage = Stage::new(small(), Access::open());
    let (mut one, mut two) = (voice("one", 0, 1, 100), voice("two", 0, 1, 200));
    stage.hello(&one);
    stage.hello(&two);
    let count = opens(&mut stage, &mut one);
    abort(&mut stage, &mut one);
    // It says what it had to say before it heard of it, and nobody minds.
    let (item, pieces) = data(0, 0, 10);
    assert!(stage.takes_with(&mut one, item, pieces));
    assert!(stage.takes(&mut one, open(count, "late")));
    assert!(stage.takes(&mut one, Item::Want { total: 1 << 30 }));
    assert_eq!(opens(&mut stage, &mut two), count);
    assert_eq!(stage.relay.stats().jobs[&two.job].parties[&two.from].wrong, 0);
}

#[test]
fn a_job_that_has_ended_makes_room_when_there_is_none() {
    let mut stage = Stage::new(small(), Access::open());
    let mut one = [voice("one", 0, 1, 100), voice("one", 1, 0, 101)];
    let mut two = voice("two", 0, 1, 200);
    for voice in one.iter().chain([&two]) {
        stage.hello(voice);
    }
    let count = opens(&mut stage, &mut one[0]);
    for voice in &mut one {
        assert!(stage.takes(voice, Item::Leave));
        stage.relay.handle_lost(Way::Party(voice.connection));
    }
    assert_eq!(
        stage.relay.stats().jobs.len(),
        2,
        "it is there while there is room"
    );
    // There was none when it was looked for last.
    stage.pass(Duration::from_millis(200));
    assert!(opens(&mut stage, &mut two) >= count);
    assert_eq!(stage.relay.stats().jobs.len(), 1);
}

#[test]
fn of_an_aborted_job_only_that_is_left_for_those_who_come_later() {
    let plan = Plan {
        homes: vec![0, 0, 0],
        ..Plan::default()
    };
    let mut net = Net::new(1, plan);
    net.run(Duration::from_secs(2));
    assert!(net.nodes.iter().flatten().all(Node::is_ready));
    net.cut(2);
    net.node(0).abort(party(0), "enough".to_owned());
    net.run(Duration::from_secs(1));
    net.stop(0);
    assert!(count_halves(&net.servers[0].relay) > 0, "b is there");
    net.stop(1);
    net.run(Duration::from_secs(5));
    assert_eq!(count_halves(&net.servers[0].relay), 0);
    let members = &net.servers[0].relay.members;
    assert!(members.values().all(|member| member.joined == 0));
    // The same process, and another one.
    for index in [2, 0] {
        if index == 2 {
            net.connect(2);
        } else {
            net.start(0);
        }
        net.run(Duration::from_secs(3));
        let told = net.node(index).check(None).unwrap_err().to_string();
        assert_eq!(told, "a has aborted the job: enough");
        net.stop(index);
        net.run(Duration::from_secs(5));
        assert_eq!(count_halves(&net.servers[0].relay), 0);
    }
}

#[test]
fn an_abort_reaches_who_comes_later_by_another_server() {
    let plan = Plan {
        homes: vec![0, 1],
        ..Plan::default()
    };
    let mut net = Net::new(1, plan);
    net.run(Duration::from_secs(2));
    net.cut(1);
    net.node(0).abort(party(0), "enough".to_owned());
    net.run(Duration::from_secs(1));
    net.stop(0);
    net.run(Duration::from_secs(10));
    for server in &net.servers {
        assert_eq!(count_halves(&server.relay), 0);
        let mut parties = server.relay.jobs.iter().flat_map(|(_, job)| &job.parties);
        assert!(parties.all(|party| party.present == 0), "nobody hears them");
    }
    net.connect(1);
    net.run(Duration::from_secs(3));
    let told = net.node(1).check(None).unwrap_err().to_string();
    assert_eq!(told, "a has aborted the job: enough");
}

#[test]
fn jobs_that_are_over_make_room_for_others() {
    let limits = RelayLimits {
        jobs: 2,
        jobs_per_party: 2,
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let mut one = voice("one", 0, 1, 100);
    let mut two = [voice("two", 0, 1, 200), voice("two", 1, 0, 201)];
    let (three, four) = (voice("three", 0, 1, 300), voice("four", 0, 1, 400));
    for voice in [&one, &two[0], &two[1]] {
        stage.hello(voice);
    }
    stage.hello(&three);
    assert_eq!(stage.refusals(), [Refusal::NoRoom]);
    // One was aborted, and nobody of it is there.
    abort(&mut stage, &mut one);
    stage.hello(&three);
    assert_eq!(stage.refusals(), [Refusal::NoRoom], "{} is there", one.from);
    stage.relay.handle_lost(Way::Party(one.connection));
    stage.pass(Duration::from_secs(3));
    for voice in [&two[0], &two[1]] {
        stage.hello(voice);
    }
    stage.hello(&three);
    assert_eq!(stage.refusals(), []);
    assert!(!stage.relay.job_ids.contains_key(&one.job));
    // All have left the other.
    stage.hello(&four);
    assert_eq!(stage.refusals(), [Refusal::NoRoom]);
    for voice in &mut two {
        assert!(stage.takes(voice, Item::Leave));
        stage.relay.handle_lost(Way::Party(voice.connection));
    }
    stage.pass(Duration::from_secs(1));
    stage.hello(&four);
    assert_eq!(stage.refusals(), []);
    assert!(!stage.relay.job_ids.contains_key(&two[0].job));
}

#[test]
fn an_aborted_job_takes_no_room_after_a_restart() {
    let mut net = Net::new(
        1,
        Plan {
            is_durable: true,
            relay_limits: RelayLimits {
                jobs: 1,
                ..relay_limits()
            },
            ..Plan::default()
        },
    );
    net.run(Duration::from_secs(2));
    net.send(0, 1, "x", letter("hello")).unwrap();
    net.run(Duration::from_secs(1));
    net.node(0).abort(party(0), "enough".to_owned());
    for index in [0, 1] {
        net.run(Duration::from_secs(1));
        net.node(index).leave();
        net.until(1, |net| net.node(index).is_done());
        net.stop(index);
    }
    let mut rows = Vec::new();
    let store = net.servers[0].store.as_ref().unwrap();
    store.show(&mut |record| rows.push(record));
    assert!(
        matches!(&rows[..], [Record::Job { aborted: Some(_), .. }]),
        "{rows:?}"
    );
    net.restart_server(0);
    assert_eq!(count_halves(&net.servers[0].relay), 0);
    net.setups.iter_mut().for_each(|setup| setup.job = job("other"));
    net.start(0);
    net.run(Duration::from_secs(1));
    assert!(net.node(0).peers()[0].link.is_up(), "there is room for it");
}

#[test]
fn the_rows_of_an_aborted_job_take_no_room() {
    let mut stage = Stage::open();
    let (from, to) = (party(0), party(1));
    stage.relay.restore(Record::Job {
        job: job("job"),
        members: vec![from.clone(), to.clone()],
        aborted: Some((from.clone(), "enough".to_owned())),
    });
    // As servers before this one have left them.
    stage.relay.restore(Record::Pair {
        job: job("job"),
        from,
        to,
        ready: true,
        left: true,
    });
    assert_eq!(count_halves(&stage.relay), 0);
    stage.pass(stage.relay.limits.aborted * 2);
    assert!(stage.is_untouched(), "it is forgotten in its time");
}

#[test]
fn one_party_at_its_bound_keeps_nobody_from_room() {
    let limits = RelayLimits {
        jobs: 2,
        jobs_per_party: 1,
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let one = voice("one", 0, 1, 100);
    let mut two = Voice {
        members: vec![party(0), party(2)],
        ..voice("two", 2, 0, 200)
    };
    let again = Voice {
        members: two.members.clone(),
        ..voice("two", 0, 2, 300)
    };
    let three = Voice {
        members: vec![party(2), party(3)],
        ..voice("three", 3, 2, 400)
    };
    stage.hello(&one);
    stage.hello(&two);
    stage.hello(&three);
    assert_eq!(stage.refusals(), [Refusal::NoRoom]);
    // One comes again and again for a job that it may not have.
    let asks = |stage: &mut Stage| {
        for _ in 0..10 {
            stage.pass(Duration::from_millis(50));
            stage.hello(&one);
            stage.hello(&again);
            assert_eq!(stage.refusals(), [Refusal::NoRoom]);
        }
    };
    asks(&mut stage);
    abort(&mut stage, &mut two);
    stage.relay.handle_lost(Way::Party(two.connection));
    for _ in 0..6 {
        asks(&mut stage);
    }
    stage.hello(&three);
    assert_eq!(stage.refusals(), []);
    assert!(!stage.relay.job_ids.contains_key(&two.job));
}

#[test]
fn a_job_is_not_over_before_its_parties_know_what_has_its_end() {
    let limits = RelayLimits {
        jobs: 1,
        ..relay_limits()
    };
    let mut stage = Stage::new(limits, Access::open());
    let (mut one, mut two) = (Voice::new(0, 1), Voice::new(1, 0));
    let other = voice("other", 0, 1, 300);
    stage.hello(&one);
    stage.hello(&two);
    assert!(stage.takes(&mut one, open(0, "x")));
    stage.items(&mut one);
    let (item, pieces) = data(0, 0, 10);
    assert!(stage.takes_with(&mut one, item, pieces));
    let items = stage.items(&mut two);
    let opening = items.iter().find_map(|item| match item {
        Item::Open { flow, from, .. } => Some((*flow, from.unwrap())),
        _ => None,
    });
    let (flow, (epoch, offset)) = opening.unwrap();
    let opened = Item::Opened {
        flow,
        epoch,
        next: offset,
        held: Vec::new(),
    };
    assert!(stage.takes(&mut two, opened));
    assert!(
        stage
            .items(&mut two)
            .iter()
            .any(|item| matches!(item, Item::Data(_)))
    );
    assert!(stage.takes(&mut one, Item::Leave));
    let expired = false;
    let settled = Item::Settled {
        flow,
        offset,
        expired,
    };
    assert!(stage.takes(&mut two, settled));
    assert!(stage.takes(&mut two, Item::Leave));
    // The connection of the sender breaks before it hears that its message was received.
    for voice in [&one, &two] {
        stage.relay.handle_lost(Way::Party(voice.connection));
    }
    stage.pass(Duration::from_millis(500));
    stage.hello(&other);
    assert_eq!(stage.refusals(), [Refusal::NoRoom]);
    // It comes back, and hears it.
    one.connection += 1;
    stage.hello(&one);
    let items = stage.items(&mut one);
    assert!(
        items.iter().any(|item| matches!(item, Item::Settled { .. })),
        "{items:?}"
    );
    stage.relay.handle_lost(Way::Party(one.connection));
    stage.pass(Duration::from_millis(500));
    stage.hello(&other);
    assert_eq!(stage.refusals(), []);
    assert!(!stage.relay.job_ids.contains_key(&one.job));
}

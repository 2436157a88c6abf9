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

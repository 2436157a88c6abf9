//! A rank's part of the protocol, with a clock that the tests move.

use super::*;

const BEAT: Duration = Duration::from_millis(200);
const DEAD: Duration = Duration::from_secs(2);

struct Rank {
    attendant: Attendant,
    now: Instant,
}

impl Rank {
    /// In epoch 1 with two others; its own id is 0.
    fn new() -> Self {
        let now = Instant::now();
        let mut rank = Rank {
            attendant: Attendant::new(now, BEAT, DEAD),
            now,
        };
        rank.enter(1, &[0, 1, 2]);
        rank
    }

    fn enter(&mut self, number: u32, ids: &[u32]) {
        let members: Vec<_> = ids
            .iter()
            .map(|id| Entry {
                id: *id,
                name: String::new(),
                endpoint: String::new(),
            })
            .collect();
        let entered = Event::Epoch {
            number,
            members: members.clone(),
        };
        self.attendant
            .handle_notice(self.now, Notice::Epoch { number, members });
        assert_eq!(self.events(), [entered]);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.attendant.poll_event()).collect()
    }

    fn requests(&mut self) -> Vec<Request> {
        let mut requests: Vec<_> = std::iter::from_fn(|| self.attendant.poll_request()).collect();
        requests.retain(|request| *request != Request::Beat);
        requests
    }

    fn pass(&mut self, time: Duration, server_beats: bool) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.attendant.poll_timeout().clamp(self.now, end);
            if server_beats {
                self.attendant.handle_notice(self.now, Notice::Beat);
            }
            self.attendant.handle_timeout(self.now);
        }
    }
}

#[test]
fn it_beats() {
    let mut rank = Rank::new();
    rank.pass(5 * BEAT, true);
    let beats = std::iter::from_fn(|| rank.attendant.poll_request()).count();
    assert_eq!(beats, 5);
    assert_eq!(rank.events(), []);
}

#[test]
fn a_silent_server_is_lost() {
    let mut rank = Rank::new();
    rank.pass(DEAD - BEAT, false);
    assert_eq!(rank.events(), []);
    rank.pass(BEAT, false);
    assert_eq!(rank.events(), [Event::Lost(Loss::Server)]);
    rank.attendant.handle_closed();
    assert_eq!(rank.events(), [], "once");
}

#[test]
fn a_server_is_not_lost_because_the_rank_stood_still() {
    let mut rank = Rank::new();
    rank.pass(BEAT, true);
    rank.now += 10 * DEAD;
    rank.attendant.handle_timeout(rank.now);
    assert_eq!(rank.events(), []);
}

#[test]
fn an_ended_connection_is_the_end() {
    let mut rank = Rank::new();
    rank.attendant.handle_closed();
    assert_eq!(rank.events(), [Event::Lost(Loss::Server)]);
    let mut rank = Rank::new();
    rank.attendant.handle_notice(rank.now, Notice::Expelled);
    rank.attendant.handle_closed();
    assert_eq!(rank.events(), [Event::Lost(Loss::Expelled)]);
}

#[test]
fn the_first_verdict_counts() {
    let mut rank = Rank::new();
    for (epoch, ranks) in [(9, vec![1]), (1, vec![2]), (1, vec![1, 2])] {
        rank.attendant
            .handle_notice(rank.now, Notice::Failed { epoch, ranks });
    }
    let failed = Event::Failed {
        epoch: 1,
        ranks: vec![2],
    };
    assert_eq!(rank.events(), [failed]);
}

#[test]
fn a_suspicion_is_told_once_and_decided_by_the_server() {
    let mut rank = Rank::new();
    rank.attendant.suspect(rank.now, 2);
    rank.attendant.suspect(rank.now, 2);
    rank.attendant.suspect(rank.now, 99);
    assert_eq!(rank.requests(), [Request::Suspect { epoch: 1, id: 2 }]);
    rank.attendant.handle_notice(rank.now, Notice::Left { id: 2 });
    rank.pass(2 * DEAD, true);
    assert_eq!(rank.events(), [Event::Left { id: 2 }]);
}

#[test]
fn without_a_verdict_the_rank_decides_in_time() {
    let mut rank = Rank::new();
    rank.attendant.suspect(rank.now, 2);
    rank.pass(DEAD, true);
    assert_eq!(rank.events(), []);
    rank.pass(Duration::from_millis(500), true);
    let failed = Event::Failed {
        epoch: 1,
        ranks: vec![2],
    };
    assert_eq!(rank.events(), [failed]);
}

#[test]
fn a_new_epoch_knows_no_suspicions() {
    let mut rank = Rank::new();
    rank.attendant.suspect(rank.now, 2);
    rank.enter(2, &[0, 1]);
    rank.pass(2 * DEAD, true);
    assert_eq!(rank.events(), []);
}

#[test]
fn absurd_times_of_a_server_are_bounded() {
    let now = Instant::now();
    for (heartbeat, dead_after) in [
        (Duration::ZERO, Duration::ZERO),
        (Duration::from_micros(u64::MAX), Duration::from_micros(u64::MAX)),
    ] {
        let mut attendant = Attendant::new(now, heartbeat, dead_after);
        let due = attendant.poll_timeout();
        assert!(due > now && due <= now + Duration::from_secs(60 * 60));
        attendant.suspect(now, 1);
        attendant.handle_timeout(due);
    }
}

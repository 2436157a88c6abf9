//! The server's part of the protocol, with a clock that the tests move.

use super::*;

const BEAT: Duration = Duration::from_millis(200);
const DEAD: Duration = Duration::from_secs(2);

struct Court {
    registrar: Registrar,
    now: Instant,
    told: HashMap<LineId, Vec<Notice>>,
    closed: Vec<LineId>,
}

impl Court {
    fn new(size: Option<u32>) -> Self {
        let now = Instant::now();
        Court {
            registrar: Registrar::new(now, 7, "inproc", size, BEAT, DEAD),
            now,
            told: HashMap::new(),
            closed: Vec::new(),
        }
    }

    fn collect(&mut self) {
        while let Some(effect) = self.registrar.poll_effect() {
            match effect {
                Effect::Send(line, notice) => {
                    assert!(!self.closed.contains(&line), "{notice:?} after the end");
                    self.told.entry(line).or_default().push(notice);
                }
                Effect::Close(line) => self.closed.push(line),
            }
        }
    }

    /// A rank joins on a line; the id that it gets, or why not.
    fn join(&mut self, line: LineId, size: Option<u32>, rank: Option<u32>) -> Result<u32, Refusal> {
        self.apply(line, size, rank, format!("inproc://{line}"))
    }

    fn apply(
        &mut self,
        line: LineId,
        size: Option<u32>,
        rank: Option<u32>,
        endpoint: String,
    ) -> Result<u32, Refusal> {
        let application = Application {
            size,
            rank,
            name: format!("rank on line {line}"),
            endpoint,
        };
        self.registrar.handle_join(self.now, line, application);
        self.collect();
        match self.told.entry(line).or_default().remove(0) {
            Notice::Welcome { id, session: 7, .. } => Ok(id),
            Notice::Refused(refusal) => {
                assert!(self.closed.contains(&line));
                Err(refusal)
            }
            other => panic!("{other:?}"),
        }
    }

    fn request(&mut self, line: LineId, request: &Request) {
        self.registrar.handle_request(self.now, line, request);
        self.collect();
    }

    fn close(&mut self, line: LineId) {
        self.registrar.handle_closed(line);
        self.collect();
    }

    /// Lets time pass while the ranks on these lines go on to beat.
    fn pass(&mut self, time: Duration, beating: &[LineId]) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.registrar.poll_timeout().clamp(self.now, end);
            for line in beating {
                self.registrar.handle_request(self.now, *line, &Request::Beat);
            }
            self.registrar.handle_timeout(self.now);
            self.collect();
        }
    }

    /// Whether a line was told just this.
    fn assert_told(&mut self, line: LineId, notice: &Notice) {
        assert_eq!(self.told(line), std::slice::from_ref(notice), "line {line}");
    }

    /// What a line was told since it was last asked for, beats left out.
    fn told(&mut self, line: LineId) -> Vec<Notice> {
        let mut told = self.told.remove(&line).unwrap_or_default();
        told.retain(|notice| *notice != Notice::Beat);
        told
    }

    /// The epoch that a line was told of, and nothing else: number and ids by rank.
    fn epoch(&mut self, line: LineId) -> (u32, Vec<u32>) {
        match &self.told(line)[..] {
            [Notice::Epoch { number, members }] => {
                (*number, members.iter().map(|member| member.id).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    /// As many ranks as the first epoch has, which has begun.
    fn session(size: u32) -> Self {
        let mut court = Court::new(Some(size));
        for line in 0..u64::from(size) {
            court.join(line, None, None).unwrap();
        }
        for line in 0..u64::from(size) {
            assert_eq!(court.epoch(line), (1, (0..size).collect()));
        }
        court
    }
}

#[test]
fn an_epoch_begins_when_all_are_in() {
    let mut court = Court::new(Some(3));
    assert_eq!(court.join(10, None, Some(2)), Ok(0));
    assert_eq!(court.join(11, Some(3), None), Ok(1));
    assert_eq!(court.told(10), []);
    assert_eq!(court.join(12, None, None), Ok(2));
    for line in 10..13 {
        assert_eq!(court.epoch(line), (1, vec![1, 2, 0]), "who wants a rank has it");
    }
}

#[test]
fn who_says_nothing_begins_alone() {
    let mut court = Court::new(None);
    court.join(1, None, None).unwrap();
    assert_eq!(court.epoch(1), (1, vec![0]));
    court.join(2, None, None).unwrap();
    assert_eq!(court.told(2), [], "the next one waits");
}

#[test]
fn refusals_say_why_and_change_nothing() {
    let mut court = Court::new(None);
    court.join(1, Some(2), Some(1)).unwrap();
    assert_eq!(
        court.join(2, Some(2), Some(1)),
        Err(Refusal::RankTaken { rank: 1 })
    );
    assert_eq!(
        court.join(3, None, Some(2)),
        Err(Refusal::RankOutOfRange { rank: 2, size: 2 })
    );
    assert_eq!(
        court.join(4, Some(3), None),
        Err(Refusal::SizeMismatch {
            wanted: 3,
            expected: 2
        })
    );
    assert_eq!(Court::new(None).join(1, Some(0), None), Err(Refusal::Malformed));
    court.join(5, None, None).unwrap();
    assert_eq!(court.epoch(1), (1, vec![1, 0]));
    for line in 2..MAX_RANKS as u64 {
        court.join(100 + line, None, None).unwrap();
    }
    assert_eq!(
        court.join(99, None, None),
        Err(Refusal::Full {
            limit: MAX_RANKS as u32
        })
    );
}

#[test]
fn a_rank_that_dies_before_the_beginning_makes_room() {
    let mut court = Court::new(Some(2));
    court.join(1, None, Some(0)).unwrap();
    court.close(1);
    court.join(2, None, Some(0)).unwrap();
    court.join(3, None, None).unwrap();
    assert_eq!(court.epoch(2), (1, vec![1, 2]));
}

#[test]
fn a_death_is_told_to_all_survivors_once() {
    let mut court = Court::session(4);
    court.close(2);
    let failed = Notice::Failed {
        epoch: 1,
        ranks: vec![2],
    };
    for line in [0, 1, 3] {
        court.assert_told(line, &failed);
    }
    court.close(0);
    assert_eq!(court.told(1), [], "the outcome of an epoch does not change");
    court.request(1, &Request::Advance { epoch: 1 });
    court.request(1, &Request::Advance { epoch: 1 });
    assert_eq!(court.told(1), []);
    court.request(3, &Request::Advance { epoch: 1 });
    assert_eq!(court.epoch(1), (2, vec![1, 3]));
    court.close(3);
    let failed = Notice::Failed {
        epoch: 2,
        ranks: vec![1],
    };
    assert_eq!(court.told(1), [failed]);
}

#[test]
fn the_silent_are_given_up_together() {
    let mut court = Court::session(4);
    court.pass(DEAD - BEAT, &[0, 3]);
    assert_eq!(court.told(0), []);
    court.pass(2 * BEAT, &[0, 3]);
    let failed = Notice::Failed {
        epoch: 1,
        ranks: vec![1, 2],
    };
    court.assert_told(0, &failed);
    court.assert_told(3, &failed);
    assert_eq!(court.told(1), [Notice::Expelled]);
    assert_eq!(court.closed, [1, 2]);
}

#[test]
fn nobody_dies_because_the_server_stood_still() {
    let mut court = Court::session(2);
    court.pass(BEAT, &[0, 1]);
    court.now += 10 * DEAD;
    court.registrar.handle_timeout(court.now);
    court.collect();
    assert_eq!(court.closed, [] as [LineId; 0]);
    court.pass(DEAD + BEAT, &[1]);
    assert_eq!(court.closed, [0], "but it is alive again");
}

#[test]
fn who_leaves_is_not_dead() {
    let mut court = Court::session(3);
    court.request(1, &Request::Leave);
    assert_eq!(court.told(1), [Notice::Goodbye]);
    assert_eq!(court.closed, [1]);
    court.close(1);
    for line in [0, 2] {
        assert_eq!(court.told(line), [Notice::Left { id: 1 }]);
        court.request(line, &Request::Advance { epoch: 1 });
    }
    assert_eq!(court.epoch(2), (2, vec![0, 2]));
}

#[test]
fn the_last_one_that_is_waited_for_may_leave_or_die() {
    for dies in [true, false] {
        let mut court = Court::session(2);
        court.request(0, &Request::Advance { epoch: 1 });
        match dies {
            true => court.close(1),
            false => court.request(1, &Request::Leave),
        }
        assert!(matches!(
            &court.told(0)[..],
            [_, Notice::Epoch { number: 2, members }] if members.len() == 1
        ));
    }
}

#[test]
fn who_comes_late_is_in_the_next_epoch() {
    let mut court = Court::session(2);
    assert_eq!(court.join(9, Some(2), Some(0)), Ok(2));
    court.request(1, &Request::Advance { epoch: 1 });
    court.request(0, &Request::Advance { epoch: 1 });
    for line in [0, 1, 9] {
        assert_eq!(court.epoch(line), (2, vec![0, 1, 2]));
    }
}

#[test]
fn who_comes_when_all_have_gone_begins_anew() {
    let mut court = Court::session(2);
    court.close(0);
    court.request(1, &Request::Leave);
    court.join(5, None, None).unwrap();
    assert_eq!(court.epoch(5), (2, vec![2]));
}

#[test]
fn a_suspect_that_lives_is_given_up_in_the_end() {
    let mut court = Court::session(3);
    court.request(0, &Request::Suspect { epoch: 1, id: 2 });
    court.request(2, &Request::Suspect { epoch: 1, id: 0 });
    court.pass(DEAD - BEAT / 2, &[0, 1, 2]);
    assert_eq!(court.told(1), []);
    court.pass(BEAT, &[0, 1, 2]);
    let failed = Notice::Failed {
        epoch: 1,
        ranks: vec![2],
    };
    // The first to complain stays.
    court.assert_told(0, &failed);
    court.assert_told(1, &failed);
    assert_eq!(court.told(2), [Notice::Expelled]);
    court.pass(2 * DEAD, &[0, 1]);
    assert_eq!(court.closed, [2]);
}

#[test]
fn a_suspicion_does_not_lapse_with_the_first_to_tell_it() {
    let mut court = Court::session(4);
    court.request(0, &Request::Suspect { epoch: 1, id: 2 });
    court.request(1, &Request::Suspect { epoch: 1, id: 2 });
    court.request(1, &Request::Suspect { epoch: 1, id: 2 });
    assert_eq!(court.registrar.suspicions.len(), 2);
    court.request(0, &Request::Leave);
    assert_eq!(court.registrar.suspicions.len(), 1);
    court.told(1);
    court.pass(DEAD + BEAT, &[1, 2, 3]);
    let failed = Notice::Failed {
        epoch: 1,
        ranks: vec![2],
    };
    court.assert_told(1, &failed);
}

#[test]
fn a_late_word_about_an_epoch_that_is_over_changes_nothing() {
    let mut court = Court::session(2);
    for line in [0, 1] {
        court.request(line, &Request::Advance { epoch: 1 });
    }
    for line in [0, 1] {
        assert_eq!(court.epoch(line), (2, vec![0, 1]));
    }
    court.request(0, &Request::Advance { epoch: 2 });
    court.request(0, &Request::Advance { epoch: 1 });
    court.request(0, &Request::Advance { epoch: u32::MAX });
    assert_eq!(court.told(0), []);
    court.request(1, &Request::Advance { epoch: 2 });
    assert_eq!(court.epoch(0), (3, vec![0, 1]));
}

#[test]
fn suspicions_about_others_than_living_members_mean_nothing() {
    let mut court = Court::session(3);
    court.request(1, &Request::Leave);
    for (epoch, id) in [(1, 1), (1, 0), (1, 77), (0, 2), (9, 2)] {
        court.request(0, &Request::Suspect { epoch, id });
    }
    court.pass(2 * DEAD, &[0, 2]);
    assert_eq!(court.closed, [1]);
}

#[test]
fn a_knock_is_passed_on() {
    let mut court = Court::session(2);
    court.request(1, &Request::Knock { id: 0 });
    court.request(1, &Request::Knock { id: 99 });
    assert_eq!(court.told(0), [Notice::Knock { id: 1 }]);
}

#[test]
fn nobody_leads_the_others_to_another_scheme() {
    let mut court = Court::new(Some(2));
    for (line, endpoint, refusal) in [
        (0, "tcp://127.0.0.1:22", Refusal::OtherScheme),
        (1, "ipc:///run/a.sock", Refusal::OtherScheme),
        (2, "nowhere", Refusal::Malformed),
        (3, "", Refusal::Malformed),
    ] {
        assert_eq!(court.apply(line, None, None, endpoint.to_owned()), Err(refusal));
    }
    assert_eq!(court.join(4, None, None), Ok(0));
    assert_eq!(court.join(5, None, None), Ok(1));
    // Nor in a later epoch.
    let late = court.apply(6, None, None, "tcp://127.0.0.1:22".to_owned());
    assert_eq!(late, Err(Refusal::OtherScheme));
}

#[test]
fn who_joins_twice_is_expelled() {
    let mut court = Court::session(2);
    let again = Application {
        size: None,
        rank: None,
        name: String::new(),
        endpoint: String::new(),
    };
    court.request(0, &Request::Join(again));
    assert_eq!(court.told(0), [Notice::Expelled]);
    court.request(0, &Request::Beat);
    court.request(12345, &Request::Leave);
}

/// Whatever happens, in whatever order: all survivors of an epoch hear the same of it.
#[test]
fn all_survivors_hear_the_same() {
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut court = Court::session(5);
        let mut living: Vec<LineId> = (0..5).collect();
        let mut next_line = 5;
        let mut heard: HashMap<LineId, Vec<Notice>> = HashMap::new();
        for _ in 0..60 {
            let line = living[random.usize(..living.len())];
            match random.u8(..10) {
                0 => court.close(line),
                1 => court.request(line, &Request::Leave),
                2..5 => {
                    let epoch = court.registrar.epoch();
                    court.request(line, &Request::Advance { epoch });
                }
                5 => {
                    let (epoch, id) = (court.registrar.epoch(), random.u32(..8));
                    court.request(line, &Request::Suspect { epoch, id });
                }
                6 => {
                    court.join(next_line, None, None).unwrap();
                    living.push(next_line);
                    next_line += 1;
                }
                _ => {
                    let beating = living.clone();
                    court.pass(random.u32(1..4) * BEAT, &beating);
                }
            }
            living.retain(|line| court.registrar.lines.contains_key(line));
            if living.is_empty() {
                break;
            }
        }
        for line in &living {
            let told = court.told(*line);
            let common = told
                .into_iter()
                .filter(|notice| matches!(notice, Notice::Epoch { .. } | Notice::Failed { .. }));
            heard.insert(*line, common.collect());
        }
        // Who was in longer heard more; the end is the same for all that are in the epoch.
        let members: Vec<_> = living
            .iter()
            .filter(|line| court.registrar.members.contains(&court.registrar.lines[*line]))
            .collect();
        let epoch = court.registrar.epoch();
        let of_this = |line: &LineId| -> Vec<Notice> {
            let is_this = |notice: &&Notice| match notice {
                Notice::Epoch { number, .. } => *number == epoch,
                Notice::Failed { epoch: failed, .. } => *failed == epoch,
                _ => false,
            };
            heard[line].iter().filter(is_this).cloned().collect()
        };
        for pair in members.windows(2) {
            assert_eq!(of_this(pair[0]), of_this(pair[1]), "seed {seed}");
        }
    }
}

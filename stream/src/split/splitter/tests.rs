//! Rules, policies and changes of both, with a clock of the tests' own.

use proptest::prelude::*;

use super::*;

/// So short that a pause cannot be shorter; that of the default is tested in `patient_outputs`.
const PATIENCE: Duration = Duration::from_millis(250);

fn rule(policy: Policy, queue_size: usize) -> Rule {
    Rule {
        policy,
        queue_size,
        patience: PATIENCE,
        ..Rule::default()
    }
}

fn every(modulo: u64) -> Rule {
    Rule {
        modulo: modulo.try_into().unwrap(),
        ..Rule::default()
    }
}

fn filtered(filter: &str, modulo: u64) -> Rule {
    Rule {
        filter: Some(filter.parse().unwrap()),
        ..every(modulo)
    }
}

fn member(group: &str) -> Rule {
    Rule {
        group: Some(group.to_owned()),
        ..Rule::default()
    }
}

fn image(frame: u64) -> Header {
    Header::new("dimage-1.0").with("series", 1).with("frame", frame)
}

fn drain(splitter: &mut Splitter<u64>, outlet: OutletId) -> Vec<u64> {
    std::iter::from_fn(|| splitter.poll_transmit(outlet)).collect()
}

fn put(splitter: &mut Splitter<u64>, now: Instant, messages: impl IntoIterator<Item = u64>) {
    for message in messages {
        splitter.handle_message(now, Some(&image(message)), 1, message);
    }
}

#[test]
fn filters_come_before_modulo() {
    let mut splitter = Splitter::new([
        every(1),
        every(4),
        filtered("frame%2=1", 3),
        filtered("frame>100", 1),
    ]);
    let outlets: Vec<_> = splitter.outlets().collect();
    put(&mut splitter, Instant::now(), 0..20);
    let got: Vec<_> = outlets
        .iter()
        .map(|&outlet| drain(&mut splitter, outlet))
        .collect();
    assert_eq!(got[0], (0..20).collect::<Vec<_>>());
    assert_eq!(got[1], [0, 4, 8, 12, 16]);
    assert_eq!(got[2], [1, 7, 13, 19]);
    assert!(got[3].is_empty());
}

#[test]
fn beginnings_and_ends_of_series_go_everywhere() {
    let counted = Rule {
        boundaries: Boundaries::Counted,
        ..every(10)
    };
    let rules = [
        every(10),
        counted,
        filtered("frame%10=0", 1),
        filtered("htype=dimage-1.0", 1),
        member("g"),
        member("g"),
    ];
    let mut splitter = Splitter::new(rules);
    assert!(splitter.needs_header());
    let outlets: Vec<_> = splitter.outlets().collect();
    let now = Instant::now();
    let start = Header::new("dheader-1.0").with("series", 1);
    let end = Header::new("dseries_end-1.0").with("series", 1);
    splitter.handle_message(now, Some(&start), 1, 1000);
    put(&mut splitter, now, 0..11);
    splitter.handle_message(now, Some(&end), 1, 2000);
    let got: Vec<_> = outlets
        .iter()
        .map(|&outlet| drain(&mut splitter, outlet))
        .collect();
    assert_eq!(got[0], [1000, 0, 10, 2000]);
    assert_eq!(got[1], [1000, 9]);
    assert_eq!(got[2], [1000, 0, 10, 2000]);
    assert_eq!(got[3], (0..11).collect::<Vec<_>>());
    assert_eq!(got[4], [1000, 0, 2, 4, 6, 8, 10, 2000]);
    assert_eq!(got[5], [1000, 1, 3, 5, 7, 9, 2000]);
}

#[test]
fn what_has_no_header_passes_where_no_filter_is() {
    let mut splitter = Splitter::new([every(1), every(2), filtered("!frame", 1)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    for message in 0..3 {
        splitter.handle_message(Instant::now(), None, 1, message);
    }
    let got: Vec<_> = outlets
        .iter()
        .map(|&outlet| drain(&mut splitter, outlet))
        .collect();
    assert_eq!(got, [vec![0, 1, 2], vec![0, 2], vec![]]);
    assert!(!Splitter::<u64>::new([Rule::default(), Rule::default()]).needs_header());
}

#[test]
fn policies_that_drop_never_wait() {
    let rules = [
        rule(Policy::DropNewest, 3),
        rule(Policy::DropOldest, 3),
        rule(Policy::Wait, 100),
    ];
    let mut splitter = Splitter::new(rules);
    let outlets: Vec<_> = splitter.outlets().collect();
    put(&mut splitter, Instant::now(), 0..10);
    assert!(splitter.is_ready());
    let dropped: Vec<_> = outlets
        .iter()
        .map(|&outlet| splitter.stats(outlet).unwrap().dropped)
        .collect();
    assert_eq!(dropped, [7, 7, 0]);
    assert_eq!(drain(&mut splitter, outlets[0]), [0, 1, 2]);
    assert_eq!(drain(&mut splitter, outlets[1]), [7, 8, 9]);
    assert_eq!(drain(&mut splitter, outlets[2]).len(), 10);
    let stats = splitter.stats(outlets[1]).unwrap();
    assert_eq!((stats.messages, stats.bytes, stats.queued), (3, 3, 0));
}

#[test]
fn waiting_holds_one_message_back_and_gives_it_to_the_others_at_once() {
    let mut splitter = Splitter::new([rule(Policy::Wait, 2), rule(Policy::Wait, 10)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let now = Instant::now();
    put(&mut splitter, now, 0..3);
    assert!(!splitter.is_ready());
    assert_eq!(splitter.poll_timeout(now), None, "it waits for ever");
    assert_eq!(drain(&mut splitter, outlets[1]), [0, 1, 2]);
    splitter.handle_timeout(now + 1000 * PATIENCE);
    assert!(!splitter.is_ready());
    assert_eq!(splitter.poll_transmit(outlets[0]), Some(0));
    splitter.handle_timeout(now);
    assert!(splitter.is_ready());
    assert_eq!(drain(&mut splitter, outlets[0]), [1, 2]);
    assert!(drain(&mut splitter, outlets[1]).is_empty(), "not twice");
}

#[test]
fn a_stalled_output_holds_up_nobody() {
    let mut splitter = Splitter::new([rule(Policy::DropStalled, 2), rule(Policy::DropStalled, 2)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let start = Instant::now();
    for ms in 0..1_000 {
        put(&mut splitter, start + Duration::from_millis(ms), [ms]);
        assert!(splitter.is_ready(), "held up after {ms} ms");
        assert_eq!(drain(&mut splitter, outlets[1]), [ms]);
        let stats = splitter.stats(outlets[0]).unwrap();
        let expected = match ms {
            // None was taken since message 0; until then nobody knows.
            0..250 => (false, 0, ms as usize + 1),
            _ => (true, ms - 1, 2),
        };
        assert_eq!((stats.stalled, stats.dropped, stats.queued), expected, "{ms}");
    }
    let now = start + Duration::from_secs(1);
    assert_eq!(splitter.stats(outlets[0]).unwrap().stalls, 1);
    // Taking one is not catching up.
    assert_eq!(splitter.poll_transmit(outlets[0]), Some(0));
    put(&mut splitter, now, [1_000]);
    assert_eq!(splitter.stats(outlets[0]).unwrap().dropped, 999);
    assert_eq!(drain(&mut splitter, outlets[0]), [1]);
    drain(&mut splitter, outlets[1]);
    put(&mut splitter, now, [1_001]);
    assert_eq!(drain(&mut splitter, outlets[0]), [1_001]);
    assert!(!splitter.stats(outlets[0]).unwrap().stalled);
}

/// Messages that come whenever they can, one a millisecond at most, all taken by a first output, and by a second one as
/// `taken` says for each millisecond. Returns what became of the second one's, and for how many milliseconds the first
/// one was held up.
fn flow(queue_size: usize, times: u64, taken: impl Fn(u64) -> u64) -> (OutletStats, u64) {
    flow_of(
        [100, queue_size].map(|size| rule(Policy::DropStalled, size)),
        1,
        times,
        taken,
    )
}

/// As [`flow`], with two rules and messages of `size` bytes.
fn flow_of(rules: [Rule; 2], size: usize, times: u64, taken: impl Fn(u64) -> u64) -> (OutletStats, u64) {
    let (queue_size, patience) = (rules[1].queue_size, rules[1].patience.as_millis() as usize);
    let mut splitter = Splitter::new(rules);
    let outlets: Vec<_> = splitter.outlets().collect();
    let start = Instant::now();
    let (mut next, mut held) = (0, 0);
    for ms in 0..times {
        let now = start + Duration::from_millis(ms);
        for _ in 0..taken(ms) {
            splitter.poll_transmit(outlets[1]);
        }
        splitter.handle_timeout(now);
        match splitter.is_ready() {
            true => {
                splitter.handle_message(now, None, size, next);
                next += 1;
            }
            false => held += 1,
        }
        drain(&mut splitter, outlets[0]);
        let queued = splitter.stats(outlets[1]).unwrap().queued;
        assert!(queued <= queue_size + 2 * patience);
        assert!(queued.saturating_sub(queue_size + 1) * size <= 512 << 20);
    }
    (splitter.stats(outlets[1]).unwrap(), held)
}

#[test]
fn an_output_that_comes_to_a_stand_bit_by_bit_holds_up_nobody() {
    for queue_size in [1, 10, 100] {
        // What a connection took here whose other end read nothing any more: four messages each 40 ms, for 250 ms.
        let trickle = |ms: u64| match ms {
            0..1_000 => 1,
            1_000..1_250 if ms.is_multiple_of(40) => 4,
            _ => 0,
        };
        let (stats, held) = flow(queue_size, 3_000, trickle);
        assert_eq!((stats.stalls, stats.stalled, held), (1, true, 0), "{queue_size}");
        assert_eq!(stats.queued, queue_size);
    }
}

#[test]
fn pauses_hold_up_nobody_and_lose_nothing() {
    let (stats, held) = flow(10, 20_000, |ms| if ms % 1_000 < 200 { 0 } else { 2 });
    assert_eq!((stats.dropped, held), (0, 0));
}

#[test]
fn the_slow_set_the_pace_and_lose_nothing() {
    for every in [2, 3, 30, 200] {
        let (stats, held) = flow(10, 20_000, |ms| u64::from(ms.is_multiple_of(every)));
        assert_eq!((stats.stalls, stats.dropped), (0, 0), "every {every} ms");
        let expected = 19_500 - 19_500 / every;
        assert!(
            (expected - 20..=expected).contains(&held),
            "every {every} ms: {held}, {expected}"
        );
    }
}

#[test]
fn what_may_wait_beyond_the_bound_has_a_bound() {
    let mut splitter = Splitter::new([rule(Policy::DropStalled, 2), rule(Policy::DropStalled, 2)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let now = Instant::now();
    let mut count = 0;
    while splitter.is_ready() {
        splitter.handle_message(now, None, 64 << 20, count);
        drain(&mut splitter, outlets[1]);
        count += 1;
    }
    // Two, eight times 64 MiB, and one that is held.
    assert_eq!(count, 11);
    // Each one that is taken makes room for one more.
    assert_eq!(splitter.poll_transmit(outlets[0]), Some(0));
    splitter.handle_timeout(now);
    assert!(splitter.is_ready());
    // Nobody would be held up, so nothing more waits.
    let mut alone = Splitter::new([rule(Policy::DropStalled, 2)]);
    put(&mut alone, now, 0..3);
    assert!(!alone.is_ready());
}

mod patient_outputs {
    use super::*;

    const MB: usize = 1_000_000;

    /// As [`flow`], with the default's patience, and 64 messages that may wait.
    fn patient_flow(size: usize, times: u64, taken: impl Fn(u64) -> u64) -> (OutletStats, u64) {
        let rules = [100, 64].map(|queue_size| Rule {
            queue_size,
            ..Rule::default()
        });
        assert_eq!(rules[1].patience, Duration::from_secs(2));
        flow_of(rules, size, times, taken)
    }

    #[test]
    fn a_pause_of_a_second_loses_nothing_at_the_rate_of_a_beamline() {
        // 500 MB/s and 250 MB/s; it writes what it got, and takes nothing meanwhile.
        for (size, pause) in [(MB / 2, 1_000), (MB / 4, 1_900)] {
            let (stats, held) = patient_flow(size, 30_000, |ms| if ms % 5_000 < pause { 0 } else { 2 });
            assert_eq!((stats.stalls, stats.dropped, held), (0, 0, 0), "{pause} ms");
        }
    }

    #[test]
    fn one_that_stands_holds_up_nobody_at_any_rate() {
        // At 100 MB/s after two seconds, at 1 GB/s when all of its room is used up.
        for (size, at) in [(MB / 10, 2_900), (MB, 1_550)] {
            let (stats, held) = patient_flow(size, at, |ms| u64::from(ms < 1_000));
            assert_eq!((stats.stalled, held), (false, 0), "{size} bytes");
            let (stats, held) = patient_flow(size, at + 150, |ms| u64::from(ms < 1_000));
            assert_eq!((stats.stalls, stats.stalled, held), (1, true, 0), "{size} bytes");
            assert_eq!(stats.queued, 64);
        }
        // Bit by bit, as a connection does whose other end reads nothing any more.
        let trickle = |ms: u64| match ms {
            0..1_000 => 1,
            1_000..1_250 if ms.is_multiple_of(40) => 4,
            _ => 0,
        };
        for size in [1_000, MB] {
            let (stats, held) = patient_flow(size, 5_000, trickle);
            assert_eq!((stats.stalls, stats.stalled, held), (1, true, 0), "{size} bytes");
        }
        // Faster than its room lasts: as long as any output may pause.
        let (stats, held) = patient_flow(8 * MB, 5_000, |ms| u64::from(ms < 1_000));
        assert_eq!((stats.stalls, stats.stalled), (1, true));
        assert!((50..250).contains(&held), "{held}");
    }

    #[test]
    fn one_that_set_the_pace_and_stands_then_holds_up_nobody() {
        // Half the rate for ten seconds, and nothing from then on.
        let slow = |ms: u64| u64::from(ms < 10_000 && ms.is_multiple_of(2));
        let (_, held_before) = patient_flow(MB / 10, 10_000, slow);
        let (stats, held) = patient_flow(MB / 10, 20_000, slow);
        assert_eq!((stats.stalls, stats.stalled), (1, true));
        assert!(held - held_before <= 251, "{held_before}, then {held}");
    }

    #[test]
    fn pauses_of_one_that_sets_the_pace_lose_nothing_and_do_not_add_up() {
        // 900 of 1,300 messages, all of them after a pause of a second.
        let slow = |ms: u64| if ms % 1_300 < 1_000 { 0 } else { 3 };
        let (stats, held) = patient_flow(MB / 10, 60_000, slow);
        assert_eq!((stats.stalls, stats.dropped), (0, 0));
        assert!((15_000..20_000).contains(&held), "{held}");
    }

    #[test]
    fn as_many_large_messages_as_small_ones_do_not_fit() {
        let mut splitter = Splitter::new([1, 1].map(|queue_size| Rule {
            queue_size,
            ..Rule::default()
        }));
        let outlets: Vec<_> = splitter.outlets().collect();
        let start = Instant::now();
        let mut sizes = VecDeque::new();
        let put = |splitter: &mut Splitter<usize>, now, size| {
            splitter.handle_message(now, None, size, size);
            drain_sizes(splitter, outlets[1]);
        };
        for _ in 0..1_000 {
            put(&mut splitter, start, 10);
            sizes.push_back(10);
        }
        // It is slow: one is taken, and a large one comes.
        let mut now = start + Duration::from_secs(4);
        for _ in 0..900 {
            now += Duration::from_millis(100);
            assert!(splitter.poll_transmit(outlets[0]).is_some());
            sizes.pop_front();
            splitter.handle_timeout(now);
            drain_sizes(&mut splitter, outlets[1]);
            if splitter.is_ready() {
                put(&mut splitter, now, 64 << 20);
                sizes.push_back(64 << 20);
            }
            // One is the queue, and one may be held.
            let beyond: usize = sizes.iter().skip(1).sum();
            assert!(beyond <= (512 << 20) + (128 << 20), "{beyond}");
        }
    }

    fn drain_sizes(splitter: &mut Splitter<usize>, outlet: OutletId) {
        while splitter.poll_transmit(outlet).is_some() {}
    }

    #[test]
    fn it_is_looked_at_again_when_more_may_wait_and_when_it_stands() {
        let mut splitter = Splitter::new([1, 1].map(|queue_size| Rule {
            queue_size,
            ..Rule::default()
        }));
        let outlets: Vec<_> = splitter.outlets().collect();
        let start = Instant::now();
        while splitter.is_ready() {
            splitter.handle_message(start, None, 128 << 20, 0);
            drain(&mut splitter, outlets[1]);
        }
        let pause = start + Duration::from_millis(250);
        assert_eq!(splitter.poll_timeout(start), Some(pause));
        splitter.handle_timeout(pause);
        assert!(splitter.is_ready());
        assert!(splitter.stats(outlets[0]).unwrap().stalled);
        // Less patience than that counts.
        let hasty = Rule {
            queue_size: 1,
            patience: Duration::from_millis(20),
            ..Rule::default()
        };
        let mut splitter = Splitter::new([hasty, Rule::default()]);
        let outlets: Vec<_> = splitter.outlets().collect();
        while splitter.is_ready() {
            splitter.handle_message(start, None, 128 << 20, 0);
            drain(&mut splitter, outlets[1]);
        }
        assert_eq!(
            splitter.poll_timeout(start),
            Some(start + Duration::from_millis(20))
        );
    }
}

#[test]
fn a_queue_that_took_long_to_fill_is_not_waited_for_again() {
    let mut splitter = Splitter::new([rule(Policy::DropStalled, 3), rule(Policy::DropStalled, 3)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let start = Instant::now();
    // The first output has taken nothing for its patience when its queue is full.
    for n in 0..6 {
        put(&mut splitter, start + n * PATIENCE / 2, [n.into()]);
        assert!(splitter.is_ready(), "message {n}");
        assert_eq!(drain(&mut splitter, outlets[1]), [u64::from(n)]);
    }
    let stats = splitter.stats(outlets[0]).unwrap();
    assert_eq!((stats.stalled, stats.dropped, stats.queued), (true, 3, 3));
    // One that has room again, and takes something, is not full since then.
    let mut splitter = Splitter::new([rule(Policy::DropStalled, 2), rule(Policy::DropStalled, 2)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    put(&mut splitter, start, [0]);
    let later = start + 10 * PATIENCE;
    assert_eq!(splitter.poll_transmit(outlets[0]), Some(0));
    drain(&mut splitter, outlets[1]);
    for message in 1..4 {
        put(&mut splitter, later, [message]);
        drain(&mut splitter, outlets[1]);
    }
    let stats = splitter.stats(outlets[0]).unwrap();
    assert_eq!((stats.stalled, stats.dropped, stats.queued), (false, 0, 3));
    assert!(splitter.is_ready());
}

#[test]
fn a_slow_output_that_takes_something_loses_nothing() {
    let mut splitter = Splitter::new([rule(Policy::DropStalled, 2), rule(Policy::DropStalled, 2)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let mut now = Instant::now();
    let mut slow = Vec::new();
    for message in 0..50 {
        put(&mut splitter, now, [message]);
        drain(&mut splitter, outlets[1]);
        while !splitter.is_ready() {
            now += PATIENCE * 9 / 10;
            slow.extend(splitter.poll_transmit(outlets[0]));
            splitter.handle_timeout(now);
        }
    }
    slow.extend(drain(&mut splitter, outlets[0]));
    assert_eq!(slow, (0..50).collect::<Vec<_>>());
    assert_eq!(splitter.stats(outlets[0]).unwrap().stalls, 0);
}

#[test]
fn nothing_is_dropped_while_everybody_is_stalled() {
    let mut splitter = Splitter::new([rule(Policy::DropStalled, 2), rule(Policy::DropStalled, 2)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let start = Instant::now();
    put(&mut splitter, start, 0..3);
    for n in 1..100 {
        splitter.handle_timeout(start + n * PATIENCE);
        assert!(!splitter.is_ready());
        assert_eq!(splitter.poll_timeout(start + n * PATIENCE), None);
    }
    // One of them takes something again: the other is not waited for any more.
    let now = start + 100 * PATIENCE;
    assert_eq!(drain(&mut splitter, outlets[0]), [0, 1]);
    splitter.handle_timeout(now);
    assert!(splitter.is_ready());
    assert_eq!(drain(&mut splitter, outlets[0]), [2]);
    assert_eq!(splitter.stats(outlets[1]).unwrap().dropped, 1);
}

#[test]
fn a_group_passes_over_a_full_member() {
    let small = Rule {
        queue_size: 1,
        policy: Policy::Wait,
        ..member("g")
    };
    let mut splitter = Splitter::new([small, member("g"), member("h")]);
    let outlets: Vec<_> = splitter.outlets().collect();
    put(&mut splitter, Instant::now(), 0..6);
    assert!(splitter.is_ready());
    assert_eq!(drain(&mut splitter, outlets[0]), [0]);
    assert_eq!(drain(&mut splitter, outlets[1]), [1, 2, 3, 4, 5]);
    assert_eq!(drain(&mut splitter, outlets[2]).len(), 6);
}

#[test]
fn a_group_of_full_members_takes_what_is_held_only_once() {
    let small = || Rule {
        queue_size: 1,
        policy: Policy::Wait,
        ..member("g")
    };
    let mut splitter = Splitter::new([small(), small()]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let now = Instant::now();
    put(&mut splitter, now, 0..3);
    assert!(!splitter.is_ready());
    assert_eq!(drain(&mut splitter, outlets[1]), [1]);
    splitter.handle_timeout(now);
    assert!(splitter.is_ready());
    assert_eq!(
        (drain(&mut splitter, outlets[0]), drain(&mut splitter, outlets[1])),
        (vec![0], vec![2])
    );
}

#[test]
fn rules_change_and_what_stays_keeps_its_place() {
    let mut splitter = Splitter::new([every(3), rule(Policy::Wait, 2), every(1)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let now = Instant::now();
    put(&mut splitter, now, 0..3);
    assert!(!splitter.is_ready());
    // The one that everybody waits for is taken out, and a new one comes first.
    let left = splitter.replace([
        (None, every(1)),
        (Some(outlets[2]), every(1)),
        (Some(outlets[0]), every(3)),
    ]);
    assert_eq!(left, [(outlets[1], VecDeque::from([0, 1, 2]))]);
    splitter.handle_timeout(now);
    assert!(splitter.is_ready());
    put(&mut splitter, now, 3..7);
    let now_there: Vec<_> = splitter.outlets().collect();
    assert_eq!(now_there[1..], [outlets[2], outlets[0]]);
    assert_eq!(drain(&mut splitter, now_there[0]), [3, 4, 5, 6]);
    assert_eq!(drain(&mut splitter, outlets[2]), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(drain(&mut splitter, outlets[0]), [0, 3, 6]);
    assert_eq!(splitter.stats(outlets[1]), None);
}

#[test]
fn an_output_that_may_keep_less_than_it_has_stalls_all_the_same() {
    let mut splitter = Splitter::new([rule(Policy::DropStalled, 10), rule(Policy::DropStalled, 10)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    let mut now = Instant::now();
    put(&mut splitter, now, 0..5);
    drain(&mut splitter, outlets[1]);
    let less = outlets.iter().map(|&id| (Some(id), rule(Policy::DropStalled, 3)));
    splitter.replace(less.collect::<Vec<_>>());
    // It takes one more, and then nothing.
    assert_eq!(splitter.poll_transmit(outlets[0]), Some(0));
    put(&mut splitter, now, [5]);
    now += PATIENCE;
    put(&mut splitter, now, [6]);
    assert!(splitter.is_ready(), "the other one is held up for ever");
    assert_eq!(drain(&mut splitter, outlets[1]), [5, 6]);
    assert_eq!(splitter.stats(outlets[0]).unwrap().queued, 3);
    assert!(splitter.stats(outlets[0]).unwrap().stalled);
}

#[test]
fn what_is_held_for_a_group_leaves_with_it() {
    let small = |group: &str| Rule {
        queue_size: 1,
        policy: Policy::Wait,
        ..member(group)
    };
    let mut splitter = Splitter::new([small("g"), small("g"), every(1)]);
    let outlets: Vec<_> = splitter.outlets().collect();
    put(&mut splitter, Instant::now(), 0..3);
    assert!(!splitter.is_ready());
    let left = splitter.replace([(Some(outlets[2]), every(1))]);
    let mut messages: Vec<u64> = left.into_iter().flat_map(|(_, messages)| messages).collect();
    messages.sort_unstable();
    assert_eq!(messages, [0, 1, 2]);
    assert!(splitter.is_ready());
    assert_eq!(drain(&mut splitter, outlets[2]), [0, 1, 2]);
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::DropStalled),
        Just(Policy::Wait),
        Just(Policy::DropNewest),
        Just(Policy::DropOldest)
    ]
}

proptest! {
    /// Whatever waits, stalls and drops: each output gets its messages in order, once, and what it does not get is
    /// counted; who may wait loses nothing.
    #[test]
    fn every_message_is_sent_or_counted(
        outputs in prop::collection::vec((any_policy(), 1_usize..4), 1..4),
        steps in prop::collection::vec((0_usize..5, 0_u64..100), 0..300),
    ) {
        let mut splitter = Splitter::new(outputs.iter().map(|&(policy, size)| rule(policy, size)));
        let outlets: Vec<_> = splitter.outlets().collect();
        let mut got = vec![Vec::new(); outlets.len()];
        let mut now = Instant::now();
        let mut next = 0;
        for (step, pause) in steps {
            now += Duration::from_millis(pause);
            match outlets.get(step) {
                Some(&outlet) => got[step].extend(splitter.poll_transmit(outlet)),
                None if splitter.is_ready() => {
                    splitter.handle_message(now, None, 1, next);
                    next += 1;
                }
                None => {}
            }
            splitter.handle_timeout(now);
        }
        // Everybody takes what there is.
        for _ in 0..2 {
            for (got, &outlet) in got.iter_mut().zip(&outlets) {
                got.extend(drain(&mut splitter, outlet));
            }
            splitter.handle_timeout(now);
        }
        prop_assert!(splitter.is_ready());
        for ((got, &outlet), (policy, _)) in got.iter().zip(&outlets).zip(outputs) {
            let stats = splitter.stats(outlet).unwrap();
            prop_assert!(got.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(got.len() as u64, stats.messages);
            prop_assert_eq!(stats.messages + stats.dropped, next);
            if policy == Policy::Wait {
                prop_assert_eq!(stats.dropped, 0);
            }
        }
    }
}

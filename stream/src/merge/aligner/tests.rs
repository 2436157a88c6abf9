//! Sets under losses, delays, new beginnings and bounds.

use proptest::prelude::*;

use super::*;

const WAIT: Duration = Duration::from_secs(1);

fn frame(number: u64) -> FrameId<'static> {
    FrameId::new(Numbering::Frame, number)
}

/// Everything that can be given: number and missing inputs.
fn drain(aligner: &mut Aligner<u64>, now: Instant) -> Vec<(u64, Vec<usize>)> {
    std::iter::from_fn(|| aligner.poll(now))
        .map(|set| {
            assert!(set.items.iter().flatten().all(|&item| item == set.number));
            (set.number, set.missing().collect())
        })
        .collect()
}

fn put(aligner: &mut Aligner<u64>, now: Instant, input: usize, number: u64) -> Option<Rejection> {
    let handled = aligner.handle_item(now, input, frame(number), number);
    handled.err().map(|rejected| rejected.reason)
}

#[test]
fn who_is_missing_is_named_and_who_is_late_is_counted() {
    let start = Instant::now();
    let mut aligner = Aligner::new(3, AlignOptions::new());
    put(&mut aligner, start, 0, 5);
    put(&mut aligner, start, 2, 5);
    assert_eq!(drain(&mut aligner, start), []);
    assert_eq!(aligner.poll_timeout(), Some(start + WAIT));
    assert_eq!(drain(&mut aligner, start + WAIT), [(5, vec![1])]);
    assert_eq!(put(&mut aligner, start, 1, 5), Some(Rejection::Late));
    assert_eq!(put(&mut aligner, start, 1, 6), None);
    assert_eq!(put(&mut aligner, start, 1, 6), Some(Rejection::Duplicate));
    assert_eq!(put(&mut aligner, start, 9, 6), Some(Rejection::NoInput));
    let counts: Vec<_> = aligner
        .counts()
        .map(|count| (count.aligned, count.missing, count.late))
        .collect();
    assert_eq!(counts, [(1, 0, 0), (0, 1, 1), (1, 0, 0)]);
}

#[test]
fn who_has_gone_beyond_is_not_waited_for_if_in_order() {
    let start = Instant::now();
    for (ordered, expected) in [(true, vec![(1, vec![1]), (2, vec![])]), (false, vec![])] {
        let mut aligner = Aligner::new(2, AlignOptions::new().ordered(ordered));
        put(&mut aligner, start, 0, 1);
        put(&mut aligner, start, 0, 2);
        put(&mut aligner, start, 1, 2);
        assert_eq!(drain(&mut aligner, start), expected);
        if !ordered {
            put(&mut aligner, start, 1, 1);
            assert_eq!(drain(&mut aligner, start), [(1, vec![]), (2, vec![])]);
        }
    }
}

#[test]
fn memory_is_bounded() {
    let start = Instant::now();
    let mut aligner = Aligner::new(2, AlignOptions::new().max_pending(4_usize));
    for number in 0..4 {
        assert!(aligner.has_room(0));
        put(&mut aligner, start, 0, number);
    }
    assert!(!aligner.has_room(0) && aligner.has_room(1));
    assert_eq!(drain(&mut aligner, start), []);
    put(&mut aligner, start, 0, 4);
    assert_eq!(drain(&mut aligner, start), [(0, vec![1])]);
}

#[test]
fn who_is_silent_does_not_slow_the_others_down() {
    let start = Instant::now();
    let mut aligner = Aligner::new(3, AlignOptions::new().max_pending(4_usize));
    let ms = Duration::from_millis(1);
    for number in 0..4 {
        put(&mut aligner, start, 0, number);
        put(&mut aligner, start, 1, number);
    }
    assert_eq!(drain(&mut aligner, start + WAIT - ms), []);
    assert_eq!(drain(&mut aligner, start + WAIT).len(), 4);
    // From now on four wait, and nobody waits for time to pass.
    let mut now = start + WAIT;
    let mut given = Vec::new();
    for number in 4..1_000 {
        now += ms;
        assert!(aligner.has_room(0) && aligner.has_room(1), "{number}");
        put(&mut aligner, now, 0, number);
        given.extend(drain(&mut aligner, now));
        put(&mut aligner, now, 1, number);
        given.extend(drain(&mut aligner, now));
    }
    let expected: Vec<_> = (4..997).map(|number| (number, vec![2])).collect();
    assert_eq!(given, expected);
    // Who comes back finds those that wait, and is waited for again.
    assert_eq!(put(&mut aligner, now, 2, 998), None);
    assert_eq!(
        drain(&mut aligner, now),
        [(997, vec![2]), (998, vec![])],
        "it is in order"
    );
    for number in 1_000..1_003 {
        put(&mut aligner, now, 0, number);
        put(&mut aligner, now, 1, number);
    }
    assert!(!aligner.has_room(0));
    assert_eq!(drain(&mut aligner, now), []);
}

#[test]
fn a_number_that_comes_again_does_not_part_the_inputs() {
    let start = Instant::now();
    let mut aligner = Aligner::new(2, AlignOptions::new());
    for number in 0..100 {
        put(&mut aligner, start, 0, number);
        put(&mut aligner, start, 1, number);
        assert_eq!(drain(&mut aligner, start), [(number, vec![])]);
        if number == 50 {
            put(&mut aligner, start, 0, 0);
        }
    }
}

#[test]
fn series_are_told_apart() {
    let start = Instant::now();
    let mut aligner = Aligner::new(2, AlignOptions::new());
    for series in [1, 2] {
        for input in [0, 1] {
            aligner
                .handle_item(start, input, frame(0).series(series), 0)
                .unwrap();
        }
    }
    let sets: Vec<_> = std::iter::from_fn(|| aligner.poll(start)).collect();
    assert_eq!(
        sets.iter().map(|set| set.series).collect::<Vec<_>>(),
        [Some(1), Some(2)]
    );
    assert!(sets.iter().all(AlignedSet::is_complete));
}

#[test]
fn a_new_beginning_of_one_input_makes_nobody_late() {
    let start = Instant::now();
    let mut aligner = Aligner::new(2, AlignOptions::new());
    for number in 0..5_000 {
        put(&mut aligner, start, 0, number);
        put(&mut aligner, start, 1, number);
        assert_eq!(drain(&mut aligner, start), [(number, vec![])]);
    }
    for number in 0..100 {
        assert_eq!(put(&mut aligner, start, 0, number), None);
        assert_eq!(put(&mut aligner, start, 1, 5_000 + number), None);
        assert_eq!(drain(&mut aligner, start), [(5_000 + number, vec![0])]);
        assert_eq!(drain(&mut aligner, start + WAIT), [(number, vec![1])]);
    }
    for number in 0..100 {
        put(&mut aligner, start, 0, number);
        put(&mut aligner, start, 1, number);
        assert_eq!(drain(&mut aligner, start), [(number, vec![])]);
    }
}

#[test]
fn who_has_ended_is_not_waited_for() {
    let start = Instant::now();
    let mut aligner = Aligner::new(2, AlignOptions::new());
    put(&mut aligner, start, 0, 1);
    aligner.end(1);
    assert_eq!(drain(&mut aligner, start), [(1, vec![1])]);
    aligner.end(0);
    assert!(aligner.is_over());
}

proptest! {
    /// Whatever is lost and however the inputs interleave, every item comes in one set, and sets are in order and as
    /// complete as they can be.
    #[test]
    fn every_item_comes_in_its_set(
        first in 0_u64..100, lost in prop::collection::vec(0_u8..8, 120), turns in prop::collection::vec(0_usize..3, 0..400),
    ) {
        let start = Instant::now();
        let mut aligner = Aligner::new(3, AlignOptions::new().max_pending(1_000_usize));
        let kept = |input: usize, i: usize| lost[i] & (1 << input) == 0;
        let mut next = [0; 3];
        let mut given = Vec::new();
        let rest = (0..40).flat_map(|_| [0, 1, 2]);
        for input in turns.into_iter().chain(rest) {
            let i = next[input];
            if i < 40 {
                next[input] += 1;
                if kept(input, i) {
                    prop_assert_eq!(put(&mut aligner, start, input, first + i as u64), None);
                }
                given.extend(drain(&mut aligner, start));
            }
        }
        given.extend(drain(&mut aligner, start + WAIT));
        let expected: Vec<(u64, Vec<usize>)> = (0..40)
            .map(|i| (first + i as u64, (0..3).filter(|&input| !kept(input, i)).collect::<Vec<_>>()))
            .filter(|(_, missing)| missing.len() < 3)
            .collect();
        prop_assert_eq!(given, expected);
    }

    #[test]
    fn any_numbers_are_counted_once(
        items in prop::collection::vec((0_usize..3, 0_u64..3, 0_u64..3_000, 0_u64..2_000), 0..300), ordered: bool,
    ) {
        let mut now = Instant::now();
        let mut aligner = Aligner::new(3, AlignOptions::new().max_pending(8_usize).ordered(ordered));
        let total = items.len() as u64;
        for (input, series, number, pause) in items {
            now += Duration::from_millis(pause);
            let _ = aligner.handle_item(now, input, frame(number).series(series), number);
            while aligner.poll(now).is_some() {}
            prop_assert!(aligner.counts().all(|count| count.pending <= 8));
        }
        while aligner.poll(now + WAIT).is_some() {}
        let accounted: u64 = aligner.counts().map(|count| count.aligned + count.late + count.duplicates).sum();
        prop_assert_eq!(accounted, total);
    }
}

/// A fuzzer found one that took the place of another in silence: it led its input back into an epoch in which the input had
/// the same number already.
#[test]
fn no_item_takes_the_place_of_another() {
    let now = Instant::now();
    let mut aligner = Aligner::new(3, AlignOptions::new().ordered(true));
    let mut held = Vec::new();
    for (item, (input, number)) in [
        (0, 184),
        (1, 0),
        (0, 0),
        (0, 0),
        (2, 142),
        (2, 97),
        (0, 255),
        (2, 255),
        (0, 0),
    ]
    .into_iter()
    .enumerate()
    {
        if aligner.handle_item(now, input, frame(number), item).is_ok() {
            held.push(item);
        }
        while let Some(set) = aligner.poll(now) {
            held.retain(|item| !set.items.contains(&Some(*item)));
        }
        let pending: usize = aligner.counts().map(|count| count.pending).sum();
        assert_eq!(pending, held.len(), "after item {item}");
    }
}

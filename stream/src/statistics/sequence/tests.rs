//! Losses, late numbers, duplicates and new beginnings, in seeded orders.

use proptest::prelude::*;

use super::*;

fn tally_of(stride: Stride, numbers: impl IntoIterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    let mut sequence = Sequence::new(stride, None);
    for number in numbers {
        sequence.handle(number, stride == Stride::Learned, &mut tally, &mut |_| {});
    }
    tally
}

fn counts(stride: Stride, numbers: &[u64]) -> [u64; 4] {
    let tally = tally_of(stride, numbers.iter().copied());
    assert_eq!(tally.received, numbers.len() as u64);
    [tally.lost, tally.reordered, tally.duplicates, tally.restarts]
}

fn fixed(stride: u64) -> Stride {
    Stride::Fixed(NonZeroU64::new(stride).unwrap())
}

#[test]
fn each_case_by_hand() {
    // lost, reordered, duplicates, restarts
    let cases: [(&[u64], [u64; 4]); 18] = [
        (&[], [0, 0, 0, 0]),
        (&[7], [0, 0, 0, 0]),
        (&[7, 8, 9], [0, 0, 0, 0]),
        (&[0, 1, 4, 5], [2, 0, 0, 0]),
        (&[0, 1, 4, 3, 2, 5], [0, 2, 0, 0]),
        (&[0, 1, 4, 3, 5], [1, 1, 0, 0]),
        (&[0, 1, 4, 3, 3, 5], [1, 1, 1, 0]),
        // Joined in the middle of a stream of two senders.
        (&[1, 0, 2], [0, 1, 0, 0]),
        (&[9, 6, 10, 7], [1, 2, 0, 0]),
        // Began anew.
        (&[0, 1, 2, 0, 1, 2], [0, 0, 0, 1]),
        (&[0, 1, 2, 0, 2], [1, 0, 0, 1]),
        (&[57, 58, 0, 1, 2], [0, 0, 0, 1]),
        (&[0, 1, 0, 1, 0, 1], [0, 0, 0, 2]),
        // Sent again after a connection was made anew.
        (&[5, 6, 7, 8, 6, 7, 8, 9], [0, 0, 3, 0]),
        // Never grows.
        (&[0, 0, 0, 0], [0, 0, 3, 0]),
        // Jumps that are no losses.
        (&[3, u64::MAX, 4, 5], [0, 0, 0, 2]),
        (&[u64::MAX, u64::MAX - 1, u64::MAX], [0, 1, 1, 0]),
        (&[0, u64::MAX, 0, u64::MAX], [0, 0, 1, 1]),
    ];
    for (numbers, expected) in cases.into_iter().take(17) {
        assert_eq!(counts(Stride::ONE, numbers), expected, "{numbers:?}");
    }
    // Whatever these are called, nothing overflows.
    counts(Stride::ONE, cases[17].0);
}

#[test]
fn a_beginning_that_was_missed_is_a_beginning() {
    // What is missing after it is seen, too.
    let again = |from: u64| (0..500).chain((from..450).filter(|number| *number != 300));
    for from in [1, 3, 200] {
        let tally = tally_of(Stride::ONE, again(from));
        assert_eq!(
            (tally.lost, tally.duplicates, tally.restarts),
            (1, 0, 1),
            "{from}"
        );
    }
    let tally = tally_of(fixed(10), again(3).map(|number| 10 * number));
    assert_eq!((tally.lost, tally.duplicates, tally.restarts), (1, 0, 1));
    // Sent again after a connection was made anew, and by two sources that know each other.
    let tally = tally_of(Stride::ONE, (0..500).chain(450..600));
    assert_eq!((tally.lost, tally.duplicates, tally.restarts), (0, 50, 0));
    let tally = tally_of(Stride::ONE, (0..1_000).flat_map(|number| [number + 100, number]));
    assert_eq!((tally.lost, tally.restarts), (0, 0));
}

#[test]
fn a_step_far_back_is_a_new_beginning() {
    let numbers: Vec<u64> = (0..3000).chain(1000..1010).collect();
    assert_eq!(counts(Stride::ONE, &numbers), [0, 0, 0, 1]);
    let numbers: Vec<u64> = (0..3000).chain(2500..3010).collect();
    assert_eq!(counts(Stride::ONE, &numbers), [0, 0, 500, 0]);
}

#[test]
fn what_is_known_to_begin_at_zero_has_lost_what_came_before() {
    let mut tally = Tally::default();
    let mut sequence = Sequence::new(Stride::ONE, Some(0));
    for number in [3, 4, 1] {
        sequence.handle(number, false, &mut tally, &mut |_| {});
    }
    assert_eq!((tally.lost, tally.reordered), (2, 1));
}

#[test]
fn strides_are_learned() {
    let pulses: Vec<u64> = (0..20).map(|i| 5_000 + 10 * i).collect();
    assert_eq!(counts(Stride::Learned, &pulses), [0; 4]);
    // With losses from the first number on.
    let pulses = [0, 10, 30, 40, 50, 70, 80, 90, 100, 110, 130];
    assert_eq!(counts(Stride::Learned, &pulses), [3, 0, 0, 0]);
    // Too few to know.
    assert_eq!(counts(Stride::Learned, &[0, 10, 30]), [0; 4]);
    assert_eq!(counts(fixed(10), &[0, 10, 30]), [1, 0, 0, 0]);
    // The source goes faster.
    let faster: Vec<u64> = (0..12)
        .map(|i| 10 * i)
        .chain(111..150)
        .chain([152, 153])
        .collect();
    assert_eq!(counts(Stride::Learned, &faster), [2, 0, 0, 0]);
    // It never goes at all.
    assert_eq!(counts(Stride::Learned, &[4; 100])[0], 0);
}

#[test]
fn the_gaps_that_are_remembered_are_bounded() {
    let mut tally = Tally::default();
    let mut sequence = Sequence::new(Stride::ONE, None);
    for number in 0..10_000 {
        sequence.handle(2 * number, false, &mut tally, &mut |_| {});
        assert!(sequence.missing.len() <= RUNS);
    }
    assert_eq!(tally.lost, 9_999);
    // The newest are still remembered, in whatever order they come.
    for number in (9_990..9_999).rev() {
        sequence.handle(2 * number + 1, false, &mut tally, &mut |_| {});
    }
    assert_eq!((tally.lost, tally.reordered), (9_990, 9));
}

/// Swaps neighbours, so that no number goes further than `reach`.
fn shuffled(mut numbers: Vec<u64>, swaps: &[usize], reach: usize) -> Vec<u64> {
    let mut moved = vec![0_usize; numbers.len()];
    for &swap in swaps {
        if numbers.len() < 2 {
            break;
        }
        let at = swap % (numbers.len() - 1);
        // The first two stay: what comes before the first number is not known to be missing.
        if at > 0 && moved[at] < reach && moved[at + 1] < reach {
            numbers.swap(at, at + 1);
            moved.swap(at, at + 1);
            moved[at] += 1;
            moved[at + 1] += 1;
        }
    }
    numbers
}

proptest! {
    #[test]
    fn losses_are_exact_in_any_order(
        first in 0_u64..1_000_000, stride in 1_u64..20, count in 2_usize..300,
        lost in prop::collection::btree_set(1_usize..299, 0..60),
        swaps in prop::collection::vec(0_usize..300, 0..200),
    ) {
        let kept: Vec<u64> = (0..count)
            .filter(|&i| i == 0 || i == count - 1 || !lost.contains(&i))
            .map(|i| first + stride * i as u64)
            .collect();
        let expected = (count - kept.len()) as u64;
        let tally = tally_of(fixed(stride), shuffled(kept.clone(), &swaps, 10));
        prop_assert_eq!(tally.lost, expected);
        prop_assert_eq!((tally.duplicates, tally.restarts), (0, 0));
        prop_assert_eq!(tally.received, kept.len() as u64);
    }

    #[test]
    fn duplicates_change_nothing_else(
        count in 3_usize..200, twice in prop::collection::btree_set(1_usize..200, 0..50),
    ) {
        let numbers = (0..count).flat_map(|i| std::iter::repeat_n(i as u64, 1 + usize::from(twice.contains(&i))));
        let tally = tally_of(Stride::ONE, numbers);
        prop_assert_eq!(tally.duplicates, twice.range(..count).count() as u64);
        prop_assert_eq!((tally.lost, tally.reordered, tally.restarts), (0, 0, 0));
    }

    #[test]
    fn any_numbers_are_counted_once(numbers: Vec<u64>, stride in 1_u64..5, learned: bool) {
        let stride = if learned { Stride::Learned } else { fixed(stride) };
        let tally = tally_of(stride, numbers.iter().copied());
        prop_assert_eq!(tally.received, numbers.len() as u64);
        prop_assert!(tally.duplicates + tally.reordered + tally.restarts <= tally.received);
    }

    #[test]
    fn small_numbers_are_counted_once(numbers in prop::collection::vec(0_u64..40, 0..200), learned: bool) {
        let stride = if learned { Stride::Learned } else { Stride::ONE };
        let tally = tally_of(stride, numbers.iter().copied());
        prop_assert_eq!(tally.received, numbers.len() as u64);
        prop_assert!(tally.duplicates + tally.reordered + tally.restarts <= tally.received);
    }
}

//! Whatever queues come, ask, give back and go: there is never more than there is, and everybody has a floor.

use proptest::prelude::*;

use super::*;

impl Pool {
    /// What nobody has of the rest.
    pub(in super::super) fn free(&self) -> usize {
        self.rest - self.taken
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter,
    /// Wants so many bytes, a part of them unfinished.
    Ask(usize, usize, usize, bool),
    /// Has received down to so many.
    Settle(usize, usize),
    /// Its connection ends.
    Retire(usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![Just(0_usize), 0..200_000_usize, 0..4_000_000_usize];
    prop_oneof![
        2 => Just(Step::Enter),
        6 => (any::<usize>(), bytes(), bytes(), any::<bool>())
            .prop_map(|(who, bytes, part, insists)| Step::Ask(who, bytes, part, insists)),
        3 => (any::<usize>(), bytes()).prop_map(|(who, bytes)| Step::Settle(who, bytes)),
        1 => any::<usize>().prop_map(Step::Retire),
        1 => any::<usize>().prop_map(Step::Leave),
    ]
}

/// A queue, what it holds, and whether its connection is over.
struct Queue {
    holding: Holding,
    bytes: usize,
    unfinished: usize,
    is_retired: bool,
}

/// What must hold at any time.
fn check(pool: &Pool, queues: &[Queue], all: usize, peers: usize) {
    let granted: usize = queues.iter().map(|queue| queue.holding.granted).sum();
    assert_eq!(pool.taken, granted, "nothing leaks");
    assert!(pool.taken <= pool.rest);
    let slots = queues.iter().filter(|queue| queue.holding.has_slot).count();
    assert_eq!(slots + pool.slots, peers);
    let covered: usize = queues.iter().map(|queue| queue.holding.covered(pool.floor)).sum();
    assert!(covered <= all, "{covered} of {all}");
    // Who was given what it asked for holds no more than that.
    let unfinished: usize = pool.unfinished.keys().map(|(bytes, _)| bytes).sum();
    assert_eq!(pool.unfinished_bytes, unfinished);
    assert!(unfinished <= pool.taken);
    let waiting = queues
        .iter()
        .filter(|queue| queue.holding.wants.is_some())
        .count();
    assert!(waiting >= pool.waiting.len());
    assert!(pool.bare.iter().all(|key| pool.waiting.contains_key(key)));
    let is_called = |queue: &Queue| queue.holding.notice.load(Ordering::Relaxed) == Notice::Look as u8;
    // Who was called takes what there is, or passes it on.
    if let Some((&(want, _), waiter)) = pool.waiting.first_key_value()
        && !queues.iter().any(is_called)
    {
        let others = pool.taken - waiter.granted;
        assert!(
            !pool.fits(want, others),
            "the least demanding waits though there is room"
        );
        assert!(
            waiter.has_slot || pool.slots == 0,
            "it waits though there is a slot"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_sum_is_bounded_a_floor_is_certain_and_nothing_leaks(
        all in 262_144_usize..8_000_000,
        peers in 1_usize..8,
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut pool = Pool::new(all, peers);
        let mut queues: Vec<Queue> = Vec::new();
        let mut woken = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            let count = queues.len().max(1);
            match step {
                Step::Enter => {
                    let mut holding = Holding::new(id as u64);
                    let had_slots = pool.slots > 0;
                    pool.enter(&mut holding);
                    prop_assert_eq!(holding.has_slot, had_slots);
                    queues.push(Queue { holding, bytes: 0, unfinished: 0, is_retired: false });
                }
                Step::Ask(who, bytes, unfinished, insists) => {
                    let Some(queue) = queues.get_mut(who % count).filter(|queue| !queue.is_retired) else {
                        continue;
                    };
                    let unfinished = unfinished.min(bytes);
                    let asking = Asking { bytes, unfinished, insists, waker: Waker::noop() };
                    match pool.ask(&mut queue.holding, asking, &mut woken) {
                        Answer::Granted => {
                            prop_assert!(bytes < queue.holding.covered(pool.floor));
                            (queue.bytes, queue.unfinished) = (bytes, unfinished);
                        }
                        answer => {
                            // Nobody is refused what its floor has.
                            prop_assert!(!queue.holding.has_slot || bytes >= pool.floor || answer == Answer::GiveUp);
                            if answer == Answer::GiveUp {
                                prop_assert!(unfinished > 0 || bytes == 0);
                            }
                        }
                    }
                }
                Step::Settle(who, bytes) => {
                    if let Some(queue) = queues.get_mut(who % count) {
                        queue.bytes = queue.bytes.min(bytes);
                        queue.unfinished = queue.unfinished.min(queue.bytes);
                        pool.settle(&mut queue.holding, queue.bytes, queue.is_retired, &mut woken);
                        prop_assert!(queue.bytes <= queue.holding.covered(pool.floor));
                    }
                }
                Step::Retire(who) => {
                    if let Some(queue) = queues.get_mut(who % count) {
                        queue.is_retired = true;
                        pool.retire(&mut queue.holding, queue.bytes, &mut woken);
                        prop_assert!(queue.bytes <= queue.holding.covered(pool.floor));
                    }
                }
                Step::Leave(who) => {
                    if !queues.is_empty() {
                        let mut queue = queues.swap_remove(who % count);
                        pool.leave(&mut queue.holding, &mut woken);
                    }
                }
            }
            check(&pool, &queues, all, peers);
        }
        for mut queue in queues {
            pool.leave(&mut queue.holding, &mut woken);
        }
        prop_assert_eq!((pool.taken, pool.slots, pool.unfinished_bytes), (0, peers, 0));
        prop_assert!(pool.waiting.is_empty() && pool.bare.is_empty() && pool.unfinished.is_empty());
    }
}

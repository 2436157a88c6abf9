//! How much waits for the thread that records: little, where that costs nothing.

use std::time::{Duration, Instant};

use crate::stream::recording::Recorder;

/// Gives way to the recorder while it writes as fast as memory is.
///
/// Then the processor is what everybody waits for, and a long queue makes all of it slower: each message takes memory
/// that the system has to clear first, and has left the caches when it is written. 2 GiB in messages of 64 KiB, never
/// synced, took 0.91 s with as many as wait by themselves (256 MiB) and 0.70 s with [`WARM`](Self::WARM). While a disk
/// is slow, and that is when a queue is needed, next to nothing is held up.
#[derive(Debug, Default)]
pub(super) struct Warmth {
    /// Bytes received since the last look at the queue.
    unseen: usize,
    /// The recorder was waited for in vain: it is not before this.
    slow_until: Option<Instant>,
}

impl Warmth {
    /// So many bytes may wait at any time.
    const WARM: usize = 16 << 20;
    /// Bytes between two looks: a look at every message would cost more than a short message.
    const LOOK: usize = 1 << 20;
    /// By how much the queue is to become shorter meanwhile, where it is longer: at some time it is no more.
    const STEP: usize = 2 * Self::LOOK;
    /// Who does not write what it takes at a time, 4 MiB, in this time, so less than 1 GB/s, is slow.
    const PATIENCE: Duration = Duration::from_millis(4);
    /// How long it counts as slow: what comes meanwhile is held up by a tenth at most.
    const RESPITE: Duration = Duration::from_millis(40);

    /// Waits for `recorder` if that pays, before it is given a message of so many bytes.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn give_way(&mut self, recorder: &Recorder, size: usize) {
        if self.looks(size)
            && let Some(goal) = self.goal(Instant::now(), recorder.stats().queued_bytes)
        {
            let shrunk = tokio::time::timeout(Self::PATIENCE, recorder.shrunk_to(goal)).await;
            self.slow_until = shrunk.is_err().then(|| Instant::now() + Self::RESPITE);
        }
    }

    /// Whether to look at the queue before so many bytes more.
    fn looks(&mut self, size: usize) -> bool {
        self.unseen = self.unseen.saturating_add(size);
        let looks = self.unseen >= Self::LOOK;
        if looks {
            self.unseen = 0;
        }
        looks
    }

    /// To how many bytes the queue should shrink first, when so many wait.
    fn goal(&self, now: Instant, queued: usize) -> Option<usize> {
        let is_slow = self.slow_until.is_some_and(|until| now < until);
        (queued > Self::WARM && !is_slow).then(|| (queued - Self::STEP).max(Self::WARM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_are_not_counted_one_by_one() {
        let mut warmth = Warmth::default();
        let looks = (0..1 << 10).filter(|_| warmth.looks(10 << 10)).count();
        assert_eq!(looks, 9);
        assert!(warmth.looks(usize::MAX) && !warmth.looks(0));
    }

    #[test]
    fn a_slow_recorder_is_left_alone_for_a_while() {
        const MIB: usize = 1 << 20;
        let mut warmth = Warmth::default();
        let now = Instant::now();
        for (queued, goal) in [(0, None), (16, None), (17, Some(16)), (200, Some(198))] {
            assert_eq!(
                warmth.goal(now, queued * MIB),
                goal.map(|goal| goal * MIB),
                "{queued}"
            );
        }
        warmth.slow_until = Some(now + Warmth::RESPITE);
        assert_eq!(warmth.goal(now, 200 * MIB), None);
        assert!(warmth.goal(now + Warmth::RESPITE, 200 * MIB).is_some());
    }
}

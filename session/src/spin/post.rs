//! Where it makes sense to look: from one place on each thread, where those that are waited for have processors.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

thread_local! {
    /// Who looked last on this thread, and when.
    static LAST: Cell<Option<(usize, Instant)>> = const { Cell::new(None) };
}

/// The place of the one who looks. Everybody else on its thread sleeps meanwhile: before each look, the runtime asks the
/// system for what has come for any of them.
#[derive(Debug)]
pub(super) struct Post {
    who: usize,
}

impl Post {
    /// Who has not looked for so long does so no more: it was dropped, or goes on in another thread.
    const STALE: Duration = Duration::from_micros(20);

    /// Takes it for `who`, unless somebody else has it.
    pub(super) fn take(who: usize, now: Instant) -> Option<Self> {
        let is_free = LAST
            .get()
            .is_none_or(|(other, at)| other == who || now.saturating_duration_since(at) > Self::STALE);
        is_free.then_some(Post { who })
    }

    /// Who has it looks.
    pub(super) fn look(&self, now: Instant) {
        LAST.set(Some((self.who, now)));
    }

    /// Somebody else may have it.
    pub(super) fn leave(self) {
        if LAST.get().is_some_and(|(who, _)| who == self.who) {
            LAST.set(None);
        }
    }
}

/// Whether this process may use more than one processor. With one, who looks keeps away whom it looks for.
pub(super) fn has_processors() -> bool {
    // What the system says of it is in files: they are read once.
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| available_parallelism().is_ok_and(|processors| processors.get() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_on_each_thread() {
        let now = Instant::now();
        let first = Post::take(1, now).expect("nobody looks");
        first.look(now);
        assert!(Post::take(2, now).is_none());
        let elsewhere = std::thread::spawn(move || Post::take(2, now).is_some());
        assert!(elsewhere.join().expect("no panic"));
        first.leave();
        assert!(Post::take(2, now).is_some());
    }

    #[test]
    fn who_looks_no_more_does_not_keep_it() {
        let now = Instant::now();
        Post::take(1, now).expect("nobody looks").look(now);
        assert!(Post::take(2, now + Post::STALE).is_none());
        let later = now + 2 * Post::STALE;
        let next = Post::take(2, later).expect("it has not looked for long");
        next.look(later);
        assert!(Post::take(1, later).is_none());
    }
}

//! Looking for as long as experience says that it pays.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::forecast::{Forecast, Outcome};
use super::post::Post;

/// What waits have taught those that look.
#[derive(Debug)]
pub(super) struct Bets(Mutex<Forecast>);

impl Default for Bets {
    fn default() -> Self {
        Bets(Mutex::new(Forecast::new()))
    }
}

impl Bets {
    /// A wait begins: where it looks from, and for how long, if it does.
    pub(super) fn place(&self) -> Option<(Post, Duration)> {
        let limit = self.0.lock().bet()?;
        let who = std::ptr::from_ref(self).addr();
        Some((Post::take(who, Instant::now())?, limit))
    }

    /// Looks for so long; before each look, all other tasks of the thread run.
    pub(super) async fn look<T, E>(
        &self,
        (post, limit): (Post, Duration),
        mut look: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let begun = Instant::now();
        let mut now = begun;
        while now - begun < limit {
            post.look(now);
            // Tokio's own: it makes the runtime ask the system for events each time.
            tokio::task::yield_now().await;
            let found = look()?;
            now = Instant::now();
            if found.is_some() {
                self.ended(post, now - begun, limit, Outcome::Won);
                return Ok(found);
            }
        }
        self.ended(post, now - begun, limit, Outcome::Lost);
        Ok(None)
    }

    fn ended(&self, post: Post, time: Duration, limit: Duration, outcome: Outcome) {
        post.leave();
        // Between two looks somebody else had the processor, be it another task, which others then wait for, too.
        let is_displaced = time >= 2 * limit;
        self.0.lock().ended(match is_displaced {
            true => Outcome::Displaced,
            false => outcome,
        });
    }

    /// A wait is over, and lasted so long.
    pub(super) fn waited(&self, time: Duration) {
        self.0.lock().waited(time);
    }
}

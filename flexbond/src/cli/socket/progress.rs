//! Notices when a socket has let its user wait too long.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// When something last moved, and whether the socket is being waited for.
pub(super) struct Progress {
    limit: Option<Duration>,
    moved: Cell<Instant>,
    waits: Cell<u32>,
}

impl Progress {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Progress {
            limit,
            moved: Cell::new(Instant::now()),
            waits: Cell::new(0),
        }
    }

    /// Notes that a message went through.
    pub(super) fn moved(&self) {
        if self.limit.is_some() {
            self.moved.set(Instant::now());
        }
    }

    /// Waits for the socket; the clock runs meanwhile.
    pub(super) async fn wait<T>(&self, operation: impl Future<Output = T>) -> T {
        if self.waits.get() == 0 {
            self.moved();
        }
        self.waits.set(self.waits.get() + 1);
        let result = operation.await;
        self.waits.set(self.waits.get() - 1);
        self.moved();
        result
    }

    /// Ends when the socket was waited for as long as the limit and nothing moved.
    pub(super) async fn stalled(&self) {
        let Some(limit) = self.limit else {
            return std::future::pending().await;
        };
        loop {
            let seen = self.moved.get();
            // A limit beyond what the clock can count never comes.
            let Some(deadline) = seen.checked_add(limit) else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(deadline.max(Instant::now() + Duration::from_millis(1))).await;
            if self.waits.get() > 0 && self.moved.get() == seen {
                return;
            }
            if self.waits.get() == 0 {
                // Whoever starts to wait later moves the mark; until then there is nothing to measure.
                self.moved();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waiting_for_the_socket_counts() {
        let progress = Progress::new(Some(Duration::from_secs(2)));
        let begin = Instant::now();
        let work = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            for _ in 0..5 {
                progress
                    .wait(tokio::time::sleep(Duration::from_millis(1500)))
                    .await;
            }
            progress.wait(std::future::pending::<()>()).await;
        };
        tokio::select! {
            () = work => unreachable!("it waits for ever"),
            () = progress.stalled() => {}
        }
        let seconds = begin.elapsed().as_secs_f64();
        assert!((16.4..16.7).contains(&seconds), "{seconds}");
    }
}

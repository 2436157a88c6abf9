//! Until when a call may be made once more.

use std::time::Duration;

use tokio::time::Instant;
use tower::{Service, ServiceExt};

use crate::error::CallError;
use crate::request::Request;

/// How long a call that names no timeout waits for room: as long as one by a client with default options.
const PATIENCE: Duration = Duration::from_secs(30);

/// Until when a call may be made once more. A timeout is for the call as a whole, however often it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    begun: Instant,
    timeout: Option<Duration>,
}

impl Deadline {
    /// That of a call which begins now.
    pub(super) fn of(request: &Request) -> Self {
        Deadline {
            begun: Instant::now(),
            timeout: request.timeout,
        }
    }

    /// When the call began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether the call's time is over by then.
    pub(super) fn is_over(&self, at: Instant) -> bool {
        self.left(at).is_some_and(|left| left.is_zero())
    }

    /// Waits for room for one more attempt, and gives the request what is left of its time. None if there is no room
    /// in that time.
    pub(super) async fn room<S: Service<Request>>(
        &self,
        service: &mut S,
        mut request: Request,
    ) -> Option<Result<Request, S::Error>> {
        let limit = self.left(Instant::now()).unwrap_or(PATIENCE);
        match tokio::time::timeout(limit, service.ready()).await {
            Ok(Ok(_)) if self.is_over(Instant::now()) => None,
            Ok(Ok(_)) => {
                request.timeout = self.left(Instant::now());
                Some(Ok(request))
            }
            Ok(Err(error)) => Some(Err(error)),
            Err(_) => None,
        }
    }

    /// The error of an attempt as that of the call.
    pub(super) fn error(&self, error: CallError) -> CallError {
        of_whole(error, self.timeout)
    }

    /// What is left then; none without a timeout.
    fn left(&self, at: Instant) -> Option<Duration> {
        let past = at.saturating_duration_since(self.begun);
        self.timeout.map(|timeout| timeout.saturating_sub(past))
    }
}

/// The error of an attempt as that of a call with this timeout: it waited for the whole of it, not for what was left.
pub(crate) fn of_whole(error: CallError, timeout: Option<Duration>) -> CallError {
    match (error, timeout) {
        (CallError::DeadlineExceeded { unconnected, .. }, Some(timeout)) => {
            CallError::DeadlineExceeded { timeout, unconnected }
        }
        (error, _) => error,
    }
}

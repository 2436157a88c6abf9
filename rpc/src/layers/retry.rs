//! Calls again what is sound to call again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{BoxError, Layer, Service};

use super::deadline::Deadline;
use crate::error::CallError;
use crate::failure::FailureKind;
use crate::request::{Request, Response};

/// A layer that makes calls again: which ones, how often, and when.
///
/// A call is made again when that may help (the server is overloaded or ends, the connection was lost or could not be
/// made) and is sound: it has not run ([`CallError::may_have_run`]), or the request is
/// [idempotent](Request::idempotent). Calls with streamed arguments are not, for those are gone; and of a streamed
/// answer, only what fails before its first item.
///
/// Pauses in between are of 20 to 40 ms at first, and double up to 1 to 2 s: how long each is within these bounds is by
/// chance, so that those whom one event has met do not all come back at once. A retry that could not begin before the call's [timeout](Request::timeout) is not made,
/// and each has what is left of it. Nor does one wait longer for room: where no timeout is named, 30 s. (With
/// [`tower::retry`] a policy cannot see to that, wherefore this is a layer of its own.)
///
/// The error is that of the last attempt. When that did not run, but one before may have, it is that of the one before,
/// so that [`CallError::may_have_run`] is true of the call.
///
/// All clones share one budget: as many retries as a fifth of what succeeds within ten seconds, and 1,000 more. Without
/// it, a server that is overloaded would be kept so by retries.
///
/// ```
/// use std::time::Duration;
///
/// use flexbond_rpc::layers::Retry;
/// use tower::retry::budget::TpsBudget;
///
/// let patient = Retry::new()
///     .attempts(10)
///     .backoff(Duration::from_millis(5), Duration::from_secs(1))
///     .budget(TpsBudget::new(Duration::from_secs(10), 100, 0.1));
/// # let _ = patient;
/// ```
#[derive(Clone, Debug)]
pub struct Retry {
    attempts: u32,
    first: Duration,
    longest: Duration,
    budget: Arc<TpsBudget>,
}

/// A service that calls again what is sound to call again; see [`Retry`].
///
/// Its errors are [`CallError`]s: what layers inside of it have boxed is taken back as
/// [`from_boxed`](CallError::from_boxed) does.
#[derive(Clone, Debug)]
pub struct Retried<S> {
    service: S,
    retry: Retry,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// The layer as described, with five attempts at most.
    #[must_use]
    pub fn new() -> Self {
        Retry {
            attempts: 5,
            first: Duration::from_millis(20),
            longest: Duration::from_secs(2),
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 100, 0.2)),
        }
    }

    /// The same with so many attempts at most, the first one included.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The same with a first pause of `first`, 1 ms at least, to twice that, each further one twice as long, and none longer
    /// than `longest`, `first` at least. Each is drawn between half and all of what it may be at most, also the longest, and
    /// the first where `longest` is less than twice `first`.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first.max(Duration::from_millis(1));
        self.longest = longest.max(self.first);
        self
    }

    /// The same with a budget of its own, which clones made from here on share.
    #[must_use]
    pub fn budget(mut self, budget: TpsBudget) -> Self {
        self.budget = Arc::new(budget);
        self
    }

    /// The pause before a call's attempt after so many.
    fn pause(&self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts);
        let most = self.first.saturating_mul(doubled).min(self.longest);
        // Not tower's: its longest are all of one length, to the nanosecond.
        (most / 2).saturating_add(most.mul_f64(fastrand::f64() / 2.0))
    }
}

impl<S> Layer<S> for Retry {
    type Service = Retried<S>;

    fn layer(&self, service: S) -> Retried<S> {
        Retried {
            service,
            retry: self.clone(),
        }
    }
}

impl<S> Service<Request> for Retried<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Response = Response;
    type Error = CallError;
    type Future = Retrying;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.service.poll_ready(cx).map_err(taken_back)
    }

    fn call(&mut self, request: Request) -> Retrying {
        let copy = request.try_clone();
        let deadline = Deadline::of(&request);
        let first = self.service.call(request);
        // One that is not ready, and has to be asked. It stays until the answer: it may be the last handle of a client.
        let service = self.service.clone();
        let again = Again::new(self.retry.clone(), deadline);
        Retrying(Box::pin(async move {
            match copy {
                Some(request) => again.call(first, service, request).await,
                None => first.await.map_err(taken_back),
            }
        }))
    }
}

/// A call that may be made again.
struct Again {
    retry: Retry,
    deadline: Deadline,
    attempts: u32,
}

impl Again {
    fn new(retry: Retry, deadline: Deadline) -> Self {
        Again {
            retry,
            deadline,
            attempts: 1,
        }
    }

    async fn call<S>(
        mut self,
        first: S::Future,
        mut service: S,
        request: Request,
    ) -> Result<Response, CallError>
    where
        S: Service<Request, Response = Response>,
        S::Error: Into<BoxError>,
    {
        let mut answer = first.await.map_err(taken_back);
        let mut told: Option<CallError> = None;
        loop {
            let error = match answer {
                Ok(_) => {
                    self.retry.budget.deposit();
                    return answer;
                }
                Err(error) => error,
            };
            let pause = self.pause(&error, request.idempotent);
            let error = match told {
                Some(earlier) => telling(earlier, error),
                None => error,
            };
            let (Some(pause), Some(copy)) = (pause, request.try_clone()) else {
                return Err(error);
            };
            tokio::time::sleep_until(pause).await;
            let room = self.deadline.room(&mut service, copy).await;
            match room.map(|room| room.map_err(taken_back)) {
                Some(Ok(attempt)) => {
                    let answered = service.call(attempt).await;
                    answer = answered.map_err(|error| self.deadline.error(taken_back(error)));
                }
                Some(Err(broken)) => return Err(telling(error, broken)),
                None => return Err(error),
            }
            told = Some(error);
        }
    }

    /// When the call is made again, if it is.
    fn pause(&mut self, error: &CallError, idempotent: bool) -> Option<Instant> {
        if self.attempts >= self.retry.attempts || !is_passing(error) {
            return None;
        }
        if error.may_have_run() && !idempotent {
            return None;
        }
        let at = Instant::now().checked_add(self.retry.pause(self.attempts))?;
        if self.deadline.is_over(at) || !self.retry.budget.withdraw() {
            return None;
        }
        self.attempts += 1;
        Some(at)
    }
}

fn taken_back(error: impl Into<BoxError>) -> CallError {
    CallError::from_boxed(error.into())
}

/// Of two errors of one call: the later one, unless that would hide that the call may have run.
pub(super) fn telling(earlier: CallError, later: CallError) -> CallError {
    match earlier.may_have_run() && !later.may_have_run() {
        true => earlier,
        false => later,
    }
}

/// Whether the same call may fare better in a moment, or at another server.
pub(super) fn is_passing(error: &CallError) -> bool {
    match error {
        CallError::Failure(failure) => matches!(
            failure.kind(),
            FailureKind::Overloaded | FailureKind::Unavailable | FailureKind::Cancelled
        ),
        CallError::Disconnected { .. } | CallError::Unconnected { .. } => true,
        _ => false,
    }
}

/// A call that is made again if need be. Dropping it cancels what is under way.
#[must_use = "a call whose future is dropped is cancelled"]
pub struct Retrying(Pin<Box<dyn Future<Output = Result<Response, CallError>> + Send>>);

impl Future for Retrying {
    type Output = Result<Response, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Retrying")
    }
}

#[cfg(test)]
mod tests;

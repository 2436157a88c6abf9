//! Calls again what is sound to call again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tower::BoxError;
use tower::retry::Policy;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::rng::HasherRng;

use crate::error::CallError;
use crate::failure::FailureKind;
use crate::request::{Request, Response};

/// A policy of [`tower::retry`]: which calls are made again, how often, and when.
///
/// A call is made again when that may help (the server is overloaded or ends, the connection was lost or could not be
/// made) and is sound: it has not run ([`CallError::may_have_run`]), or the request is
/// [idempotent](Request::idempotent). Calls with streamed arguments are not, for those are gone; and of a streamed
/// answer, only what fails before its first item.
///
/// Pauses in between double from 20 ms up to 2 s, with as much again by chance, so that those whom one event has met do
/// not all come back at once. A retry that could not begin before the call's [timeout](Request::timeout) is not made,
/// and each has what is left of it.
///
/// When the last attempt did not run, but one before may have, the error is that of the one before, so that
/// [`CallError::may_have_run`] is true of the call.
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
    /// Of one call: how often it was made again, and when its time is over.
    made: u32,
    deadline: Option<Instant>,
    pauses: Option<ExponentialBackoff>,
    /// Why an attempt that may have run failed.
    ran: Option<CallError>,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// The policy as described, with five attempts at most.
    #[must_use]
    pub fn new() -> Self {
        Retry {
            attempts: 5,
            first: Duration::from_millis(20),
            longest: Duration::from_secs(2),
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 100, 0.2)),
            made: 0,
            deadline: None,
            pauses: None,
            ran: None,
        }
    }

    /// The same with so many attempts at most, the first one included.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The same with pauses that begin at `first`, 1 ms at least, and grow up to `longest`, `first` at least.
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

    /// The pause before the call is made again, if it is.
    fn decide(&mut self, request: &mut Request, error: Option<&CallError>) -> Option<Sleep> {
        let Some(error) = error else {
            // What is not known of is nothing to call again for.
            return None;
        };
        if self.made + 1 >= self.attempts || !is_passing(error) {
            return None;
        }
        if error.may_have_run() && !request.idempotent {
            return None;
        }
        let pause = self.pause()?;
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(pause.deadline());
            if left.is_zero() {
                return None;
            }
            request.timeout = Some(left);
        }
        if !self.budget.withdraw() {
            return None;
        }
        self.made += 1;
        if error.may_have_run() {
            self.ran = Some(error.clone());
        }
        Some(pause)
    }

    /// What is to be told in place of the last error, if that would hide that an attempt before may have run.
    fn hidden(&mut self, last: Option<&CallError>) -> Option<CallError> {
        match last {
            Some(last) if last.may_have_run() => None,
            _ => self.ran.take(),
        }
    }

    fn pause(&mut self) -> Option<Sleep> {
        if self.pauses.is_none() {
            // By chances of its own: a clone of one that is shared would give all calls the same.
            let chances = HasherRng::default();
            let pauses = ExponentialBackoffMaker::new(self.first, self.longest, 1.0, chances);
            self.pauses = pauses.ok().map(|mut pauses| pauses.make_backoff());
        }
        self.pauses.as_mut().map(Backoff::next_backoff)
    }

    fn copy(&mut self, request: &Request) -> Option<Request> {
        if self.made == 0 {
            self.deadline = request
                .timeout
                .and_then(|timeout| Instant::now().checked_add(timeout));
        }
        request.try_clone()
    }

    fn look(&mut self, request: &mut Request, error: Result<(), Option<&CallError>>) -> Option<Sleep> {
        match error {
            Ok(()) => {
                self.budget.deposit();
                None
            }
            Err(error) => self.decide(request, error),
        }
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

impl Policy<Request, Response, CallError> for Retry {
    type Future = Sleep;

    fn retry(&mut self, request: &mut Request, result: &mut Result<Response, CallError>) -> Option<Sleep> {
        let pause = self.look(request, result.as_ref().map(drop).map_err(Some));
        if pause.is_none()
            && let Err(error) = result
            && let Some(hidden) = self.hidden(Some(error))
        {
            *error = hidden;
        }
        pause
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        self.copy(request)
    }
}

/// Around layers of tower that box their errors.
impl Policy<Request, Response, BoxError> for Retry {
    type Future = Sleep;

    fn retry(&mut self, request: &mut Request, result: &mut Result<Response, BoxError>) -> Option<Sleep> {
        let looked = result.as_ref().map(drop).map_err(|error| error.downcast_ref());
        let pause = self.look(request, looked);
        if pause.is_none()
            && let Err(error) = result
            && let Some(hidden) = self.hidden(error.downcast_ref())
        {
            *error = hidden.into();
        }
        pause
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        self.copy(request)
    }
}

#[cfg(test)]
mod tests;

//! A second call when the first answer is slow.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Layer, Service};

use super::deadline::Deadline;
use super::latency::Latencies;
use super::retry::{is_passing, telling};
use crate::error::CallError;
use crate::request::{Request, Response, Wants};

/// A layer that calls a second time when the first answer takes long, and takes the answer that comes first; the other
/// call is cancelled. Over a [`Balanced`](super::Balanced) client, the second goes to another server as a rule.
///
/// Only [idempotent](Request::idempotent) calls that want an answer are made twice, and none with streamed arguments.
/// Of a streamed answer, the beginning counts. An error that another attempt may mend, or that says that the call was not
/// run, does not count as an answer while the other call is under way; of these, only the former waits for a second that
/// has no room yet. When both fail, the error is the later one or, if
/// that would hide that the call may have run ([`CallError::may_have_run`]), the other.
///
/// Both calls have the time of the one that is asked for. The second waits for room no longer than that or, where no
/// [timeout](Request::timeout) is named, 30 s; the first's answer does not wait for it.
///
/// A budget, shared by all clones, keeps second calls to a tenth of all within ten seconds, and 10 more: when all
/// servers are slow, twice as many calls are no help.
///
/// ```
/// use std::time::Duration;
///
/// use flexbond_rpc::layers::Hedge;
///
/// // After a fixed time:
/// let fixed = Hedge::after(Duration::from_millis(30));
/// // When a call takes longer than 95 of 100 took lately, but no sooner than after 2 ms:
/// let learned = Hedge::at_quantile(0.95, Duration::from_millis(2));
/// # let _ = (fixed, learned);
/// ```
#[derive(Clone, Debug)]
pub struct Hedge {
    at_least: Duration,
    quantile: Option<f64>,
    latencies: Arc<Mutex<Latencies>>,
    budget: Arc<TpsBudget>,
}

/// A service that calls a second time when the first answer takes long; see [`Hedge`].
#[derive(Clone, Debug)]
pub struct Hedged<S> {
    service: S,
    hedge: Hedge,
}

impl Hedge {
    /// Calls a second time after this delay.
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        Hedge {
            at_least: delay,
            quantile: None,
            latencies: Arc::new(Mutex::new(Latencies::new())),
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 1, 0.1)),
        }
    }

    /// Calls a second time when a call takes longer than this part, from 0 to 1, of those that were made lately; never
    /// before `at_least`, and never before 64 calls were made.
    #[must_use]
    pub fn at_quantile(part: f64, at_least: Duration) -> Self {
        Hedge {
            quantile: Some(part.clamp(0.0, 1.0)),
            ..Self::after(at_least)
        }
    }

    /// The same with a budget of its own.
    #[must_use]
    pub fn budget(mut self, budget: TpsBudget) -> Self {
        self.budget = Arc::new(budget);
        self
    }

    /// How long to wait for the first answer, if not for ever.
    fn delay(&self) -> Option<Duration> {
        match self.quantile {
            None => Some(self.at_least),
            Some(part) => {
                let usual = self.latencies.lock().quantile(part)?;
                Some(usual.max(self.at_least))
            }
        }
    }

    /// Waits until the answer is late and a second call is allowed; for ever if that is never so.
    async fn late(&self, deadline: &Deadline) {
        let delay = self.delay();
        match delay.and_then(|delay| deadline.begun().checked_add(delay)) {
            Some(at) if !deadline.is_over(at) => tokio::time::sleep_until(at).await,
            _ => std::future::pending().await,
        }
        if !self.budget.withdraw() {
            std::future::pending::<()>().await;
        }
    }

    fn note(&self, begun: Instant) {
        if self.quantile.is_some() {
            self.latencies.lock().add(begun.elapsed());
        }
    }
}

impl<S> Layer<S> for Hedge {
    type Service = Hedged<S>;

    fn layer(&self, service: S) -> Hedged<S> {
        Hedged {
            service,
            hedge: self.clone(),
        }
    }
}

impl<S> Service<Request> for Hedged<S>
where
    S: Service<Request, Response = Response, Error = CallError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = CallError;
    type Future = Hedging<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let may_be_hedged = request.idempotent && request.wants != Wants::Nothing;
        let copy = may_be_hedged.then(|| request.try_clone()).flatten();
        let Some(copy) = copy else {
            return Hedging(Stage::Once(Box::pin(self.service.call(request))));
        };
        self.hedge.budget.deposit();
        let deadline = Deadline::of(&copy);
        let first = self.service.call(request);
        // One that is not ready, and has to be asked.
        let service = self.service.clone();
        let hedge = self.hedge.clone();
        Hedging(Stage::Twice(Box::pin(async move {
            let answer = hedged(&hedge, deadline, first, service, copy).await;
            if answer.is_ok() {
                hedge.note(deadline.begun());
            }
            answer
        })))
    }
}

async fn hedged<S>(
    hedge: &Hedge,
    deadline: Deadline,
    first: S::Future,
    service: S,
    request: Request,
) -> Result<Response, CallError>
where
    S: Service<Request, Response = Response, Error = CallError>,
{
    let mut first = pin!(first);
    if let Either::Left((answer, _)) = select(&mut first, pin!(hedge.late(&deadline))).await {
        return answer;
    }
    let room = pin!(room(deadline, service, request));
    let (room, early) = match select(&mut first, room).await {
        Either::Left((Err(early), room)) if is_passing(&early) => (room.await, Some(early)),
        // Any other is not worth the wait for a second that has not begun.
        Either::Left((answer, _)) => return answer,
        Either::Right((room, _)) => (room, None),
    };
    let Some((mut service, request)) = room else {
        return match early {
            Some(early) => Err(early),
            None => first.await,
        };
    };
    let second = pin!(async {
        let answer = service.call(request).await;
        answer.map_err(|error| deadline.error(error))
    });
    if let Some(early) = early {
        return second.await.map_err(|late| telling(early, late));
    }
    match select(first, second).await {
        Either::Left((Err(early), second)) if !is_answer(&early) => {
            second.await.map_err(|late| telling(early, late))
        }
        Either::Left((answer, _)) => answer,
        Either::Right((Err(early), first)) if !is_answer(&early) => {
            first.await.map_err(|late| telling(early, late))
        }
        Either::Right((answer, _)) => answer,
    }
}

/// Waits for room for the second call. None if it is not made: without room, or with a service that is broken, there is
/// the first only. The service is gone then, and with it its place in the queue, which would be in the way of others.
async fn room<S>(deadline: Deadline, mut service: S, request: Request) -> Option<(S, Request)>
where
    S: Service<Request, Response = Response, Error = CallError>,
{
    let request = deadline.room(&mut service, request).await?.ok()?;
    Some((service, request))
}

/// Whether an error is all there is to be said, while the other call is under way.
fn is_answer(error: &CallError) -> bool {
    error.may_have_run() && !is_passing(error)
}

/// A call that is made a second time if need be. Dropping it cancels what is under way.
#[must_use = "a call whose future is dropped is cancelled"]
pub struct Hedging<F>(Stage<F>);

enum Stage<F> {
    Once(Pin<Box<F>>),
    Twice(Pin<Box<dyn Future<Output = Result<Response, CallError>> + Send>>),
}

impl<F: Future<Output = Result<Response, CallError>>> Future for Hedging<F> {
    type Output = Result<Response, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut self.0 {
            Stage::Once(call) => ready!(call.as_mut().poll(cx)),
            Stage::Twice(call) => ready!(call.as_mut().poll(cx)),
        })
    }
}

impl<F> fmt::Debug for Hedging<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hedging")
    }
}

#[cfg(test)]
mod tests;

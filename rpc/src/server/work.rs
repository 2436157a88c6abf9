//! The work of one call, from its request to its answer.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use flexbond_transport::{Frame, Message};
use futures_util::{FutureExt, StreamExt, TryFutureExt};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::{BoxError, ServiceExt};

use super::calls::Ticket;
use super::hub::{Counters, Hub, InFlight, Loose};
use super::session::{Serves, Session, check_size, ends};
use crate::envelope::{Codec, Envelope, Header, Kind};
use crate::error::CallError;
use crate::failure::{Failure, FailureKind};
use crate::request::{Items, Request, Response, Wants};

/// What a call is to its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) codec: Codec,
    /// How long the caller waits, from when it came.
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Instant>,
}

/// By what a call under way is known.
#[derive(Debug)]
pub(super) enum Hold {
    /// To its connection, which ends it when it is lost.
    Ticket(Ticket),
    /// To the server alone: it wants no answer.
    Loose(Loose),
}

impl Hold {
    /// The ticket, or the number of one without.
    pub(super) fn known(&self) -> Result<Ticket, u64> {
        match self {
            Hold::Ticket(ticket) => Ok(*ticket),
            Hold::Loose(loose) => Err(loose.number()),
        }
    }
}

/// A call under way. However its task ends, nothing of it stays behind.
#[derive(Debug)]
pub(super) struct Work {
    session: Arc<Session>,
    call: Call,
    hold: Hold,
    /// Its answer was given.
    over: bool,
    _in_flight: InFlight,
}

impl Drop for Work {
    fn drop(&mut self) {
        match &self.hold {
            Hold::Loose(_) => self.session.forget_one_way(),
            // The latter: aborted by who has ended it.
            Hold::Ticket(ticket) if self.over || !self.session.is_running(*ticket) => {}
            // What must not panic has, a destructor or an error's text; or all tasks end.
            Hold::Ticket(ticket) => {
                let failure = match std::thread::panicking() {
                    true => panicked(self.hub(), &"outside of the handler"),
                    false => ends(),
                };
                let last = failure.to_envelope(self.call.id, self.call.codec);
                self.session.finish(*ticket, &last);
            }
        }
    }
}

impl Work {
    pub(super) fn new(session: Arc<Session>, call: Call, hold: Hold, in_flight: InFlight) -> Self {
        Work {
            session,
            call,
            hold,
            over: false,
            _in_flight: in_flight,
        }
    }

    fn hub(&self) -> &Hub {
        &self.session.hub
    }

    /// Runs to the end.
    pub(super) async fn run(
        mut self,
        answering: impl Future<Output = Result<Response, BoxError>>,
        credit: Option<Arc<Semaphore>>,
    ) {
        Counters::add(&self.hub().counters.calls);
        let Call {
            timeout, deadline, ..
        } = self.call;
        let work = async {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(late(timeout));
            }
            let answered = AssertUnwindSafe(answering).catch_unwind().await;
            let response = answered
                .map_err(|panic| panicked(self.hub(), &*panic))?
                .map_err(failed)?;
            AssertUnwindSafe(self.deliver(response, credit))
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| Err(panicked(self.hub(), &*panic)))
                .map_err(Failure::begun)
        };
        let done = match deadline {
            None => work.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, work).await {
                Ok(done) => done,
                Err(_) => Err(late(timeout)),
            },
        };
        let last = match done {
            Ok(last) => last,
            Err(failure) => {
                Counters::add(&self.hub().counters.failures);
                failure.to_envelope(self.call.id, self.call.codec)
            }
        };
        if let Hold::Ticket(ticket) = &self.hold {
            self.session.finish(*ticket, &last);
            self.over = true;
        }
    }

    /// Sends all of an answer but its last message, which is returned.
    async fn deliver(
        &self,
        mut response: Response,
        credit: Option<Arc<Semaphore>>,
    ) -> Result<Envelope, Failure> {
        match (response.items.take(), &self.hold, credit) {
            (Some(items), Hold::Ticket(ticket), Some(credit)) => {
                self.deliver_items(*ticket, items, &credit).await
            }
            (Some(_), Hold::Loose(_), _) => Ok(Envelope::response(self.call.id, Frame::new())),
            (Some(_), Hold::Ticket(_), None) => Err(streams()),
            (None, ..) => whole(self.hub(), self.call, response),
        }
    }

    async fn deliver_items(
        &self,
        ticket: Ticket,
        mut items: Items,
        credit: &Semaphore,
    ) -> Result<Envelope, Failure> {
        let mut number = 0_u32;
        // One item is made ahead of its leave: whether it is the last, or none any more, needs no leave to be told.
        while let Some(item) = items.next().await {
            let item = item.map_err(CallError::into_failure)?;
            let mut envelope = Envelope::stream_item(self.call.id, number, item.body).with_codec(item.codec);
            envelope.buffers = item.buffers;
            check_size("an item", envelope.size(), self.hub().options.max_response)?;
            check_form(&envelope)?;
            let leave = credit.acquire().await;
            let is_wanted = leave.map(tokio::sync::SemaphorePermit::forget).is_ok();
            if !is_wanted || !self.session.send_item(ticket, &envelope).await {
                return Err(Failure::new(FailureKind::Cancelled, "nobody reads the stream"));
            }
            number = number.wrapping_add(1);
            tokio::task::coop::consume_budget().await;
        }
        Ok(Envelope::stream_end(self.call.id, number))
    }
}

/// What a service does with a request.
pub(super) fn called<S: Serves>(
    service: S,
    request: Request,
) -> impl Future<Output = Result<Response, BoxError>> + Send {
    service.oneshot(request).map_err(Into::into)
}

/// The answer of a call that was over at once, if it wants one.
pub(super) fn answer_at_once(
    hub: &Hub,
    call: Call,
    wants: Wants,
    answered: Result<Response, BoxError>,
) -> Option<Message> {
    let answer = match answered {
        Ok(Response { items: Some(_), .. }) if wants == Wants::Nothing => return None,
        Ok(Response { items: Some(_), .. }) => Err(streams().begun()),
        Ok(response) => whole(hub, call, response).map_err(Failure::begun),
        Err(error) => Err(failed(error)),
    };
    match answer {
        // What cannot be encoded is refused by `whole`.
        Ok(answer) if wants != Wants::Nothing => answer.encode().ok(),
        Ok(_) => None,
        Err(failure) => failed_at_once(hub, call, wants, &failure),
    }
}

/// The same of one that failed.
pub(super) fn failed_at_once(hub: &Hub, call: Call, wants: Wants, failure: &Failure) -> Option<Message> {
    Counters::add(&hub.counters.failures);
    match wants {
        Wants::Nothing => None,
        Wants::Answer | Wants::Stream(_) => failure.to_envelope(call.id, call.codec).encode().ok(),
    }
}

/// An answer that is no stream.
fn whole(hub: &Hub, call: Call, response: Response) -> Result<Envelope, Failure> {
    let mut header = Header::new(Kind::Response, call.id);
    header.codec = response.codec;
    // In place: each `with_…` would move it.
    let answer = Envelope {
        header,
        method: None,
        body: response.body,
        metadata: response.metadata,
        buffers: response.buffers,
    };
    check_size("the answer", answer.size(), hub.options.max_response)?;
    check_form(&answer)?;
    Ok(answer)
}

fn failed(error: BoxError) -> Failure {
    CallError::from_boxed(error).into_failure()
}

fn streams() -> Failure {
    Failure::new(FailureKind::BadArguments, "the answer is a stream: ask for one")
}

/// Counts a panic, and makes of it what the caller is told.
pub(super) fn panicked(hub: &Hub, panic: &(dyn Any + Send)) -> Failure {
    Counters::add(&hub.counters.panics);
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::new(FailureKind::Panicked, text.unwrap_or("without a text"))
}

pub(super) fn late(timeout: Option<Duration>) -> Failure {
    let message = format!(
        "the caller waits {:?}, and that is over",
        timeout.unwrap_or_default()
    );
    Failure::new(FailureKind::DeadlineExceeded, message)
}

/// Whether it can be encoded, as far as that is up to the handler.
fn check_form(envelope: &Envelope) -> Result<(), Failure> {
    match envelope.check() {
        Ok(()) => Ok(()),
        Err(error) => Err(Failure::new(FailureKind::Internal, error.to_string())),
    }
}

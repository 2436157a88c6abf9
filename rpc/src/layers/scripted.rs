//! A service for tests that does as it is told, with attempts one behind the other.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Sleep;
use tower::Service;

use crate::envelope::{Codec, Method};
use crate::error::CallError;
use crate::failure::{Failure, FailureKind};
use crate::request::{Request, Response};

/// Attempts, each of which takes the next step; when there is none left there is no room, and never will be.
#[derive(Default)]
pub(super) struct Scripted {
    script: Arc<Script>,
    /// Until when this clone waits for room.
    room: Option<Pin<Box<Sleep>>>,
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    made: Mutex<Vec<Option<Duration>>>,
}

/// What becomes of one attempt.
pub(super) struct Step {
    room: Duration,
    broken: Option<CallError>,
    takes: Duration,
    answer: Result<(), CallError>,
}

impl Step {
    /// One that ends so.
    pub(super) fn answers(answer: Result<(), CallError>) -> Self {
        Step {
            room: Duration::ZERO,
            broken: None,
            takes: Duration::ZERO,
            answer,
        }
    }

    /// The service is broken: it has this error in place of room.
    pub(super) fn broken(error: CallError) -> Self {
        Step {
            broken: Some(error),
            ..Self::answers(Ok(()))
        }
    }

    /// The same with so many milliseconds until it ends.
    pub(super) fn after(mut self, millis: u64) -> Self {
        self.takes = Duration::from_millis(millis);
        self
    }

    /// The same with so many milliseconds until there is room.
    pub(super) fn room_after(mut self, millis: u64) -> Self {
        self.room = Duration::from_millis(millis);
        self
    }
}

impl Scripted {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let scripted = Scripted::default();
        scripted.script.steps.lock().extend(steps);
        scripted
    }

    /// The timeouts of the attempts that were made.
    pub(super) fn made(&self) -> Vec<Option<Duration>> {
        self.script.made.lock().clone()
    }
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        Scripted {
            script: Arc::clone(&self.script),
            room: None,
        }
    }
}

impl Service<Request> for Scripted {
    type Response = Response;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Response, CallError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let steps = self.script.steps.lock();
        let Some(step) = steps.front() else {
            return Poll::Pending;
        };
        let room = step.room;
        let sleep = self
            .room
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(room)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(step.broken.clone().map_or(Ok(()), Err))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.room = None;
        self.script.made.lock().push(request.timeout);
        let step = self.script.steps.lock().pop_front();
        Box::pin(async move {
            let step = step.expect("a call has room");
            tokio::time::sleep(step.takes).await;
            step.answer.map(|()| Response::default())
        })
    }
}

/// A call.
pub(super) fn request(idempotent: bool, timeout: Option<Duration>) -> Request {
    let arguments = Codec::Postcard.encode(&()).expect("nothing can be written");
    let mut request = Request::new(Method::new("any").expect("a name"), Codec::Postcard, arguments);
    request.idempotent = idempotent;
    request.timeout = timeout;
    request
}

/// The connection was lost.
pub(super) fn lost(sent: bool) -> CallError {
    CallError::Disconnected {
        endpoint: "tcp://there".to_owned(),
        reason: "it went".to_owned(),
        sent,
    }
}

/// The server says so.
pub(super) fn failed(kind: FailureKind) -> CallError {
    Failure::new(kind, "so it is").into()
}

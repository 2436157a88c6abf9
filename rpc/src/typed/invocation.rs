//! A call by a method of a typed client, until it is answered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use pin_project_lite::pin_project;
use tower::Service;

use super::caller::CallService;
use crate::client::Turn;
use crate::envelope::MetadataError;
use crate::error::CallError;
use crate::request::{Request, Response, Wants};

pin_project! {
    /// A call by a method of a typed client. It is made when it is awaited, and says then what came of it; before,
    /// more can be said of it.
    ///
    /// Its errors are [`CallError`]s; [`CallError::may_have_run`] says whether a retry is sound. `T` is the answer; a
    /// stream of answers is ready when its first value or its end is there, and dropping it ends it on the server, too.
    ///
    /// ```
    /// # #[flexbond_rpc::service]
    /// # trait Echo {
    /// #     async fn echo(&self, text: String) -> Result<String, Failure>;
    /// # }
    /// # use flexbond_rpc::{CallError, Failure};
    /// use std::time::Duration;
    ///
    /// async fn shout(echo: &EchoClient) -> Result<String, CallError> {
    ///     echo.echo("hello".to_owned()).timeout(Duration::from_millis(200)).await
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// When it is dropped before it is ready, the call is cancelled, here and on the server.
    #[must_use = "nothing is called until it is awaited"]
    pub struct Invocation<S, T>
    where
        S: Service<Request>,
    {
        #[pin]
        stage: Stage<S, S::Future>,
        read: fn(Response) -> Result<T, CallError>,
    }
}

pin_project! {
    #[project = StageNow]
    enum Stage<S, F> {
        // Waits for its first poll, then until the service is ready.
        Prepared {
            call: Option<(S, Request)>,
            turn: Turn,
        },
        Refused { error: Option<CallError> },
        // The service lives until it has answered: it may be the last handle of a client.
        Called {
            service: S,
            turn: Turn,
            #[pin]
            answer: F,
        },
        Over,
    }
}

impl<S: Service<Request>, T> Invocation<S, T> {
    /// A call that waits for its service as long as the request says or, where it does not, for `patience`.
    #[inline]
    pub(crate) fn new(
        service: S,
        patience: Option<Duration>,
        request: Result<Request, CallError>,
        read: fn(Response) -> Result<T, CallError>,
    ) -> Self {
        let stage = match request {
            Ok(request) => Stage::Prepared {
                call: Some((service, request)),
                turn: Turn::new(patience),
            },
            Err(error) => Stage::Refused { error: Some(error) },
        };
        Invocation { stage, read }
    }

    /// The same with so long to wait, from call to answer; of a stream, to its end.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.change(|request| request.timeout = Some(timeout));
        self
    }

    /// The same with an entry of metadata.
    ///
    /// # Errors
    /// [`MetadataError`] when the name is not one, or there is too much.
    pub fn metadata(mut self, name: &str, value: impl Into<Bytes>) -> Result<Self, MetadataError> {
        let mut inserted = Ok(());
        self.change(|request| inserted = request.metadata.insert(name, value).map(drop));
        inserted.map(|()| self)
    }

    /// The same, and says that the call may run twice without harm: retries rely on it.
    pub fn idempotent(mut self) -> Self {
        self.change(|request| request.idempotent = true);
        self
    }

    /// The same with room for so many items before the first is read, if the answer is a stream.
    pub fn window(mut self, items: u32) -> Self {
        self.change(|request| {
            if let Wants::Stream(window) = &mut request.wants {
                *window = items;
            }
        });
        self
    }

    fn change(&mut self, change: impl FnOnce(&mut Request)) {
        if let Stage::Prepared {
            call: Some((_, request)),
            ..
        } = &mut self.stage
        {
            change(request);
        }
    }
}

impl<S: CallService, T> Future for Invocation<S, T> {
    type Output = Result<T, CallError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let answered = loop {
            let called = match this.stage.as_mut().project() {
                StageNow::Prepared { call, turn } => {
                    let Some((service, request)) = call else {
                        break Err(CallError::Closed);
                    };
                    let room = service.poll_ready(cx);
                    let room = room.map_err(|error| CallError::from_boxed(error.into()));
                    if let Err(error) = ready!(turn.poll(cx, request, room)) {
                        break Err(error);
                    }
                    let Some((mut service, request)) = call.take() else {
                        break Err(CallError::Closed);
                    };
                    let answer = service.call(request);
                    let turn = std::mem::replace(turn, Turn::new(None));
                    Stage::Called {
                        service,
                        turn,
                        answer,
                    }
                }
                StageNow::Called { answer, turn, .. } => {
                    let answered = ready!(answer.poll(cx));
                    break answered.map_err(|error| turn.error(CallError::from_boxed(error.into())));
                }
                StageNow::Refused { error } => break Err(error.take().unwrap_or(CallError::Closed)),
                StageNow::Over => break Err(CallError::Closed),
            };
            this.stage.set(called);
        };
        this.stage.set(Stage::Over);
        Poll::Ready(answered.and_then(this.read))
    }
}

impl<S: Service<Request>, T> fmt::Debug for Invocation<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Prepared { .. } => "prepared",
            Stage::Refused { .. } => "refused",
            Stage::Called { .. } => "called",
            Stage::Over => "over",
        };
        f.debug_tuple("Invocation").field(&stage).finish()
    }
}

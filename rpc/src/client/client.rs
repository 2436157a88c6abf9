//! A client: its handle, and the future of a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::{ConnectError, IntoEndpoint, OptionError};
use futures_util::StreamExt;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::Service;

use super::calls::{Beginning, Next, Patience};
use super::driver;
use super::options::Options;
use super::shared::{Link, Shared, is_sooner};
use crate::envelope::{EncodeError, Envelope, Flags};
use crate::error::CallError;
use crate::request::{Items, Request, Response, Wants};

/// A client: calls what a server offers at one endpoint. A tower service; a clone uses the same connection.
///
/// One task sees to the connection: it connects again when the connection is lost. What was sent by then and not
/// answered fails with [`CallError::Disconnected`], for it may have run; what was not sent yet waits for the next
/// connection. Any number of calls are under way at once.
///
/// Dropping the future of a call cancels it, here and on the server. When the last clone is dropped, what was sent
/// still leaves within [`Options::linger`].
pub struct Client {
    shared: Arc<Shared>,
    /// Room for one more call, once this is ready.
    room: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

/// Why there is no client.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An option of the socket is out of bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The endpoint is none that can be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Client {
    /// A client of the server at `endpoint`, with default options. The connection is made in the background; calls
    /// wait for it.
    ///
    /// # Errors
    /// [`ClientError`] for what can never be connected to.
    pub fn connect(endpoint: impl IntoEndpoint) -> Result<Self, ClientError> {
        Self::with_options(endpoint, Options::default())
    }

    /// The same with the given options.
    ///
    /// # Errors
    /// [`ClientError`] for what can never be connected to, or an option that is out of bounds.
    pub fn with_options(endpoint: impl IntoEndpoint, options: Options) -> Result<Self, ClientError> {
        let endpoint = endpoint.into_endpoint().map_err(ConnectError::from)?;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(ConnectError::NoRuntime.into());
        };
        let shared = Shared::new(endpoint, options);
        let dialled = driver::dial(&shared)?;
        dialled.0.connect(&shared.endpoint)?;
        runtime.spawn(driver::run(Arc::clone(&shared), dialled));
        Ok(Client { shared, room: None })
    }

    /// The server's endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.shared.state.lock().link, Link::Up { .. })
    }

    /// Why there is no connection, while there is none.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.state.lock().unconnected().map(str::to_owned)
    }

    /// Waits until there is a connection, for at most `limit`.
    ///
    /// # Errors
    /// [`CallError::Unconnected`] with the reason of the last attempt.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn connected(&self, limit: Duration) -> Result<(), CallError> {
        let up = until(&self.shared, |_| self.is_connected());
        if tokio::time::timeout(limit, up).await.is_ok() {
            return Ok(());
        }
        Err(CallError::Unconnected {
            endpoint: self.shared.endpoint.to_string(),
            reason: self.trouble().unwrap_or_default(),
        })
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.state.lock().calls.len()
    }

    /// Begins a call, without asking whether there is room for one more. [`Service::call`] does the same.
    #[must_use = "a call whose future is dropped is cancelled"]
    pub fn begin(&self, request: Request) -> Calling {
        Calling(match self.start(request) {
            Ok(stage) => stage,
            Err(error) => Stage::Refused(Some(error)),
        })
    }

    /// Waits for room for one more call, then makes it.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn request(&self, request: Request) -> Result<Response, CallError> {
        if !self.shared.has_room() {
            until(&self.shared, Shared::has_room).await;
        }
        self.begin(request).await
    }

    fn start(&self, request: Request) -> Result<Stage, CallError> {
        let shared = &self.shared;
        let size = request.size();
        let streams = matches!(request.wants, Wants::Stream(_));
        let patience = match (request.timeout, shared.options.timeout) {
            (Some(timeout), _) => Patience::Whole(timeout),
            (None, None) => Patience::Endless,
            (None, Some(timeout)) if streams || request.items.is_some() => Patience::Each(timeout),
            (None, Some(timeout)) => Patience::Whole(timeout),
        };
        let uploading = request.items.is_some().then(|| Arc::new(Semaphore::new(0)));
        let window = match request.wants {
            Wants::Stream(items) => Some(items.max(1)),
            Wants::Answer | Wants::Nothing => None,
        };
        let is_one_way = request.wants == Wants::Nothing;
        let (mut envelope, items) = envelope(request, window);
        if let Patience::Whole(timeout) = patience {
            envelope.header.deadline = Some(timeout);
        }
        envelope.check()?;

        let now = Instant::now();
        let mut state = shared.state.lock();
        if state.is_closed() {
            return Err(CallError::Closed);
        }
        let limit = state.max_request();
        if size > limit {
            return Err(CallError::TooLarge {
                size,
                limit,
                answer: false,
            });
        }
        if !shared.options.wait_for_connection
            && let Some(reason) = state.unconnected()
        {
            return Err(CallError::Unconnected {
                endpoint: shared.endpoint.to_string(),
                reason: reason.to_owned(),
            });
        }
        let call = state.calls.insert(now, patience, window, uploading.clone());
        envelope.header.call = call;
        let message = match envelope.encode() {
            Ok(message) => message,
            Err(error) => return Err(error_of(&mut state.calls, call, error)),
        };
        let asks = state.send(call, message);
        let asks = asks || is_sooner(state.calls.poll_timeout(), state.alarm);
        drop(state);
        if asks {
            shared.work.notify_one();
        }
        // From here on, dropping it cancels the call.
        let guard = Guard {
            shared: Arc::clone(shared),
            call,
        };
        if is_one_way {
            return Ok(Stage::Leaving(guard));
        }
        if let (Some(items), Some(leave)) = (items, uploading) {
            tokio::spawn(upload(Arc::clone(shared), call, items, leave));
        }
        Ok(Stage::Waiting {
            guard,
            window: window.unwrap_or_default(),
        })
    }
}

#[cold]
fn error_of(calls: &mut super::calls::Calls, call: u64, error: EncodeError) -> CallError {
    calls.cancel(call);
    error.into()
}

/// The message of a request, but for the number of the call; and the items to send behind it.
fn envelope(request: Request, window: Option<u32>) -> (Envelope, Option<Items>) {
    let mut flags = Flags::NONE;
    for (flag, on) in [
        (Flags::STREAM, window.is_some()),
        (Flags::IDEMPOTENT, request.idempotent),
        (Flags::UPLOAD, request.items.is_some()),
    ] {
        if on {
            flags = flags | flag;
        }
    }
    let mut envelope = match request.wants {
        Wants::Nothing => Envelope::one_way(0, request.method, request.body),
        Wants::Answer | Wants::Stream(_) => Envelope::request(0, request.method, request.body),
    };
    envelope = envelope
        .with_codec(request.codec)
        .with_flags(flags)
        .with_metadata(request.metadata)
        .with_count(window.unwrap_or_default());
    envelope.buffers = request.buffers;
    (envelope, request.items)
}

/// Waits until a condition of what is shared holds.
async fn until(shared: &Shared, mut condition: impl FnMut(&Shared) -> bool) {
    loop {
        let change = shared.change.notified();
        tokio::pin!(change);
        // Before looking, so that no change is missed.
        change.as_mut().enable();
        if condition(shared) {
            return;
        }
        change.await;
    }
}

/// Sends streamed arguments as the server takes them, until the call ends.
async fn upload(shared: Arc<Shared>, call: u64, mut items: Items, leave: Arc<Semaphore>) {
    let mut number = 0_u32;
    let done = async {
        loop {
            match leave.acquire().await {
                Ok(leave) => leave.forget(),
                Err(_) => return Ok(()),
            }
            let Some(item) = items.next().await else {
                shared.send(&Envelope::stream_end(call, number));
                return Ok(());
            };
            let item = item?;
            let mut envelope = Envelope::stream_item(call, number, item.body).with_codec(item.codec);
            envelope.buffers = item.buffers;
            envelope.check()?;
            shared.send(&envelope);
            number = number.wrapping_add(1);
        }
    };
    let over = until(&shared, |shared| !shared.state.lock().calls.is_open(call));
    let failed: Result<(), CallError> = tokio::select! {
        done = done => done,
        () = over => return,
    };
    if let Err(error) = failed {
        let waker = shared.state.lock().calls.fail(call, error);
        shared.send(&Envelope::cancel(call));
        Shared::wake(waker);
    }
}

impl Service<Request> for Client {
    type Response = Response;
    type Error = CallError;
    type Future = Calling;

    /// Ready when fewer calls are under way than [`Options::max_in_flight`].
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        loop {
            if self.room.is_none() {
                if self.shared.has_room() {
                    return Poll::Ready(Ok(()));
                }
                let shared = Arc::clone(&self.shared);
                self.room = Some(Box::pin(async move {
                    until(&shared, Shared::has_room).await;
                }));
            }
            if let Some(room) = &mut self.room {
                std::task::ready!(room.as_mut().poll(cx));
                self.room = None;
            }
        }
    }

    fn call(&mut self, request: Request) -> Calling {
        self.begin(request)
    }
}

/// A call under way. Dropping it cancels the call, here and on the server.
#[must_use = "a call whose future is dropped is cancelled"]
pub struct Calling(Stage);

enum Stage {
    Refused(Option<CallError>),
    Leaving(Guard),
    Waiting { guard: Guard, window: u32 },
    Over,
}

/// Ends a call when it is dropped.
struct Guard {
    shared: Arc<Shared>,
    call: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.cancel(self.call);
    }
}

impl Future for Calling {
    type Output = Result<Response, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Stage::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(CallError::Closed))),
            Stage::Leaving(guard) => {
                let left = guard.shared.state.lock().calls.poll_left(cx, guard.call);
                let left = std::task::ready!(left);
                self.0 = Stage::Over;
                Poll::Ready(left.map(|()| Response::default()))
            }
            Stage::Waiting { guard, .. } => {
                let answer = guard.shared.state.lock().calls.poll_answer(cx, guard.call);
                let answer = std::task::ready!(answer);
                let stage = std::mem::replace(&mut self.0, Stage::Over);
                let Stage::Waiting { guard, window } = stage else {
                    return Poll::Ready(Err(CallError::Closed));
                };
                Poll::Ready(answer.map(|beginning| match beginning {
                    Beginning::Whole(response) => response,
                    Beginning::Stream => Response {
                        items: Some(read(guard, window)),
                        ..Response::default()
                    },
                }))
            }
            Stage::Over => Poll::Ready(Err(CallError::Closed)),
        }
    }
}

/// The items of a streamed answer. Dropping it ends the stream, here and on the server.
fn read(guard: Guard, window: u32) -> Items {
    let mut guard = Some(guard);
    let mut taken = 0;
    Items::new(futures_util::stream::poll_fn(move |cx| {
        let Some(Guard { shared, call }) = &guard else {
            return Poll::Ready(None);
        };
        let next = shared.state.lock().calls.poll_item(Instant::now(), cx, *call);
        match std::task::ready!(next) {
            Ok(Next::Item(item)) => {
                taken += 1;
                // Half a window at a time: few messages, and the server need not stop.
                if taken >= window.div_ceil(2) {
                    shared.state.lock().calls.grant(*call, taken);
                    shared.send(&Envelope::credit(*call, std::mem::take(&mut taken)));
                }
                Poll::Ready(Some(Ok(item)))
            }
            Ok(Next::End) => {
                guard = None;
                Poll::Ready(None)
            }
            Err(error) => {
                guard = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }))
}

impl Clone for Client {
    fn clone(&self) -> Self {
        self.shared.add_handle();
        Client {
            shared: Arc::clone(&self.shared),
            room: None,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.shared.endpoint)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calling")
    }
}

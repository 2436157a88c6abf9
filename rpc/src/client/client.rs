//! A client's handle.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::{ConnectError, IntoEndpoint, OptionError};
use thiserror::Error;
use tokio::time::Instant;
use tower::Service;
use tower::load::Load;

use super::calling::{Calling, Guard, upload};
use super::driver;
use super::options::Options;
use super::room::Place;
use super::shared::{Link, Shared};
use super::slot::{Kind, Patience};
use super::turn::Turn;
use crate::envelope::{self, Envelope, Flags, Header};
use crate::error::CallError;
use crate::request::{Items, Request, Response, Wants};

/// A client: calls what a server offers at one endpoint. A tower service; a clone uses the same connection.
///
/// One task sees to the connection: it connects again when the connection is lost. What was sent by then and not
/// answered fails with [`CallError::Disconnected`], for it may have run; what was not sent yet waits for the next
/// connection. Any number of calls are under way at once. A server that drains ends the calls that it has; those that
/// come then wait for the next connection, which is made as soon as the last of them has ended.
///
/// The options of the socket may give a client a routing id, which must be its own: a server closes the connection of a
/// second client of the same id, as long as the first is there, and its calls fail with [`CallError::Disconnected`].
///
/// Dropping the future of a call cancels it, here and on the server. Calls and streams outlive the clients that made
/// them: the connection is closed once neither a clone nor a call is left, and what was sent still leaves within
/// [`Options::linger`].
///
/// As a [`Load`] it is the calls under way, and a great many more while there is no connection, so that tower's
/// balancers prefer any client that has one.
pub struct Client {
    shared: Arc<Shared>,
    /// Room for one more call.
    place: Place,
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
    /// A client of several servers was given none.
    #[error("no endpoint to connect to")]
    NoEndpoint,
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
        let shared = Shared::new(endpoint, options, runtime);
        let dialled = driver::dial(&shared)?;
        dialled.0.connect(&shared.endpoint)?;
        shared.runtime.spawn(driver::run(Arc::clone(&shared), dialled));
        Ok(Client {
            shared,
            place: Place::None,
        })
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
        // Over, too, when there will never be one.
        if let Ok(true) = tokio::time::timeout(limit, self.up()).await {
            return Ok(());
        }
        Err(CallError::Unconnected {
            endpoint: self.shared.endpoint.to_string(),
            reason: self.trouble().unwrap_or_default(),
        })
    }

    /// Waits until there is a connection, or there will never be one; which of them.
    pub(crate) async fn up(&self) -> bool {
        until(&self.shared, || {
            let state = self.shared.state.lock();
            matches!(state.link, Link::Up { .. }) || state.refusal(&self.shared.endpoint).is_some()
        })
        .await;
        self.is_connected()
    }

    /// Waits until there is a connection and was none before, or the other way round.
    pub(crate) async fn turned(&self, was_up: bool) {
        until(&self.shared, || self.is_connected() != was_up).await;
    }

    /// Calls under way, if there is a connection.
    pub(crate) fn connected_load(&self) -> Option<usize> {
        let state = self.shared.state.lock();
        matches!(state.link, Link::Up { .. }).then(|| state.calls.len())
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.state.lock().calls.len()
    }

    /// Lets go of this handle, and waits until the connection is closed: no other handle and no call is left, and what was
    /// said last (one-way calls, cancellations) has left, or had [`Options::linger`] for it. A program that ends with
    /// its runtime right after a one-way call may end before the call has left; after this it has.
    ///
    /// # Cancel safety
    /// Dropping the future is as good as dropping the client.
    pub async fn close(self) {
        let shared = Arc::clone(&self.shared);
        drop(self);
        until(&shared, || shared.is_closed()).await;
    }

    /// Messages that came and could not be read, since the client was made. One with the number of a call under way has
    /// ended it with [`CallError::Malformed`]; the others concerned nobody.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.shared.malformed.load(Ordering::Relaxed)
    }

    /// Begins a call, without asking whether there is room for one more: it may be one more than
    /// [`Options::max_in_flight`].
    #[must_use = "a call whose future is dropped is cancelled"]
    pub fn begin(&self, request: Request) -> Calling {
        self.begin_at(&mut Place::None, request)
    }

    /// Waits for room for one more call, then makes it. To wait counts to the call's time.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn request(&self, mut request: Request) -> Result<Response, CallError> {
        let mut seat = Seat {
            shared: &self.shared,
            place: Place::None,
        };
        let mut turn = Turn::new(self.shared.options.timeout);
        poll_fn(|cx| {
            let room = self.shared.poll_place(cx, &mut seat.place);
            turn.poll(cx, &mut request, room)
        })
        .await?;
        let answer = self.begin_at(&mut seat.place, request).await;
        answer.map_err(|error| turn.error(error))
    }

    /// Begins a call if there is room for one more; `make` makes it.
    pub(super) fn begin_if_room(
        &self,
        make: impl FnOnce() -> Result<Request, CallError>,
    ) -> Option<Result<Calling, CallError>> {
        let mut seat = Seat {
            shared: &self.shared,
            place: Place::None,
        };
        if !self.shared.state.lock().calls.room.try_hold(&mut seat.place) {
            return None;
        }
        // Whoever cannot be encoded, or panics, has no place.
        Some(make().map(|request| self.begin_at(&mut seat.place, request)))
    }

    fn begin_at(&self, place: &mut Place, request: Request) -> Calling {
        let calling = self.start(place, request);
        self.shared.leave(place);
        calling.unwrap_or_else(Calling::refused)
    }

    /// Begins a call at `place`, which stays as it is if there is none.
    fn start(&self, place: &mut Place, request: Request) -> Result<Calling, CallError> {
        let shared = &self.shared;
        let size = request.size();
        let kind = kind(&request, shared.options.timeout);
        if kind.is_one_way && kind.uploads {
            return Err(CallError::OneWayItems);
        }
        let (mut envelope, items) = envelope(request, kind.window);
        if let Patience::Whole(timeout) = kind.patience {
            if timeout.is_zero() {
                return Err(CallError::DeadlineExceeded {
                    timeout,
                    unconnected: Some("its time was over before it began".to_owned()),
                });
            }
            envelope.header.deadline = Some(timeout);
        }

        let call = shared.with(|state, wakers| {
            if let Some(error) = state.refusal(&shared.endpoint) {
                return Err(error);
            }
            let limits = state.limits();
            limits.check_request(size)?;
            if !shared.options.wait_for_connection
                && let Some(reason) = state.unconnected()
            {
                return Err(CallError::Unconnected {
                    endpoint: shared.endpoint.to_string(),
                    reason: reason.to_owned(),
                });
            }
            let now = Instant::now();
            let call = state.calls.insert(now, kind, place);
            envelope.header.call = call;
            let message = envelope.encode().map_err(CallError::from).and_then(|message| {
                limits.check(size, &message)?;
                Ok(message)
            });
            match message {
                Ok(message) => state.send(now, call, size, message, wakers),
                // It ends before it was sent.
                Err(error) => {
                    let _ = state.calls.fail(call, error, wakers);
                }
            }
            Ok(call)
        })?;
        // First: whatever happens from here on, the call does not stay for ever.
        let guard = Guard::new(Arc::clone(shared), call);
        if let Some(items) = items {
            shared.runtime.spawn(upload(Arc::clone(shared), call, items));
        }
        Ok(Calling::waiting(guard))
    }
}

/// A place that is given back if no call is made.
struct Seat<'a> {
    shared: &'a Shared,
    place: Place,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.shared.leave(&mut self.place);
    }
}

/// What a request is, where `timeout` is that of calls that name none.
fn kind(request: &Request, timeout: Option<Duration>) -> Kind {
    let window = match request.wants {
        Wants::Stream(items) => Some(items.max(1)),
        Wants::Answer | Wants::Nothing => None,
    };
    let uploads = request.items.is_some();
    Kind {
        patience: match (request.timeout, timeout) {
            (Some(timeout), _) => Patience::Whole(timeout),
            (None, None) => Patience::Endless,
            (None, Some(timeout)) if window.is_some() || uploads => Patience::Each(timeout),
            (None, Some(timeout)) => Patience::Whole(timeout),
        },
        window,
        uploads,
        is_one_way: request.wants == Wants::Nothing,
    }
}

/// The message of a request, but for the number of the call and its deadline; and the items to send behind it.
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
    let kind = match request.wants {
        Wants::Nothing => envelope::Kind::OneWay,
        Wants::Answer | Wants::Stream(_) => envelope::Kind::Request,
    };
    let mut header = Header::new(kind, 0);
    header.codec = request.codec;
    header.flags = flags;
    header.count = window.unwrap_or_default();
    // In one go: it is large, and each step of a builder would copy it.
    let envelope = Envelope {
        header,
        method: Some(request.method),
        body: request.body,
        metadata: request.metadata,
        buffers: request.buffers,
    };
    (envelope, request.items)
}

/// Waits until a condition of the connection holds.
async fn until(shared: &Shared, mut condition: impl FnMut() -> bool) {
    loop {
        let change = shared.change.notified();
        tokio::pin!(change);
        // Before looking, so that no change is missed.
        change.as_mut().enable();
        if condition() {
            return;
        }
        change.await;
    }
}

impl Service<Request> for Client {
    type Response = Response;
    type Error = CallError;
    type Future = Calling;

    /// Ready when fewer calls are under way than [`Options::max_in_flight`]. A place is kept for the call that follows,
    /// or until this clone is dropped.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.shared.poll_place(cx, &mut self.place)
    }

    fn call(&mut self, request: Request) -> Calling {
        let mut place = std::mem::take(&mut self.place);
        self.begin_at(&mut place, request)
    }
}

impl Load for Client {
    type Metric = usize;

    fn load(&self) -> usize {
        self.connected_load()
            .unwrap_or_else(|| self.in_flight() + UNCONNECTED)
    }
}

/// What a client without a connection is loaded with, in calls.
const UNCONNECTED: usize = 1 << 24;

impl Clone for Client {
    fn clone(&self) -> Self {
        self.shared.add_handle();
        Client {
            shared: Arc::clone(&self.shared),
            place: Place::None,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.leave(&mut self.place);
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

//! One connection: its calls, and the answers on their way back.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use flexbond_session::socket::{Route, SendErrorKind, SocketType};
use flexbond_transport::{Frame, Message};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceExt};

use super::calls::{Calls, Upload};
use super::context::{Connection, Context};
use super::hub::{Counters, Hub, InFlight};
use crate::envelope::{Codec, Envelope, Flags, Header, Kind};
use crate::error::CallError;
use crate::failure::{Failure, FailureKind};
use crate::property;
use crate::request::{Item, Items, Request, Response, Wants};

/// One connection of a server.
#[derive(Debug)]
pub(super) struct Session {
    route: Route,
    connection: Connection,
    hub: Arc<Hub>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    calls: Calls<AbortHandle>,
    /// Answers that the queue has no room for.
    unread: VecDeque<Message>,
    /// A REQ is at the other end: an empty frame stands before each answer.
    delimited: bool,
    gone: bool,
}

/// What a call is to its answer.
#[derive(Clone, Copy, Debug)]
struct Call {
    id: u64,
    codec: Codec,
    wants: Wants,
}

impl Session {
    pub(super) fn new(route: Route, hub: Arc<Hub>) -> Arc<Self> {
        let peer = route.peer();
        Arc::new(Session {
            state: Mutex::new(State {
                calls: Calls::new(hub.options.max_in_flight_per_connection),
                unread: VecDeque::new(),
                delimited: peer.socket_type() == Some(SocketType::Req),
                gone: false,
            }),
            connection: Connection::new(peer),
            route,
            hub,
        })
    }

    /// Whether the other end is connected.
    pub(super) fn is_alive(&self) -> bool {
        self.route.is_ready()
    }

    /// Handles what came from the other end.
    pub(super) fn handle<S>(self: &Arc<Self>, service: &S, mut message: Message)
    where
        S: Service<Request, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        if message.len() > 1 && message[0].is_empty() {
            message.pop_front();
        }
        let header = message
            .get(0)
            .and_then(|first| first.first_chunk::<{ Header::LEN }>())
            .copied();
        let envelope = match Envelope::decode(message) {
            Ok(envelope) => envelope,
            Err(error) => {
                Counters::add(&self.hub.counters.malformed);
                let failure = Failure::new(FailureKind::Malformed, error.to_string());
                // An answer to the call that was meant, if that can be told.
                let header = header.and_then(|bytes| Header::decode(&bytes).ok());
                let call = header.map_or(0, |header| header.call);
                let codec = header.map_or(Codec::Json, |header| header.codec);
                return self.send(&failure.to_envelope(call, codec));
            }
        };
        let Header {
            kind, call, count, ..
        } = envelope.header;
        match kind {
            Kind::Request | Kind::OneWay => self.begin(service, envelope),
            Kind::Cancel => self.cancel(call),
            Kind::Credit => self.state.lock().calls.credit(call, count),
            Kind::StreamItem => self.item(envelope),
            Kind::StreamEnd => self.state.lock().calls.items_end(call, count),
            Kind::Ping => self.send(&Envelope::pong(call)),
            Kind::Response | Kind::Error | Kind::Pong | Kind::Draining => {
                Counters::add(&self.hub.counters.malformed);
                let message = format!("a server takes no {kind}");
                self.send(&Failure::new(FailureKind::Malformed, message).to_envelope(call, Codec::Json));
            }
        }
    }

    /// Begins the work of a call, or answers why not.
    fn begin<S>(self: &Arc<Self>, service: &S, envelope: Envelope)
    where
        S: Service<Request, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let header = envelope.header;
        let wants = match header.kind {
            Kind::OneWay => Wants::Nothing,
            _ if header.flags.contains(Flags::STREAM) => Wants::Stream(header.count),
            _ => Wants::Answer,
        };
        let call = Call {
            id: header.call,
            codec: header.codec,
            wants,
        };
        if let Err(failure) = self.start(service, call, envelope) {
            Counters::add(&self.hub.counters.refused);
            if wants != Wants::Nothing {
                self.send(&failure.to_envelope(call.id, call.codec));
            }
        }
    }

    fn start<S>(self: &Arc<Self>, service: &S, call: Call, envelope: Envelope) -> Result<(), Failure>
    where
        S: Service<Request, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let hub = &self.hub;
        if hub.is_draining() {
            let message = "the server ends and takes no more calls";
            return Err(Failure::new(FailureKind::Unavailable, message));
        }
        check_size("arguments", envelope.size(), hub.options.max_request)?;
        let header = envelope.header;
        let Some(method) = envelope.method else {
            return Err(Failure::new(FailureKind::Malformed, "no method"));
        };
        let Some(in_flight) = hub.admit() else {
            let message = format!("{} calls are under way", hub.options.max_in_flight);
            return Err(Failure::new(FailureKind::Overloaded, message));
        };
        let credit = match call.wants {
            Wants::Stream(items) => {
                let items = (items as usize).min(Semaphore::MAX_PERMITS);
                Some(Arc::new(Semaphore::new(items)))
            }
            Wants::Answer | Wants::Nothing => None,
        };
        let uploads = header.flags.contains(Flags::UPLOAD);
        let window = hub.options.upload_window.max(1);
        let (upload, items) = match uploads {
            true => {
                let (tx, rx) = mpsc::unbounded_channel();
                let items = self.items(call.id, window, rx);
                (Some(Upload::new(tx, window)), Some(items))
            }
            false => (None, None),
        };
        // A one-way call has no number, and cannot be cancelled.
        let is_listed = call.wants != Wants::Nothing;
        if is_listed {
            self.state.lock().calls.begin(call.id, credit.clone(), upload)?;
        }
        if uploads {
            self.send(&Envelope::credit(call.id, window));
        }
        let deadline = header.deadline.and_then(|left| Instant::now().checked_add(left));
        let request = Request {
            method,
            codec: header.codec,
            body: envelope.body,
            buffers: envelope.buffers,
            metadata: envelope.metadata,
            timeout: header.deadline,
            wants: call.wants,
            idempotent: header.flags.contains(Flags::IDEMPOTENT),
            items,
            context: Some(Context::new(self.connection.clone(), deadline)),
        };
        let work = Arc::clone(self).run(service.clone(), call, request, deadline, credit, in_flight);
        let task = tokio::spawn(work);
        if is_listed {
            // If it has ended already there is nothing to abort.
            drop(self.state.lock().calls.attach(call.id, task.abort_handle()));
        }
        Ok(())
    }

    /// The work of one call, from its request to its answer.
    async fn run<S>(
        self: Arc<Self>,
        service: S,
        call: Call,
        request: Request,
        deadline: Option<Instant>,
        credit: Option<Arc<Semaphore>>,
        in_flight: InFlight,
    ) where
        S: Service<Request, Response = Response> + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        Counters::add(&self.hub.counters.calls);
        let timeout = request.timeout;
        let work = async {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(late(timeout));
            }
            let answered = AssertUnwindSafe(service.oneshot(request)).catch_unwind().await;
            let response = answered
                .map_err(|panic| self.panicked(&*panic))?
                .map_err(|error| CallError::from_boxed(error.into()).into_failure())?;
            AssertUnwindSafe(self.deliver(call, response, credit))
                .catch_unwind()
                .await
                .map_err(|panic| self.panicked(&*panic))?
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
                Counters::add(&self.hub.counters.failures);
                failure.to_envelope(call.id, call.codec)
            }
        };
        if call.wants != Wants::Nothing {
            // Before the answer goes out: the caller may use the number again then.
            self.state.lock().calls.end(call.id);
            self.send(&last);
        }
        drop(in_flight);
    }

    /// Sends all of an answer but its last message, which is returned.
    async fn deliver(
        self: &Arc<Self>,
        call: Call,
        response: Response,
        credit: Option<Arc<Semaphore>>,
    ) -> Result<Envelope, Failure> {
        let limit = self.hub.options.max_response;
        match (response.items, credit) {
            (Some(items), Some(credit)) => self.deliver_items(call, items, &credit).await,
            (Some(_), None) if call.wants == Wants::Nothing => Ok(Envelope::response(call.id, Frame::new())),
            (Some(_), None) => {
                let message = "this method streams its answer: ask for a stream";
                Err(Failure::new(FailureKind::BadArguments, message))
            }
            (None, _) => {
                let mut answer = Envelope::response(call.id, response.body)
                    .with_codec(response.codec)
                    .with_metadata(response.metadata);
                answer.buffers = response.buffers;
                check_size("the answer", answer.size(), limit)?;
                check_form(&answer)?;
                Ok(answer)
            }
        }
    }

    async fn deliver_items(
        self: &Arc<Self>,
        call: Call,
        mut items: Items,
        credit: &Semaphore,
    ) -> Result<Envelope, Failure> {
        let mut number = 0_u32;
        loop {
            // First the leave, then the item: what the caller has no room for is not even made.
            match credit.acquire().await {
                Ok(leave) => leave.forget(),
                Err(_) => return Err(Failure::new(FailureKind::Cancelled, "nobody reads the stream")),
            }
            let Some(item) = items.next().await else {
                return Ok(Envelope::stream_end(call.id, number));
            };
            let item = item.map_err(CallError::into_failure)?;
            let mut envelope = Envelope::stream_item(call.id, number, item.body).with_codec(item.codec);
            envelope.buffers = item.buffers;
            check_size("an item", envelope.size(), self.hub.options.max_response)?;
            check_form(&envelope)?;
            self.send(&envelope);
            number = number.wrapping_add(1);
            tokio::task::coop::consume_budget().await;
        }
    }

    /// The items of streamed arguments, as their handler reads them.
    fn items(
        self: &Arc<Self>,
        call: u64,
        window: u32,
        mut rx: mpsc::UnboundedReceiver<Result<Item, CallError>>,
    ) -> Items {
        let session = Arc::downgrade(self);
        let mut read = 0;
        Items::new(futures_util::stream::poll_fn(move |cx| {
            let item = std::task::ready!(rx.poll_recv(cx));
            if item.is_some() {
                read += 1;
                // Half a window at a time: few messages, and the caller need not stop.
                if read >= window.div_ceil(2)
                    && let Some(session) = session.upgrade()
                {
                    session.grant(call, std::mem::take(&mut read));
                }
            }
            Poll::Ready(item)
        }))
    }

    fn grant(self: &Arc<Self>, call: u64, items: u32) {
        let is_wanted = self.state.lock().calls.grant(call, items);
        if is_wanted {
            self.send(&Envelope::credit(call, items));
        }
    }

    fn item(self: &Arc<Self>, envelope: Envelope) {
        let Header {
            call, count, codec, ..
        } = envelope.header;
        let checked = check_size("an item", envelope.size(), self.hub.options.max_request);
        let item = Item {
            codec,
            body: envelope.body,
            buffers: envelope.buffers,
        };
        let taken = checked.and_then(|()| self.state.lock().calls.item(call, count, item));
        if let Err(failure) = taken {
            // The call cannot be right any more: it ends with this answer.
            let ended = self.state.lock().calls.end(call);
            if let Some(task) = ended.and_then(|running| running.task) {
                task.abort();
                self.send(&failure.to_envelope(call, codec));
            }
        }
    }

    fn cancel(&self, call: u64) {
        let ended = self.state.lock().calls.end(call);
        if let Some(task) = ended.and_then(|running| running.task) {
            Counters::add(&self.hub.counters.cancelled);
            task.abort();
        }
    }

    /// The other end is gone: nobody waits for its calls.
    pub(super) fn lost(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        state.unread.clear();
        let ended = state.calls.end_all();
        drop(state);
        for task in ended.filter_map(|running| running.task) {
            Counters::add(&self.hub.counters.cancelled);
            task.abort();
        }
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> Failure {
        Counters::add(&self.hub.counters.panics);
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Failure::new(FailureKind::Panicked, text.unwrap_or("without a text"))
    }

    /// Sends, or keeps for when there is room. Nobody waits: what may be kept is bounded by the calls under way.
    fn send(self: &Arc<Self>, envelope: &Envelope) {
        // What cannot be encoded was refused before.
        let Ok(mut message) = envelope.encode() else {
            return;
        };
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        if state.delimited {
            message.push_front(Frame::new());
        }
        if state.unread.is_empty() {
            match self.route.try_send(message) {
                Ok(()) => {}
                Err(error) if *error.kind() == SendErrorKind::WouldBlock => {
                    state.unread.push_back(error.into_message());
                    drop(state);
                    self.hub.stalls(Arc::clone(self));
                }
                Err(_) => state.gone = true,
            }
        } else if state.unread.len() < self.hub.options.max_unread {
            state.unread.push_back(message);
        } else {
            state.gone = true;
            drop(state);
            self.route.end("it does not read its answers");
        }
    }

    /// Sends what was kept, as far as there is room. Ready when nothing is left.
    pub(super) fn poll_unread(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        while let Some(message) = state.unread.pop_front() {
            let mut message = Some(message);
            match self.route.poll_send(cx, &mut message) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    state.gone = true;
                    state.unread.clear();
                }
                Poll::Pending => {
                    state.unread.extend(message);
                    state.unread.rotate_right(1);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Tells the other end that no more calls are taken.
    pub(super) fn announce_drain(self: &Arc<Self>) {
        // A plain script waits for its answer and nothing else.
        if self.connection.peer().metadata(property::NAME).is_some() {
            self.send(&Envelope::draining());
        }
    }
}

fn late(timeout: Option<Duration>) -> Failure {
    let message = format!(
        "the caller waits {:?}, and that is over",
        timeout.unwrap_or_default()
    );
    Failure::new(FailureKind::DeadlineExceeded, message)
}

fn check_size(what: &str, size: usize, limit: usize) -> Result<(), Failure> {
    if size <= limit {
        return Ok(());
    }
    let message = format!("{what}: {size} bytes are more than the {limit} that are allowed");
    Err(Failure::new(FailureKind::TooLarge, message))
}

/// Whether it can be encoded, as far as that is up to the handler.
fn check_form(envelope: &Envelope) -> Result<(), Failure> {
    match envelope.check() {
        Ok(()) => Ok(()),
        Err(error) => Err(Failure::new(FailureKind::Internal, error.to_string())),
    }
}

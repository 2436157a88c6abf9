//! One connection: what comes in by it, and the calls that this begins and ends.

mod delivery;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Waker;

use flexbond_session::socket::{Route, SocketType};
use flexbond_transport::Message;
use futures_util::TryFutureExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tower::{BoxError, Service};

use super::at_once::{Trial, Tried};
use super::backlog::Backlog;
use super::calls::{Calls, Ticket};
use super::context::{Connection, Context};
use super::hub::{Counters, Hub, InFlight};
use super::upload::{Upload, upload};
use super::work::{Call, Hold, Work, answer_at_once, called, failed_at_once, late, panicked};
use crate::envelope::{Codec, Envelope, Flags, Header, Kind};
use crate::failure::{Failure, FailureKind};
use crate::property;
use crate::request::{Item, Request, Response, Wants};

/// What a server serves.
pub(super) trait Serves:
    Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static
{
}

impl<S> Serves for S where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static
{
}

/// One connection of a server.
#[derive(Debug)]
pub(super) struct Session {
    route: Route,
    connection: Connection,
    pub(super) hub: Arc<Hub>,
    state: Mutex<State>,
    /// Told when streams may go on.
    room: Notify,
}

#[derive(Debug)]
struct State {
    calls: Calls<AbortHandle>,
    backlog: Backlog,
    /// A REQ is at the other end: an empty frame stands before each answer.
    delimited: bool,
    /// The server's task waits for the peer to read.
    stalled: bool,
    /// That task, to be told when nothing is waited for any more.
    waker: Option<Waker>,
    gone: bool,
}

/// The least deadline that the wire can say: of one that is over.
const OVER: std::time::Duration = std::time::Duration::from_micros(1);

impl Session {
    pub(super) fn new(route: Route, hub: Arc<Hub>) -> Arc<Self> {
        let peer = route.peer();
        Arc::new(Session {
            state: Mutex::new(State {
                calls: Calls::new(hub.options.max_in_flight_per_connection),
                backlog: Backlog::default(),
                delimited: peer.socket_type() == Some(SocketType::Req),
                stalled: false,
                waker: None,
                gone: false,
            }),
            connection: Connection::new(peer),
            route,
            hub,
            room: Notify::new(),
        })
    }

    /// Whether the other end is connected.
    pub(super) fn is_alive(&self) -> bool {
        self.route.is_ready()
    }

    /// Handles what came from the other end.
    pub(super) fn handle<S: Serves>(
        self: &Arc<Self>,
        service: &S,
        mut message: Message,
        trial: &mut Trial<S>,
    ) {
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
                // An answer to the call that was meant, if that can be told.
                let call = header.map_or(0, |bytes| Header::call_of(&bytes));
                let header = header.and_then(|bytes| Header::decode(&bytes).ok());
                let codec = header.map_or(Codec::Json, |header| header.codec);
                return self.malformed(call, codec, error.to_string());
            }
        };
        let Header {
            kind, call, count, ..
        } = envelope.header;
        match kind {
            Kind::Request | Kind::OneWay => self.begin(service, envelope, trial),
            Kind::Cancel => self.cancel(call),
            Kind::Credit => self.state.lock().calls.credit(call, count),
            Kind::StreamItem => self.item(envelope),
            Kind::StreamEnd => self.state.lock().calls.items_end(call, count),
            Kind::Ping => self.send(&Envelope::pong(call)),
            Kind::Response | Kind::Error | Kind::Pong | Kind::Draining => {
                self.malformed(call, Codec::Json, format!("a server takes no {kind}"));
            }
        }
    }

    /// Something came that is none of this protocol. A call under way that has its number shall not be hit.
    fn malformed(self: &Arc<Self>, call: u64, codec: Codec, message: String) {
        Counters::add(&self.hub.counters.malformed);
        if !self.state.lock().calls.is_running(call) {
            let failure = Failure::new(FailureKind::Malformed, message);
            self.send(&failure.to_envelope(call, codec));
        }
    }

    /// Begins the work of a call, or answers why not.
    fn begin<S: Serves>(self: &Arc<Self>, service: &S, envelope: Envelope, trial: &mut Trial<S>) {
        let Header {
            kind,
            call,
            codec,
            flags,
            count,
            ..
        } = envelope.header;
        let wants = match kind {
            Kind::OneWay => Wants::Nothing,
            _ if flags.contains(Flags::STREAM) => Wants::Stream(count),
            _ => Wants::Answer,
        };
        let Err(failure) = self.start(service, wants, envelope, trial) else {
            return;
        };
        if wants != Wants::Nothing && self.state.lock().calls.is_running(call) {
            // Any answer would be taken for that of the call under way.
            return Counters::add(&self.hub.counters.malformed);
        }
        Counters::add(&self.hub.counters.refused);
        if wants != Wants::Nothing {
            self.send(&failure.to_envelope(call, codec));
        }
    }

    fn start<S: Serves>(
        self: &Arc<Self>,
        service: &S,
        wants: Wants,
        envelope: Envelope,
        trial: &mut Trial<S>,
    ) -> Result<(), Failure> {
        let hub = &self.hub;
        if hub.is_draining() {
            let message = "the server ends and takes no more calls";
            return Err(Failure::new(FailureKind::Unavailable, message));
        }
        let header = envelope.header;
        if header.deadline.is_some_and(|left| left <= OVER) {
            return Err(late(header.deadline));
        }
        let size = envelope.size();
        check_size("arguments", size, hub.options.max_request)?;
        let Some(method) = envelope.method else {
            return Err(Failure::new(FailureKind::Malformed, "no method"));
        };
        // Its author may not have thought of that; one call is to suffer, not all.
        let service = std::panic::catch_unwind(AssertUnwindSafe(|| service.clone()))
            .map_err(|panic| panicked(hub, &*panic))?;
        let call = Call {
            id: header.call,
            codec: header.codec,
            timeout: header.deadline,
            deadline: header.deadline.and_then(|left| trial.now().checked_add(left)),
        };
        let mut request = Request {
            method,
            codec: header.codec,
            body: envelope.body,
            buffers: envelope.buffers,
            metadata: envelope.metadata,
            timeout: header.deadline,
            wants,
            idempotent: header.flags.contains(Flags::IDEMPOTENT),
            items: None,
            context: Some(Context::new(self.connection.clone(), call.deadline)),
        };
        let uploads = header.flags.contains(Flags::UPLOAD) && wants != Wants::Nothing;
        if !uploads && !matches!(wants, Wants::Stream(_)) && trial.is_on() {
            return self.start_at_once(service, request, call, size, trial);
        }
        let in_flight = hub.admit(size)?;
        let credit = match wants {
            Wants::Stream(items) => {
                let items = (items as usize).min(Semaphore::MAX_PERMITS);
                Some(Arc::new(Semaphore::new(items)))
            }
            Wants::Answer | Wants::Nothing => None,
        };
        let window = hub.options.upload_window.max(1);
        let upload = uploads.then(|| {
            let (upload, uploaded) = upload(window);
            let session = Arc::downgrade(self);
            request.items = Some(uploaded.items(move |more| {
                if let Some(session) = session.upgrade() {
                    session.grant(call.id, more);
                }
            }));
            upload
        });
        let hold = self.hold(call, wants, credit.clone(), upload)?;
        if uploads {
            self.send(&Envelope::credit(call.id, window));
        }
        self.spawn(call, hold, in_flight, credit, called(service, request));
        Ok(())
    }

    /// Starts a call that may be over at once; only one that is not gets a task.
    fn start_at_once<S: Serves>(
        self: &Arc<Self>,
        service: S,
        request: Request,
        call: Call,
        size: usize,
        trial: &mut Trial<S>,
    ) -> Result<(), Failure> {
        let (hub, wants) = (&self.hub, request.wants);
        if call.deadline.is_some_and(|deadline| deadline <= trial.looked()) {
            return Err(late(call.timeout));
        }
        let tried = hub.admit_for_now(size)?;
        self.state.lock().calls.check(call.id, wants)?;
        let finish = |answered| answer_at_once(hub, call, wants, answered);
        let rest = match trial.try_now(service, request, finish) {
            Ok(Tried::Done(answer)) => {
                self.finish_at_once(answer);
                return Ok(());
            }
            Err(panic) => {
                self.finish_at_once(failed_at_once(hub, call, wants, &panicked(hub, &*panic)));
                return Ok(());
            }
            Ok(rest) => rest,
        };
        // Counted in the usual way from here on, which is no second time.
        drop(tried);
        let in_flight = hub.admit(size)?;
        let hold = self.hold(call, wants, None, None)?;
        match rest {
            Tried::Begun(answering) => {
                self.spawn(call, hold, in_flight, None, answering.map_err(Into::into));
            }
            Tried::NotReady(unready) => {
                let (service, request) = *unready;
                self.spawn(call, hold, in_flight, None, called(service, request));
            }
            Tried::Done(_) => {}
        }
        Ok(())
    }

    /// Takes note of a call that is under way.
    fn hold(
        &self,
        call: Call,
        wants: Wants,
        credit: Option<Arc<Semaphore>>,
        upload: Option<Upload>,
    ) -> Result<Hold, Failure> {
        let calls = &mut self.state.lock().calls;
        Ok(match wants {
            Wants::Nothing => {
                calls.begin_one_way()?;
                Hold::Loose(self.hub.loosen())
            }
            Wants::Answer | Wants::Stream(_) => Hold::Ticket(calls.begin(call, credit, upload)?),
        })
    }

    /// Lets a task see to the rest of a call.
    fn spawn(
        self: &Arc<Self>,
        call: Call,
        hold: Hold,
        in_flight: InFlight,
        credit: Option<Arc<Semaphore>>,
        answering: impl Future<Output = Result<Response, BoxError>> + Send + 'static,
    ) {
        let known = hold.known();
        let work = Work::new(Arc::clone(self), call, hold, in_flight);
        let task = tokio::spawn(work.run(answering, credit));
        match known {
            Ok(ticket) => {
                let late = self.state.lock().calls.attach(ticket, task.abort_handle());
                // Its connection was lost, or it was cancelled, before it had a task: nobody else ends it.
                late.inspect(AbortHandle::abort);
            }
            Err(number) => self.hub.attach_loose(number, task.abort_handle()),
        }
    }

    /// Answers a call of which nobody took note, for it was over at once.
    fn finish_at_once(self: &Arc<Self>, answer: Option<Message>) {
        Counters::add(&self.hub.counters.calls);
        if let Some(message) = answer {
            self.send_message(message);
        }
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
        let size = envelope.size();
        let checked = check_size("an item", size, self.hub.options.max_request);
        let item = Item {
            codec,
            body: envelope.body,
            buffers: envelope.buffers,
        };
        let hold = || self.hub.hold(size);
        let taken = checked.and_then(|()| self.state.lock().calls.item(call, count, item, hold));
        if let Err(failure) = taken {
            // The call cannot be right any more: it ends with this answer.
            let stopped = self.state.lock().calls.stop(call);
            if let Some(running) = stopped {
                Counters::add(&self.hub.counters.failures);
                running.task.inspect(AbortHandle::abort);
                self.send(&failure.begun().to_envelope(call, codec));
            }
        }
    }

    fn cancel(&self, call: u64) {
        let stopped = self.state.lock().calls.stop(call);
        if let Some(running) = stopped {
            Counters::add(&self.hub.counters.cancelled);
            running.task.inspect(AbortHandle::abort);
        }
    }

    /// The server ends: so do the calls, and their callers are told, however long the handlers go on. Those that want no
    /// answer are the server's to end.
    pub(super) fn stop_all(self: &Arc<Self>) {
        let stopped = self.state.lock().calls.stop_all();
        let answers = stopped.into_iter().map(|(call, running)| {
            running.task.inspect(AbortHandle::abort);
            ends().to_envelope(call, running.codec)
        });
        self.send_last(&answers.collect::<Vec<_>>());
    }

    /// The other end is gone: nobody waits for its calls. Those that want no answer go on.
    pub(super) fn lost(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        Counters::add_many(&self.hub.counters.undelivered, state.backlog.clear());
        let stopped = state.calls.stop_all();
        let waker = state.waker.take();
        drop(state);
        for (_, running) in stopped {
            Counters::add(&self.hub.counters.cancelled);
            running.task.inspect(AbortHandle::abort);
        }
        self.room.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A call that wants no answer has ended.
    pub(super) fn forget_one_way(&self) {
        self.state.lock().calls.end_one_way();
    }

    /// Whether nothing has ended this call.
    pub(super) fn is_running(&self, ticket: Ticket) -> bool {
        self.state.lock().calls.is_this(ticket)
    }

    /// Tells the other end that no more calls are taken.
    pub(super) fn announce_drain(self: &Arc<Self>) {
        if self.knows_of_drain() {
            self.send(&Envelope::draining());
        }
    }

    /// Whether the other end leaves when it is told to. A plain script waits for its answer and nothing else.
    pub(super) fn knows_of_drain(&self) -> bool {
        property::is_known(self.connection.peer())
    }
}

/// What the callers of those calls are told that the server stops.
pub(super) fn ends() -> Failure {
    Failure::new(FailureKind::Cancelled, "the server ends")
}

pub(super) fn check_size(what: &str, size: usize, limit: usize) -> Result<(), Failure> {
    if size <= limit {
        return Ok(());
    }
    let message = format!("{what}: {size} bytes are more than the {limit} that are allowed");
    Err(Failure::new(FailureKind::TooLarge, message))
}

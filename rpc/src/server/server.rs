//! The task of a server: what comes in, who goes, who has room again.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::{
    BindError, Event, IntoEndpoint, LimitCounts, Monitor, OptionError, Peer, RecvError, Route, Router,
};
use flexbond_transport::Message;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tower::{BoxError, Service};

use super::at_once::{Trial, is_one_thread};
use super::hub::Hub;
use super::options::Options;
use super::portion::Portion;
use super::session::Session;
use crate::property;
use crate::request::{Request, Response};

/// A server: answers the calls that come in at its endpoints with a tower service, each in a task of its own. On a
/// current-thread runtime, one that is done when it is polled first needs none.
///
/// The service is cloned for each call, and asked whether it is ready before it is called. What it answers with an
/// error reaches the caller as a [`Failure`](crate::Failure): one of this crate's as it is, any other as
/// [`Internal`](crate::FailureKind::Internal) with its text, and those of tower's timeout and load shedding by what they
/// mean. A panic is caught.
///
/// Work ends when nobody waits for it any more: its caller has given up, its deadline is over, its connection is lost.
/// Then its future is dropped, at the next point where it waits; code that never waits, and what it handed to other
/// threads, goes on. A one-way call has no caller that could go: it ends by itself, or with the server.
pub struct Server<S> {
    service: S,
    router: Router,
    monitor: Monitor,
    hub: Arc<Hub>,
    sessions: Sessions,
    /// Those whose peers do not read as fast as they are answered.
    stalled: FuturesUnordered<Stalled>,
    portion: Portion,
}

/// The connections by their numbers. Their calls end with them.
struct Sessions {
    by_id: HashMap<u64, Arc<Session>>,
    hub: Arc<Hub>,
}

impl Sessions {
    /// Stops all calls, also those that want no answer, and tells who waits for one.
    fn stop_calls(&self) {
        for session in self.by_id.values() {
            session.stop_all();
        }
        self.hub.abort_loose();
    }

    /// Ends all calls, also those that want no answer.
    fn end(&mut self) {
        for session in std::mem::take(&mut self.by_id).into_values() {
            session.lost();
        }
        self.hub.abort_loose();
        drop(self.hub.newly_stalled());
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ready once the peer of a connection has read enough.
struct Stalled(Arc<Session>);

impl Future for Stalled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_stalled(cx)
    }
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Calls begun.
    pub calls: u64,
    /// Of these, failed.
    pub failures: u64,
    /// Of these, because the handler panicked.
    pub panics: u64,
    /// Of these, given up by their callers, or lost with their connections.
    pub cancelled: u64,
    /// Calls not begun: too many, too large, or too late.
    pub refused: u64,
    /// Messages that were none of this protocol, and calls with the number of one under way.
    pub malformed: u64,
    /// Calls under way.
    pub in_flight: u64,
    /// Connections that are there now, and sent something or were told that the server ends.
    pub connections: u64,
    /// Connections ended because their peers did not read their answers; see [`Options::max_unread`] and
    /// [`Options::max_unread_bytes`].
    pub slow_peers: u64,
    /// Answers that waited for a connection beside its socket's queue when it was lost or ended.
    pub undelivered: u64,
    /// How often peers met each limit of [`Options::socket`]; [`Server::monitor`] tells who and what happened.
    pub limits: LimitCounts,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// What it did.
    pub stats: ServerStats,
    /// Calls that did not end within [`Options::drain_timeout`], and were stopped; who waited for them was told.
    pub aborted: u64,
    /// Answers that did not leave in time.
    pub undelivered: u64,
}

/// Messages taken from one connection before the next has its turn.
const BATCH: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// How long peers may take to leave once their calls are done, and to read the last answers once these were stopped; those
/// that know what it means do so at once.
const GRACE: Duration = Duration::from_secs(1);

impl<S> Server<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    /// A server with default options, bound nowhere yet.
    #[must_use]
    pub fn new(service: S) -> Self {
        match Self::with_options(service, Options::default()) {
            Ok(server) => server,
            Err(error) => unreachable!("the defaults are valid: {error}"),
        }
    }

    /// A server with the given options.
    ///
    /// # Errors
    /// The first option of the socket that is out of bounds.
    pub fn with_options(service: S, options: Options) -> Result<Self, OptionError> {
        let options = options.fitted();
        let mut socket = options.socket.clone();
        let said = property::of_server(property::Limits {
            request: options.max_request,
            message: socket.max_message_size,
        });
        socket.metadata.push((property::NAME.to_owned(), said.into()));
        let router = Router::with_options(socket)?;
        let hub = Hub::new(options, router.as_socket().limit_meter());
        Ok(Server {
            monitor: router.monitor(),
            service,
            router,
            sessions: Sessions {
                by_id: HashMap::new(),
                hub: Arc::clone(&hub),
            },
            hub,
            stalled: FuturesUnordered::new(),
            portion: Portion::new(false),
        })
    }

    /// Listens at one more endpoint, and returns it as bound. Calls wait until the server [runs](Self::run_until).
    ///
    /// # Errors
    /// [`BindError`]; the server is unchanged.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    pub async fn bind(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, BindError> {
        self.router.bind(endpoint).await
    }

    /// A stream of what happens to the server's connections from now on, until its socket is closed: who comes and goes, and
    /// who [meets a limit](Event::LimitReached).
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.router.monitor()
    }

    /// What tells what the server has done so far, also while it runs.
    pub fn stats(&self) -> impl Fn() -> ServerStats + Send + Sync + Clone + use<S> {
        let hub = Arc::clone(&self.hub);
        move || stats(&hub)
    }

    /// Answers calls for ever.
    ///
    /// # Cancel safety
    /// When the future is dropped, the server ends at once: calls under way are aborted, and their callers see the
    /// connection lost. [`run_until`](Self::run_until) lets them end.
    pub async fn run(self) -> Stopped {
        self.run_until(pending()).await
    }

    /// Answers calls until `shutdown` is ready, then drains: calls that come are refused
    /// ([`Unavailable`](crate::FailureKind::Unavailable)), also those that came before and have not begun, those under
    /// way may end within [`Options::drain_timeout`], and their answers leave. Clients of this crate have a second to
    /// go elsewhere, and their last calls are refused, not lost. Calls that take longer are stopped, and their callers
    /// told ([`Cancelled`](crate::FailureKind::Cancelled)); what does not fit into a connection's queue then has one more
    /// second, and what is in the queues the `linger` of [`Options::socket`].
    ///
    /// ```no_run
    /// use flexbond_rpc::{Failure, Methods, Server};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let methods = Methods::new().add("add", async |(a, b): (i64, i64)| Ok::<_, Failure>(a + b))?;
    /// let server = Server::new(methods);
    /// server.bind("tcp://*:7000").await?;
    /// let stopped = server
    ///     .run_until(async {
    ///         let _ = tokio::signal::ctrl_c().await;
    ///     })
    ///     .await;
    /// println!("{} calls, {} of them aborted at the end", stopped.stats.calls, stopped.aborted);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As for [`run`](Self::run).
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Stopped {
        let mut messages = Vec::new();
        let mut trial = Trial::new();
        self.portion = Portion::new(is_one_thread());
        {
            tokio::pin!(shutdown);
            while !self.turn(&mut messages, &mut trial, shutdown.as_mut()).await {}
        }
        self.hub.drain();
        // Who comes now is to find the next server, which may listen already.
        for endpoint in self.router.bound() {
            // One that is not there any more need not be given up.
            let _ = self.router.unbind(endpoint).await;
        }
        for session in self.sessions.by_id.values() {
            session.announce_drain();
        }
        for there in self.router.peers() {
            self.tell_silent(&there.peer);
        }
        let hub = Arc::clone(&self.hub);
        let drained = tokio::time::timeout(self.hub.options.drain_timeout, async {
            {
                let idle = hub.idle();
                tokio::pin!(idle);
                while !self.turn(&mut messages, &mut trial, idle.as_mut()).await {}
            }
            // Peers that know of it leave now, and what they sent before they knew is still to be refused.
            let _ = tokio::time::timeout(GRACE, self.leave(&mut messages, &mut trial)).await;
            let _ = tokio::time::timeout(GRACE, self.refuse_rest(&mut messages, &mut trial)).await;
            // Their answers are on the way; some may wait for peers that do not read.
            self.deliver_rest(&mut messages, &mut trial).await;
        });
        let aborted = match drained.await {
            Ok(()) => 0,
            Err(_) => self.hub.in_flight() as u64,
        };
        let stats = stats(&self.hub);
        if aborted > 0 {
            self.sessions.stop_calls();
            // Who reads takes no time; who does not has had it.
            let _ = tokio::time::timeout(GRACE, self.deliver_rest(&mut messages, &mut trial)).await;
        }
        self.sessions.end();
        let dropped = undelivered(&self.hub) - stats.undelivered;
        let closed = self
            .router
            .as_socket()
            .close_within(self.hub.options.socket.linger)
            .await;
        Stopped {
            stats,
            aborted,
            undelivered: closed.undelivered + dropped,
        }
    }

    /// Tells a peer that the server ends, if it has no session that does.
    fn tell_silent(&mut self, peer: &Peer) {
        if self.sessions.by_id.contains_key(&peer.id()) || !property::is_known(peer) {
            return;
        }
        if let Some(route) = self.router.route(peer) {
            self.session(route);
        }
    }

    /// Resolves once all peers have left that were told that the server ends, and know what that means.
    async fn leave(&mut self, messages: &mut Vec<Message>, trial: &mut Trial<S>) {
        loop {
            let sessions = self.sessions.by_id.iter();
            let mut told: Vec<_> = sessions
                .filter(|(_, session)| session.is_alive() && session.knows_of_drain())
                .map(|(id, _)| *id)
                .collect();
            if told.is_empty() {
                return;
            }
            // One after the other: to look at all of them after each turn took long where there are many.
            while let Some(id) = told.last() {
                if !self.sessions.by_id.contains_key(id) {
                    told.pop();
                } else if self.turn(messages, trial, std::pin::pin!(pending())).await {
                    return;
                }
            }
        }
    }

    /// Handles what has come in already, and waits for nothing more.
    async fn refuse_rest(&mut self, messages: &mut Vec<Message>, trial: &mut Trial<S>) {
        // Without tokio's budget: used up, it looks as if nothing were there.
        while let Some(Ok(route)) =
            tokio::task::coop::unconstrained(self.router.recv_batch(messages, BATCH)).now_or_never()
        {
            self.handle(route, messages, trial);
            // The time for this is bounded.
            tokio::task::yield_now().await;
        }
    }

    /// Resolves once no answer waits beside the sockets' queues.
    async fn deliver_rest(&mut self, messages: &mut Vec<Message>, trial: &mut Trial<S>) {
        loop {
            // Each time: one may stall on another thread as the last of them goes on.
            self.take_stalled();
            if self.stalled.is_empty() {
                return;
            }
            self.turn(messages, trial, std::pin::pin!(pending())).await;
        }
    }

    fn take_stalled(&mut self) {
        self.stalled
            .extend(self.hub.newly_stalled().into_iter().map(Stalled));
    }

    /// Handles what there is next; true once `end` is ready.
    async fn turn(
        &mut self,
        messages: &mut Vec<Message>,
        trial: &mut Trial<S>,
        end: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        let mut is_others_turn = false;
        tokio::select! {
            biased;
            // First: however many calls come, the end does too, and those who read again are not forgotten.
            () = end => return true,
            () = self.hub.stall() => self.take_stalled(),
            Some(()) = self.stalled.next() => {}
            event = self.monitor.recv() => self.note(event.as_ref()),
            received = self.router.recv_batch(messages, self.portion.size()) => match received {
                Ok(route) => {
                    let is_full = self.portion.handled(messages.len());
                    is_others_turn = self.handle(route, messages, trial) || is_full;
                }
                Err(RecvError::Closed) => return true,
                // No other error comes of a ROUTER without a receive timeout; with one there is simply nothing.
                Err(_) => {}
            },
        }
        if is_others_turn {
            tokio::task::yield_now().await;
            trial.renew();
        }
        false
    }

    /// Handles messages of one peer. True if other tasks are to have their turn before there are more.
    fn handle(&mut self, route: Route, messages: &mut Vec<Message>, trial: &mut Trial<S>) -> bool {
        let session = match route.is_ready() {
            true => self.session(route),
            // One that is gone already is not kept, but what it sent last is handled: it may be a one-way call.
            false => match self.sessions.by_id.get(&route.id()) {
                Some(session) => Arc::clone(session),
                None => Session::new(route, Arc::clone(&self.hub)),
            },
        };
        trial.begin();
        for message in messages.drain(..) {
            session.handle(&self.service, message, trial);
        }
        if !session.is_alive() {
            session.lost();
        }
        self.count_connections();
        trial.end()
    }

    /// The session of a peer that is there; one made while the server ends says so.
    fn session(&mut self, route: Route) -> Arc<Session> {
        let hub = &self.hub;
        let session = self.sessions.by_id.entry(route.id()).or_insert_with(|| {
            let session = Session::new(route, Arc::clone(hub));
            if hub.is_draining() {
                session.announce_drain();
            }
            session
        });
        Arc::clone(session)
    }

    fn count_connections(&self) {
        let connections = self.sessions.by_id.len() as u64;
        self.hub
            .counters
            .connections
            .store(connections, Ordering::Relaxed);
    }

    fn note(&mut self, event: Option<&Event>) {
        match event {
            Some(Event::Disconnected { peer, .. }) => {
                if let Some(session) = self.sessions.by_id.remove(&peer.id()) {
                    session.lost();
                }
            }
            Some(Event::Ready { peer }) if self.hub.is_draining() => self.tell_silent(peer),
            Some(Event::Missed(_)) => self.sessions.by_id.retain(|_, session| {
                let alive = session.is_alive();
                if !alive {
                    session.lost();
                }
                alive
            }),
            _ => {}
        }
        self.count_connections();
    }
}

fn undelivered(hub: &Hub) -> u64 {
    hub.counters.undelivered.load(Ordering::Relaxed)
}

fn stats(hub: &Hub) -> ServerStats {
    let counters = &hub.counters;
    ServerStats {
        calls: counters.calls.load(Ordering::Relaxed),
        failures: counters.failures.load(Ordering::Relaxed),
        panics: counters.panics.load(Ordering::Relaxed),
        cancelled: counters.cancelled.load(Ordering::Relaxed),
        refused: counters.refused.load(Ordering::Relaxed),
        malformed: counters.malformed.load(Ordering::Relaxed),
        in_flight: hub.in_flight() as u64,
        connections: counters.connections.load(Ordering::Relaxed),
        slow_peers: counters.slow_peers.load(Ordering::Relaxed),
        undelivered: undelivered(hub),
        limits: hub.limits.counts(),
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("bound", &self.router.bound())
            .field("connections", &self.sessions.by_id.len())
            .finish_non_exhaustive()
    }
}

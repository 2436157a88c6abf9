//! One party's end where NATS JetStream is between the parties: the depot, moved by the answers of the server.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event};
use flexbond_transport::Message;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Sleep;

use super::depot::{Answer, Depot, DepotSetup, Request};
use super::error::NatsError;
use super::request::{Failure, Requests};
use super::session::{Feeds, Place, connect};
use crate::federation::carrier::{Arrival, Carrier};
use crate::federation::config::Config;
use crate::federation::driver::now;
use crate::federation::name::PartyId;

/// How much is done before other tasks have their turn.
const BUDGET: usize = 64;
/// More is not put into one message, whatever the server takes: receivers ask for several of them at once.
const MAX_PAYLOAD: usize = 1 << 20;
/// How long it is waited before a session is begun again: twice as long after each that came to nothing, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// One party's end where the messages of a job are kept in [NATS JetStream](https://docs.nats.io), an engine of one server
/// or of many.
///
/// Parties need not run at the same time. What is sent is in the server's custody as soon as the server has acknowledged
/// it, and stays there until the receiving program has it. A job has two streams, one of messages and one of what is
/// remembered of parties and channels; they are made by the first party, and stay until they are deleted, also when all parties have left: a party may come again
/// and go on. [`Federation::forget`](crate::federation::Federation::forget) deletes them, and so does `flexbond federation
/// forget`. Messages that were received take no room; without
/// [`max_age`](super::NatsOptions::max_age), those that nobody receives do.
///
/// # Who may talk
/// Whoever may publish to a subject may do so as any party: give each party an account of the server that may publish to
/// `PREFIX.JOB.data.*.PARTY.>`, `PREFIX.JOB.state.>` and `$JS.API.>` only, and subscribe to `_INBOX.>`. In these names,
/// characters other than ASCII letters, digits, `-` and `_` are `=` and two hexadecimal digits for each byte.
///
/// # What the server promises
/// A server acknowledges a message when it is written, and syncs its files every two minutes unless it is told otherwise
/// (`sync_interval`): the death of a server loses nothing, that of its machine may. With three
/// [replicas](super::NatsOptions::replicas), the death of one machine loses nothing.
pub struct NatsCarrier {
    place: Arc<Place>,
    client: Client,
    link: Arc<Line>,
    /// How many times the connection was lost when the session began.
    breaks: u64,
    had_place: bool,
    session: Session,
    delay: Duration,
    lost: VecDeque<PartyId>,
    is_told: bool,
}

/// What the client tells of its connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    breaks: AtomicU64,
    waker: AtomicWaker,
}

impl Line {
    pub(super) fn handle(&self, event: &Event) {
        if !matches!(event, Event::Connected) {
            self.breaks.fetch_add(1, Ordering::SeqCst);
        }
        self.waker.wake();
    }
}

/// The answer to a ticket, which is under way.
type Answering = Pin<Box<dyn Future<Output = (u64, Result<Answer, Failure>)> + Send>>;

enum Session {
    Waiting(Pin<Box<Sleep>>),
    Opening(Pin<Box<dyn Future<Output = Result<Feeds, NatsError>> + Send>>),
    Open(Box<Running>),
}

struct Running {
    depot: Depot,
    feeds: Feeds,
    requests: Requests,
    answers: FuturesUnordered<Answering>,
    sleep: Pin<Box<Sleep>>,
    since: tokio::time::Instant,
}

impl std::fmt::Debug for NatsCarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsCarrier")
            .field("job", &self.place.job)
            .field("local", &self.place.local)
            .finish_non_exhaustive()
    }
}

impl NatsCarrier {
    /// Connects to the server of the configuration, and makes the streams of the job unless they are there. A server that is
    /// not there is tried again until [`Limits::timeout`](crate::federation::Limits::timeout) is over.
    ///
    /// # Errors
    /// [`NatsError`] says what the server lacks or refuses. Later on, the connection is made again whenever it is lost.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, streams may have been made.
    pub async fn from_config(config: &Config) -> Result<Self, NatsError> {
        let link = Arc::new(Line::default());
        let (place, client) = connect(config, Arc::clone(&link), config.bounds().timeout).await?;
        let feeds = place.clone().open(client.clone()).await?;
        let mut carrier = NatsCarrier {
            place: Arc::new(place),
            breaks: link.breaks.load(Ordering::SeqCst),
            client,
            link,
            had_place: false,
            session: Session::Waiting(Box::pin(tokio::time::sleep(Duration::ZERO))),
            delay: RETRY.0,
            lost: VecDeque::new(),
            is_told: false,
        };
        carrier.begin(feeds);
        Ok(carrier)
    }

    fn begin(&mut self, feeds: Feeds) {
        let setup = DepotSetup {
            job: self.place.job.clone(),
            local: self.place.local.clone(),
            peers: self.place.peers.clone(),
            limits: self.place.limits.clone(),
            subjects: self.place.subjects.clone(),
            incarnation: self.place.incarnation,
            session: fastrand::u64(1..),
            had_place: self.had_place,
            max_payload: self.client.max_payload().min(MAX_PAYLOAD),
        };
        self.session = Session::Open(Box::new(Running {
            depot: Depot::new(setup, now()),
            requests: feeds.requests(self.client.clone()),
            feeds,
            answers: FuturesUnordered::new(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            since: tokio::time::Instant::now(),
        }));
    }

    /// The session cannot go on; another one is begun in a while.
    fn end(&mut self, reason: &str) {
        if let Session::Open(running) = &self.session {
            self.had_place = running.depot.had_place();
            if running.since.elapsed() > RETRY.1 {
                self.delay = RETRY.0;
                self.is_told = false;
            }
            self.lost = self.place.peers.iter().cloned().collect();
        }
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(job = %self.place.job, party = %self.place.local, reason, "the session with NATS has ended and begins anew");
        }
        self.session = Session::Waiting(Box::pin(tokio::time::sleep(self.delay)));
        self.delay = (self.delay * 2).min(RETRY.1);
    }

    /// Whether something was done.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        self.link.waker.register(cx.waker());
        let breaks = self.link.breaks.load(Ordering::SeqCst);
        let is_connected = self.client.connection_state() == State::Connected;
        if breaks != self.breaks && !matches!(self.session, Session::Waiting(_)) {
            self.breaks = breaks;
            self.end("the connection was lost");
            return true;
        }
        match &mut self.session {
            Session::Waiting(sleep) => {
                if sleep.poll_unpin(cx).is_pending() || !is_connected {
                    return false;
                }
                self.breaks = breaks;
                let place = Arc::clone(&self.place);
                let opening = Place::clone(&place).open(self.client.clone());
                self.session = Session::Opening(Box::pin(opening));
                true
            }
            Session::Opening(opening) => match opening.poll_unpin(cx) {
                Poll::Ready(Ok(feeds)) => {
                    self.begin(feeds);
                    true
                }
                Poll::Ready(Err(error)) => {
                    self.end(&error.to_string());
                    true
                }
                Poll::Pending => false,
            },
            Session::Open(running) => match running.advance(cx) {
                Ok(is_news) => is_news,
                Err(reason) => {
                    self.end(&reason);
                    true
                }
            },
        }
    }
}

impl Running {
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<bool, String> {
        let mut is_news = false;
        for _ in 0..BUDGET {
            let Poll::Ready(Some((ticket, answer))) = self.answers.poll_next_unpin(cx) else {
                break;
            };
            self.depot
                .handle_answer(now(), ticket, answer.map_err(|failure| failure.0)?);
            is_news = true;
        }
        for _ in 0..BUDGET {
            let Poll::Ready(stored) = self.feeds.poll_next(cx, self.depot.wants_data()) else {
                break;
            };
            self.depot
                .handle_stored(now(), &stored.map_err(|failure| failure.0)?);
            is_news = true;
        }
        if self.depot.poll_timeout().is_some_and(|at| at <= now()) {
            self.depot.handle_timeout(now());
            is_news = true;
        }
        while let Some(Request { ticket, ask }) = self.depot.poll_request(now()) {
            let answer = self.requests.send(ask);
            self.answers.push(Box::pin(async move { (ticket, answer.await) }));
            is_news = true;
        }
        if let Some(broken) = self.depot.broken() {
            return Err(format!("{broken}"));
        }
        if let Some(at) = self.depot.poll_timeout() {
            self.sleep.as_mut().reset(at.into());
            // One that is over already is seen in the next round.
            is_news |= self.sleep.poll_unpin(cx).is_ready();
        }
        Ok(is_news)
    }
}

impl Carrier for NatsCarrier {
    fn poll_send(&mut self, cx: &mut Context<'_>, _: &PartyId, packet: &mut Option<Message>) -> Poll<()> {
        if let Some(packet) = packet.take()
            && let Session::Open(running) = &mut self.session
        {
            running.depot.handle_packet(now(), packet);
            // What follows from it is done when packets are asked for.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(())
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            if let Some(party) = self.lost.pop_front() {
                return Poll::Ready(Arrival::Lost(party));
            }
            if let Session::Open(running) = &mut self.session
                && let Some(packet) = running.depot.poll_transmit(now())
            {
                return Poll::Ready(Arrival::Packet(packet));
            }
            if !self.advance(cx) {
                return Poll::Pending;
            }
        }
    }
}

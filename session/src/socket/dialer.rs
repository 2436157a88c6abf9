//! The connecting side: one task for each endpoint connected to, which reconnects.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use flexbond_transport::pipe::PipeReceiver;
use flexbond_transport::{ConnectError, Connection, Endpoint, Link as Carrier, Message, MessageChannel};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::channel;
use super::core::{Core, ServedLane, StopWatch};
use super::lane::Lane;
use super::link::Link;
use super::monitor::Event;
use super::security::check_connection;
use super::subscription::Subscription;
use super::{HandshakeFailure, LimitAction, Peer};

/// The lane that messages for an endpoint take now, known to the task that connects and to who may give it up.
pub(crate) type CurrentLane = Arc<Mutex<Option<Arc<Lane>>>>;

type Attempt = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

/// The connecting end of one endpoint.
pub(crate) struct Dialer {
    core: Arc<Core>,
    endpoint: Endpoint,
    way: Way,
    backoff: Option<Backoff>,
    current: CurrentLane,
    /// Whether a connection was ready before, so that the next one is a reconnect.
    was_ready: bool,
}

/// How messages reach the peer.
enum Way {
    /// By a lane of this socket's own, which outlives connections.
    Served(Box<ServedLane>),
    /// By the transport's own channel; each connection has a lane of its own.
    Direct,
}

/// The first connection: under way, or made at once.
pub(crate) enum First {
    Attempt(Attempt),
    Direct(Arc<Lane>, PipeReceiver<Message>),
    Made(Connection),
    Failed(ConnectError),
}

/// How a connection, or the attempt to make one, ended.
enum Outcome {
    /// Try again.
    Again(Failure),
    /// The socket, or this endpoint of it, is closed.
    Stopped,
}

enum Failure {
    Connect(ConnectError),
    Handshake(String, HandshakeFailure),
    Lost(Peer, String),
}

impl Dialer {
    /// Starts to connect. What can be known at once (a bad endpoint, an inproc peer) is known when this returns.
    pub(crate) fn new(core: &Arc<Core>, endpoint: Endpoint) -> Result<(Self, First), ConnectError> {
        let mut attempt = attempt(core, &endpoint);
        let first = match attempt.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) if error.is_permanent() => return Err(error),
            // What must not be used is reported like what comes later.
            Poll::Ready(Ok(connection))
                if check_connection(&core.options, &endpoint, &connection).is_err() =>
            {
                First::Made(connection)
            }
            Poll::Ready(Ok(Connection {
                link: Carrier::Messages(channel),
                ..
            })) if core.is_direct() => {
                let (lane, rx) = channel::direct_lane(core, channel, &endpoint);
                First::Direct(lane, rx)
            }
            Poll::Ready(Ok(connection)) => First::Made(connection),
            Poll::Ready(Err(error)) => First::Failed(error),
            Poll::Pending => First::Attempt(attempt),
        };
        let current = CurrentLane::default();
        let way = match &first {
            First::Direct(lane, _) => {
                open(core, &current, lane);
                Way::Direct
            }
            _ => Way::served(core, &current, &endpoint),
        };
        let interval = core.options.reconnect_interval;
        let backoff = interval.map(|interval| Backoff::new(interval, core.options.reconnect_max));
        Ok((
            Dialer {
                core: Arc::clone(core),
                endpoint,
                way,
                backoff,
                current,
                was_ready: false,
            },
            first,
        ))
    }

    /// The lane that messages take now.
    pub(crate) fn current(&self) -> CurrentLane {
        Arc::clone(&self.current)
    }

    /// Connects, and connects again, until the socket or the endpoint is closed.
    pub(crate) async fn run(mut self, first: First, mut stop: StopWatch) {
        let mut next = Some(first);
        loop {
            let begun = Instant::now();
            let failure = match self.connect_and_run(next.take(), &mut stop).await {
                Outcome::Again(failure) => failure,
                Outcome::Stopped => break,
            };
            if matches!(failure, Failure::Lost(..)) {
                // A peer that ends every connection at once is not asked again at once.
                self.backoff
                    .iter_mut()
                    .for_each(|backoff| backoff.worked_for(begun.elapsed()));
            }
            let pause = self.pause(&failure);
            self.report(failure, pause);
            let Some(pause) = pause else { break };
            if stop
                .until_over(|| self.is_drained(), tokio::time::sleep(pause))
                .await
                .is_none()
            {
                break;
            }
        }
        if let Way::Served(served) = &self.way {
            self.core.retire(&served.lane, || served.outbound.len());
        }
    }

    fn is_drained(&self) -> bool {
        match &self.way {
            Way::Served(served) => served.outbound.is_empty(),
            Way::Direct => true,
        }
    }

    async fn connect_and_run(&mut self, first: Option<First>, stop: &mut StopWatch) -> Outcome {
        let made = match first {
            Some(First::Direct(lane, rx)) => {
                self.core.emit(&Event::Connected {
                    endpoint: self.endpoint.clone(),
                });
                return self.run_direct(lane, rx, stop).await;
            }
            Some(First::Made(connection)) => Ok(connection),
            Some(First::Failed(error)) => Err(error),
            Some(First::Attempt(attempt)) => {
                match stop.until_over(|| self.is_drained(), self.timed(attempt)).await {
                    Some(made) => made,
                    None => return Outcome::Stopped,
                }
            }
            None => {
                let attempt = attempt(&self.core, &self.endpoint);
                match stop.until_over(|| self.is_drained(), self.timed(attempt)).await {
                    Some(made) => made,
                    None => return Outcome::Stopped,
                }
            }
        };
        let connection = match made {
            Ok(connection) => connection,
            Err(error) => return Outcome::Again(Failure::Connect(error)),
        };
        if let Err(reason) = check_connection(&self.core.options, &self.endpoint, &connection) {
            return Outcome::Again(Failure::Handshake(
                reason.to_string(),
                HandshakeFailure::Unprotected,
            ));
        }
        self.core.emit(&Event::Connected {
            endpoint: self.endpoint.clone(),
        });
        match connection.link {
            Carrier::Stream(stream) => {
                let core = Arc::clone(&self.core);
                let link = Link::new(core, stream, self.endpoint.clone(), connection.identity);
                self.run_stream(link, stop).await
            }
            Carrier::Messages(channel) if matches!(self.way, Way::Direct) => {
                let (lane, rx) = channel::direct_lane(&self.core, channel, &self.endpoint);
                open(&self.core, &self.current, &lane);
                if stop.is_stopping() {
                    self.core.pattern.detach(&lane);
                }
                self.run_direct(lane, rx, stop).await
            }
            Carrier::Messages(channel) => self.run_served(channel, stop).await,
        }
    }

    async fn timed(&self, attempt: Attempt) -> Result<Connection, ConnectError> {
        let Some(limit) = self.core.options.connect_timeout else {
            return attempt.await;
        };
        tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
            let source = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
            Err(ConnectError::Io {
                endpoint: self.endpoint.clone(),
                source,
            })
        })
    }

    async fn run_stream(&mut self, mut link: Link, stop: &mut StopWatch) -> Outcome {
        let core = Arc::clone(&self.core);
        let served = Way::make_served(&mut self.way, &core, &self.current, &self.endpoint);
        let lane = Arc::clone(&served.lane);
        let info = match stop
            .until_over(|| served.outbound.is_empty(), link.handshake(None))
            .await
        {
            None => return Outcome::Stopped,
            Some(Err(end)) => {
                let failure = HandshakeFailure::from(&end);
                if let Some((limit, action)) = end.limit() {
                    core.limit(limit, action, &self.endpoint, None);
                }
                return Outcome::Again(Failure::Handshake(end.to_string(), failure));
            }
            Some(Ok(info)) => info,
        };
        let peer = Peer::new(lane.id(), self.endpoint.clone(), info);
        lane.set_peer(peer.clone());
        lane.renew();
        lane.set_ready(true);
        if let Err(refusal) = core.pattern.ready(&lane) {
            lane.set_ready(false);
            return Outcome::Again(Failure::Handshake(
                refusal.reason.to_owned(),
                HandshakeFailure::Other,
            ));
        }
        if stop.is_stopping() {
            // Given up meanwhile: what is queued still goes out, but nothing more comes in.
            core.pattern.detach(&lane);
        }
        lane.counters.handshakes.add(1);
        note_ready(&core, &mut self.was_ready, &lane, &peer);
        let end = link.run(served, stop).await;
        served.outbound.rewind(link.take_unsent());
        drop(link);
        if let Some((limit, action)) = end.limit() {
            core.limit(limit, action, &self.endpoint, Some(&peer));
        }
        lane.set_ready(false);
        core.pattern.lost(&lane);
        if core.sends_subscriptions() {
            // The next connection begins with all subscriptions that still hold then.
            served
                .outbound
                .discard(|message| Subscription::of(message).is_some());
        }
        if stop.is_stopping()
            && (served.outbound.is_empty() || matches!(end, super::link_end::LinkEnd::Stopped))
        {
            core.emit(&Event::Disconnected {
                peer,
                reason: end.to_string(),
                retry_in: None,
            });
            return Outcome::Stopped;
        }
        Outcome::Again(Failure::Lost(peer, end.to_string()))
    }

    async fn run_direct(
        &mut self,
        lane: Arc<Lane>,
        rx: PipeReceiver<Message>,
        stop: &mut StopWatch,
    ) -> Outcome {
        let core = Arc::clone(&self.core);
        let mut known = None;
        let was_ready = &mut self.was_ready;
        let ready = |peer: &Peer| {
            known = Some(peer.clone());
            note_ready(&core, was_ready, &lane, peer);
        };
        let end = channel::run_direct(&core, &lane, rx, stop, None, ready).await;
        core.pattern.lost(&lane);
        let introduced = known.is_some();
        core.retire(&lane, || undelivered(&lane, introduced));
        finished(&core, &self.endpoint, known, &end, stop)
    }

    async fn run_served(&mut self, channel: MessageChannel, stop: &mut StopWatch) -> Outcome {
        let core = Arc::clone(&self.core);
        let served = Way::make_served(&mut self.way, &core, &self.current, &self.endpoint);
        let lane = Arc::clone(&served.lane);
        let mut known = None;
        let was_ready = &mut self.was_ready;
        let ready = |peer: &Peer| {
            known = Some(peer.clone());
            note_ready(&core, was_ready, &lane, peer);
        };
        let end = channel::run_served(&core, served, channel, stop, None, ready).await;
        lane.set_ready(false);
        core.pattern.lost(&lane);
        finished(&core, &self.endpoint, known, &end, stop)
    }

    /// How long to wait before the next attempt; `None`: there is none.
    fn pause(&mut self, failure: &Failure) -> Option<Duration> {
        let stop = self.core.options.reconnect_stop;
        let gives_up = match failure {
            Failure::Connect(ConnectError::Io { source, .. }) => {
                stop.refused && source.kind() == io::ErrorKind::ConnectionRefused
            }
            Failure::Connect(error) => error.is_permanent(),
            // Anybody on the way to a CURVE server can send that.
            Failure::Handshake(_, HandshakeFailure::Other) if self.core.is_curve_client() => false,
            Failure::Handshake(..) => stop.handshake,
            Failure::Lost(..) => false,
        };
        if gives_up {
            None
        } else {
            self.backoff.as_mut().map(|backoff| backoff.next(fastrand::f64()))
        }
    }

    fn report(&self, failure: Failure, retry_in: Option<Duration>) {
        let endpoint = self.endpoint.clone();
        self.core.emit(&match failure {
            Failure::Connect(error) => Event::ConnectFailed {
                endpoint,
                error: error.to_string(),
                retry_in,
            },
            Failure::Handshake(error, failure) => Event::HandshakeFailed {
                endpoint,
                error,
                failure,
                retry_in,
            },
            Failure::Lost(peer, reason) => Event::Disconnected {
                peer,
                reason,
                retry_in,
            },
        });
    }
}

impl Way {
    fn served(core: &Core, current: &CurrentLane, endpoint: &Endpoint) -> Self {
        let (served, inbound) = core.served_lane(core.unknown_peer(endpoint));
        open(core, current, &served.lane);
        drop(core.pattern.feed(&served.lane, inbound));
        Way::Served(Box::new(served))
    }

    /// The served lane, made now if a transport that gave channels so far gives a stream this time.
    fn make_served<'a>(
        way: &'a mut Way,
        core: &Core,
        current: &CurrentLane,
        endpoint: &Endpoint,
    ) -> &'a mut ServedLane {
        if let Way::Direct = way {
            *way = Way::served(core, current, endpoint);
        }
        match way {
            Way::Served(served) => served,
            Way::Direct => unreachable!("replaced above"),
        }
    }
}

/// Lets a lane take messages, and says that it is the one that does.
fn open(core: &Core, current: &CurrentLane, lane: &Arc<Lane>) {
    *current.lock() = Some(Arc::clone(lane));
    core.pattern.open(lane);
}

fn attempt(core: &Arc<Core>, endpoint: &Endpoint) -> Attempt {
    let (core, endpoint) = (Arc::clone(core), endpoint.clone());
    Box::pin(async move { core.registry().connect(&endpoint, &core.link_options).await })
}

/// What a channel took and its other end never will: messages dropped there unread or, before it was there, all but
/// the introduction.
fn undelivered(lane: &Lane, introduced: bool) -> usize {
    if introduced {
        lane.tx().discarded()
    } else {
        (lane.tx().len() + lane.tx().discarded()).saturating_sub(1)
    }
}

fn note_ready(core: &Core, was_ready: &mut bool, lane: &Lane, peer: &Peer) {
    if std::mem::replace(was_ready, true) {
        lane.reconnects.add(1);
    }
    core.emit(&Event::Ready { peer: peer.clone() });
}

/// What follows on the end of a channel.
fn finished(
    core: &Core,
    endpoint: &Endpoint,
    known: Option<Peer>,
    end: &channel::ChannelEnd,
    stop: &StopWatch,
) -> Outcome {
    if let Some(limit) = end.limit() {
        core.limit(limit, LimitAction::Disconnected, endpoint, known.as_ref());
    }
    if stop.is_stopping() || matches!(end, channel::ChannelEnd::Stopped) {
        if let Some(peer) = known {
            core.emit(&Event::Disconnected {
                peer,
                reason: end.reason(),
                retry_in: None,
            });
        }
        return Outcome::Stopped;
    }
    Outcome::Again(match known {
        Some(peer) => Failure::Lost(peer, end.reason()),
        None => Failure::Handshake(end.reason(), HandshakeFailure::Other),
    })
}

//! The accepting side: one task for each bound endpoint, one for each connection.

use std::sync::Arc;
use std::time::Duration;

use flexbond_transport::{Connection, Endpoint, Link as Carrier, Listener, MessageChannel};

use super::channel::{self, ChannelEnd};
use super::core::{Core, StopWatch};
use super::handshakes::{Full, Handshakes, Place, Progress};
use super::link::Link;
use super::link_end::LinkEnd;
use super::monitor::Event;
use super::security::check_connection;
use super::{HandshakeFailure, Limit, LimitAction, Peer};

/// Pause after an accept that failed, for the system may lack a resource; and where another connection has just made room,
/// until it is closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// Accepts connections until the endpoint is unbound or the socket closed.
pub(crate) async fn listen(core: Arc<Core>, mut listener: Box<dyn Listener>, mut unbound: StopWatch) {
    let endpoint = listener.local_endpoint().clone();
    let handshakes = Handshakes::new(
        core.options.max_handshakes,
        core.options.max_peers_per_endpoint,
        Arc::clone(&core.admissions),
    );
    let mut closed = core.stop_watch();
    loop {
        let accepted = tokio::select! {
            biased;
            () = unbound.stopping() => break,
            () = closed.stopping() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(connection) => admit(&core, &endpoint, connection, &handshakes),
            Err(error) => {
                let over = Limit::of_accept(&error);
                if over.is_none_or(|(limit, action, from)| core.limit(limit, action, from, None)) {
                    core.emit(&Event::AcceptFailed {
                        endpoint: endpoint.clone(),
                        error: error.to_string(),
                    });
                }
                if error.is_fatal() {
                    break;
                }
                if error.lacks_descriptors() && handshakes.make_room() {
                    tokio::time::sleep(ROOM_PAUSE).await;
                } else if error.needs_pause() {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    core.emit(&Event::Unbound { endpoint });
}

/// Starts a task for a connection, if the limits allow one more.
fn admit(core: &Arc<Core>, endpoint: &Endpoint, connection: Connection, handshakes: &Arc<Handshakes>) {
    let from = connection.peer.clone();
    let refuse = |error: String| {
        core.emit(&Event::AcceptFailed {
            endpoint: endpoint.clone(),
            error,
        });
    };
    let over = |limit: Limit, most: usize, what: &str| {
        if core.limit(limit, LimitAction::Refused, &from, None) {
            refuse(format!("{from} refused: {most} {what} ({limit})"));
        }
    };
    let options = &core.options;
    if core.peer_count() >= options.max_peers {
        return over(Limit::Peers, options.max_peers, "peers are connected");
    }
    if let Err(reason) = check_connection(&core.options, endpoint, &connection) {
        return refuse(format!("{from} refused: {reason}"));
    }
    let progress = match connection.link {
        Carrier::Messages(_) => Progress::Kept,
        Carrier::Stream(_) => Progress::Silent,
    };
    let Some(attendee) = core.crowd.enter(&from) else {
        let what = "connections from there were accepted";
        return over(Limit::AddressPeers, options.max_peers_per_address, what);
    };
    let place = match handshakes.enter(progress) {
        Ok(place) => place,
        Err(full) => {
            let (most, what) = match full {
                Full::Socket => (options.max_peers, "connections were accepted"),
                Full::Endpoint => (options.max_peers_per_endpoint, "connections were accepted here"),
                Full::Handshakes | Full::Descriptors => (options.max_handshakes, "handshakes are under way"),
            };
            return over(full.limit(), most, what);
        }
    };
    core.emit(&Event::Accepted {
        endpoint: endpoint.clone(),
        from: from.clone(),
    });
    let core = Arc::clone(core);
    let guard = core.guard();
    tokio::spawn(async move {
        match connection.link {
            Carrier::Stream(stream) => {
                let link = Link::new(Arc::clone(&core), stream, from.clone(), connection.identity);
                serve_stream(&core, link, &from, place).await;
            }
            Carrier::Messages(channel) => serve_channel(&core, channel, &from, place).await,
        }
        drop((attendee, guard));
    });
}

async fn serve_stream(core: &Arc<Core>, mut link: Link, from: &Endpoint, mut place: Place) {
    let mut stop = core.stop_watch();
    let Some(outcome) = stop.until_over(|| true, link.handshake(Some(&mut place))).await else {
        return;
    };
    // Kept until the connection is over.
    let admission = place.leave();
    let failed = |end: LinkEnd| {
        if let Some((limit, action)) = end.limit() {
            core.limit(limit, action, from, None);
        }
        core.emit(&Event::HandshakeFailed {
            endpoint: from.clone(),
            error: end.to_string(),
            failure: HandshakeFailure::from(&end),
            retry_in: None,
        });
    };
    let outcome = match (outcome, &admission) {
        // In the very moment in which it was complete.
        (Ok(_), Err(full)) => Err(LinkEnd::Displaced(*full)),
        (outcome, _) => outcome,
    };
    let info = match outcome {
        Ok(info) => info,
        Err(end) => {
            if matches!(end, LinkEnd::Displaced(_)) {
                core.displaced.add(1);
            }
            return failed(end);
        }
    };
    let unknown = core.unknown_peer(from);
    let peer = Peer::new(unknown.id(), from.clone(), info);
    let (mut served, inbound) = core.served_lane(peer.clone());
    let lane = Arc::clone(&served.lane);
    lane.set_ready(true);
    if let Err(refusal) = core.pattern.ready(&lane) {
        core.retire(&lane, || served.outbound.len());
        return failed(LinkEnd::Refused(refusal));
    }
    lane.counters.handshakes.add(1);
    drop(core.pattern.feed(&lane, inbound));
    core.emit(&Event::Ready { peer: peer.clone() });
    let end = link.run(&mut served, &mut stop).await;
    drop(link);
    if let Some((limit, action)) = end.limit() {
        core.limit(limit, action, from, Some(&peer));
    }
    core.pattern.lost(&lane);
    core.retire(&lane, || served.outbound.len());
    core.emit(&Event::Disconnected {
        peer,
        reason: end.to_string(),
        retry_in: None,
    });
}

async fn serve_channel(core: &Arc<Core>, channel: MessageChannel, from: &Endpoint, place: Place) {
    let mut stop = core.stop_watch();
    let patience = core.options.handshake_timeout;
    let mut known = None;
    let mut place = Some(place);
    let mut admission = None;
    let ready = |peer: &Peer| {
        admission = place.take().and_then(|place| place.leave().ok());
        known = Some(peer.clone());
        core.emit(&Event::Ready { peer: peer.clone() });
    };
    let end = if core.is_direct() {
        let (lane, rx) = channel::direct_lane(core, channel, from);
        let end = channel::run_direct(core, &lane, rx, &mut stop, patience, ready).await;
        core.pattern.lost(&lane);
        core.retire(&lane, || lane.tx().discarded());
        end
    } else {
        let (mut served, inbound) = core.served_lane(core.unknown_peer(from));
        let lane = Arc::clone(&served.lane);
        drop(core.pattern.feed(&lane, inbound));
        let end = channel::run_served(core, &mut served, channel, &mut stop, patience, ready).await;
        core.pattern.lost(&lane);
        core.retire(&lane, || served.outbound.len());
        end
    };
    drop((place, admission));
    report_end(core, known, from, &end);
}

/// Tells how a connection over a channel ended.
fn report_end(core: &Core, known: Option<Peer>, endpoint: &Endpoint, end: &ChannelEnd) {
    if let Some(limit) = end.limit() {
        core.limit(limit, LimitAction::Disconnected, endpoint, known.as_ref());
    }
    core.emit(&match known {
        Some(peer) => Event::Disconnected {
            peer,
            reason: end.reason(),
            retry_in: None,
        },
        None => Event::HandshakeFailed {
            endpoint: endpoint.clone(),
            error: end.reason(),
            failure: HandshakeFailure::Other,
            retry_in: None,
        },
    });
}

//! Making connections, and accepting them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::counters::{Slot, add};
use super::hello::greet;
use super::outlet::Outlet;
use super::switch::{Established, QUIET_TICKS, Switch};
use crate::{Connection, Endpoint, Listener};

/// How long to wait when the system could not accept for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A connection that is to be made.
pub(super) struct Dial {
    pub(super) address: SocketAddr,
    pub(super) endpoint: Endpoint,
    /// What waits for it.
    pub(super) outlet: Arc<Outlet>,
    pub(super) slot: Slot,
}

impl Dial {
    /// Connects for `switch`, which it does not keep alive.
    pub(super) fn run(self, switch: &Arc<Switch>) -> impl Future<Output = ()> + Send + use<> {
        let transport = Arc::clone(&switch.transport);
        let (link, hello) = (switch.options.link.clone(), switch.hello);
        let limit = switch.options.handshake_timeout;
        let switch = Arc::downgrade(switch);
        async move {
            let Dial {
                address,
                endpoint,
                outlet,
                slot,
            } = self;
            let connected = timeout(limit, async {
                let connection = transport.connect(&endpoint, &link).await.ok()?;
                greet(connection.link, &hello).await.ok()
            })
            .await;
            let Some(switch) = switch.upgrade() else { return };
            match connected {
                Ok(Some((peer, source, sink))) => switch.establish(Established {
                    // It is there whatever it says.
                    address,
                    peer,
                    dialed: true,
                    outlet,
                    source,
                    sink,
                    slot,
                }),
                Ok(None) | Err(_) => switch.dial_failed(address, &outlet),
            }
        }
    }
}

/// Accepts connections until the listener fails for good, or the switch is gone.
pub(super) async fn accept(mut listener: Box<dyn Listener>, switch: Weak<Switch>) {
    // Dropped with this task, so that nobody is greeted any more.
    let mut greetings = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while greetings.try_join_next().is_some() {}
        let Some(switch) = switch.upgrade() else { return };
        match accepted {
            Ok(connection) => {
                let slots = switch.half_open.take().zip(switch.connections.take());
                let Some((half_open, slot)) = slots else {
                    add(&switch.tally.refused, 1);
                    continue;
                };
                greetings.spawn(welcome(connection, Arc::downgrade(&switch), half_open, slot));
            }
            Err(error) if error.is_fatal() => return,
            Err(error) => {
                drop(switch);
                if error.needs_pause() {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Greets who has connected.
async fn welcome(connection: Connection, switch: Weak<Switch>, half_open: Slot, slot: Slot) {
    let Some((limit, hello)) = switch
        .upgrade()
        .map(|switch| (switch.options.handshake_timeout, switch.hello))
    else {
        return;
    };
    let Connection { link, peer: from, .. } = connection;
    let greeted = timeout(limit, greet(link, &hello)).await;
    let Some(switch) = switch.upgrade() else { return };
    drop(half_open);
    let established = greeted
        .ok()
        .and_then(Result::ok)
        .and_then(|(peer, source, sink)| {
            Some(Established {
                address: switch.places.address(&from, &peer)?,
                peer,
                dialed: false,
                outlet: Arc::new(Outlet::opening(switch.options.max_queued)),
                source,
                sink,
                slot,
            })
        });
    match established {
        Some(established) => switch.establish(established),
        None => add(&switch.tally.rejected, 1),
    }
}

/// Lets the switch look at its connections from time to time, until it is gone.
pub(super) async fn tick(switch: Weak<Switch>, idle_timeout: Duration) {
    let period = (idle_timeout / u32::from(QUIET_TICKS)).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(period).await;
        let Some(switch) = switch.upgrade() else { return };
        switch.tick();
    }
}

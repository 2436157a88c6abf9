//! Connections between ranks: one dials, the other lets it in.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flexbond_transport::{ByteStream, Connection, Listener, Reached};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::channel::stream_of;
use super::hello::{Caller, Hello, Purpose};
use super::hub::Hub;
use super::line::{LineError, read_exact, read_hello, write_all};
use super::link::Link;
use super::{path, watch};

/// Connections that may be in their handshake at once.
const MAX_HALF_OPEN: usize = 256;
/// Pause after an accept that failed, for the system may lack a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Connects to another rank. Where it is not reached, or refuses, for as long as a silent rank may live, the server is
/// told.
pub(super) async fn dial(hub: Arc<Hub>, link: Arc<Link>) {
    // Spent on attempts to get there, and between attempts; not on those that wait for an application, be it this one.
    let mut patience = hub.options.dead_after;
    let mut pause = FIRST_PAUSE;
    let gives_up = loop {
        if link.has_left() || link.stream().is_some() {
            break false;
        }
        // The other rank may have sent its last message and left before this task has heard that it is admitted.
        link.set_opening(true);
        let attempted = tokio::select! {
            biased;
            attempted = attempt(&hub, &link, &mut patience) => attempted,
            () = long_gone(&hub, &link) => Err(LineError::Ended),
        };
        // Nobody else dials this rank.
        let attempted = attempted.map(|stream| link.connected(stream).is_ok());
        link.set_opening(false);
        match attempted {
            Ok(_) => break false,
            Err(error) if !patience.is_zero() => {
                tracing::debug!(to = %link.endpoint, %error, "a rank could not be connected to");
                tokio::time::sleep(pause).await;
                patience = patience.saturating_sub(pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            Err(error) => {
                tracing::debug!(to = %link.endpoint, %error, "a rank was given up");
                break true;
            }
        }
    };
    // In this order: who asks in a new epoch for what this task has seen to either has it told, or begins anew.
    link.end_dialing();
    if gives_up {
        hub.break_off(&link, hub.current().number);
    }
    hub.parked.wake_all();
}

/// Waits until the rank has left for so long that nothing of it can be under way any more.
async fn long_gone(hub: &Hub, link: &Link) {
    hub.parked.until(|| link.has_left().then_some(())).await;
    tokio::time::sleep(hub.options.dead_after).await;
}

/// `patience`: how long it may take to reach the other machine. What that took in vain is gone from it.
async fn attempt(hub: &Hub, link: &Link, patience: &mut Duration) -> Result<Box<dyn ByteStream>, LineError> {
    let begun = Instant::now();
    let reached = tokio::time::timeout(*patience, path::reach(hub, link, hub.options.keepalive())).await;
    let reached = reached.unwrap_or_else(|elapsed| Err(elapsed.into()));
    let reached = reached.inspect_err(|_| *patience = patience.saturating_sub(begun.elapsed()))?;
    // No deadline from here on: the other application may be busy for as long as it likes, and the server says whether it
    // lives. Where the system finds that the path is gone, that has lasted long enough.
    admitted(hub, link, reached).await.inspect_err(|error| {
        if matches!(error, LineError::Io(error) if path::is_gone(error)) {
            *patience = Duration::ZERO;
        }
    })
}

/// Waits until the other application has let this one in.
async fn admitted(hub: &Hub, link: &Link, reached: Reached) -> Result<Box<dyn ByteStream>, LineError> {
    let stream = path::introduce(hub, link, reached, Purpose::Data).await?;
    // Once more, for a transport that knows nothing of it before. Where the system refuses, the path's end is found out
    // later.
    let _ = stream.set_keepalive(&hub.options.keepalive());
    let answer = read_hello(&*stream).await?;
    if answer.purpose != Purpose::Admitted || answer.rest != 0 {
        return Err(LineError::Foreign);
    }
    Ok(stream)
}

/// Lets other ranks in, for ever.
pub(super) async fn accept(hub: Arc<Hub>, mut listener: Box<dyn Listener>) {
    let half_open = Arc::new(Semaphore::new(MAX_HALF_OPEN));
    loop {
        match listener.accept().await {
            Ok(connection) => match Arc::clone(&half_open).try_acquire_owned() {
                Ok(permit) => {
                    let patience = hub.options.dead_after;
                    let admission = admit(Arc::clone(&hub), connection, permit);
                    let counting = Arc::clone(&hub);
                    hub.spawn(async move {
                        if !matches!(tokio::time::timeout(patience, admission).await, Ok(Ok(()))) {
                            counting.refused.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                Err(_) => {
                    hub.refused.fetch_add(1, Ordering::Relaxed);
                }
            },
            Err(error) if error.is_fatal() => return,
            Err(error) => {
                tracing::debug!(%error, "a rank's connection was not accepted");
                if error.needs_pause() {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn admit(
    hub: Arc<Hub>,
    connection: Connection,
    _permit: OwnedSemaphorePermit,
) -> Result<(), LineError> {
    let stream = stream_of(connection);
    let hello = read_hello(&*stream).await?;
    let is_watch = match hello.purpose {
        Purpose::Data => false,
        Purpose::Watch => true,
        _ => return Err(LineError::Foreign),
    };
    let mut rest = vec![0; hello.rest];
    read_exact(&*stream, &mut rest).await?;
    let caller = Caller::decode(&rest).ok_or(LineError::Malformed)?;
    // Either of two ranks may watch.
    let is_caller = caller.from < hub.id || (is_watch && caller.from > hub.id);
    let is_meant = caller.session == hub.session && caller.to == hub.id && is_caller;
    if !is_meant {
        return Err(LineError::Foreign);
    }
    let link = known(&hub, caller.from).await;
    if is_watch {
        return watch::admit(&hub, link, stream);
    }
    if link.stream().is_some() {
        return Err(LineError::Foreign);
    }
    // The caller may send its first message, and leave, before this task runs on.
    link.set_opening(true);
    let _ = stream.set_keepalive(&hub.options.keepalive());
    let admitted = Hello {
        purpose: Purpose::Admitted,
        rest: 0,
    };
    let answered = write_all(&*stream, &admitted.encode()).await;
    let result = answered.and_then(|()| link.connected(stream).map_err(|_| LineError::Foreign));
    link.set_opening(false);
    hub.parked.wake_all();
    result
}

/// A rank that has heard of the epoch earlier than this one may call already.
async fn known(hub: &Hub, id: u32) -> Arc<Link> {
    hub.parked.until(|| hub.link(id)).await
}

//! A second connection to a rank that has been waited for: nothing is ever under way on it, so that the system finds out
//! whether the path still leads there.
//!
//! On the connection of the messages it cannot: while the peer computes and does not receive, what was sent waits there as
//! it does where the path is gone. Nor need the peer's application take part. The system lets the connection in and answers
//! for it; a handshake that the transport has beyond that is waited for as long as the system does so.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_transport::{ByteStream, Reached};

use super::hello::Purpose;
use super::hub::Hub;
use super::line::LineError;
use super::link::Link;
use super::path;

/// Pause between attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of a watch.
enum Finding {
    /// The path is gone.
    Lost,
    /// Nothing that others do not find out.
    Open,
}

/// Watches the path to another rank, until it is gone, which the server is told, or until the other rank is.
pub(super) async fn watch(hub: Arc<Hub>, link: Arc<Link>) {
    let finding = match open(&hub, &link).await {
        Ok(reached) => match hold(&hub, &link, reached).await {
            Some(error) if path::is_gone(&error) => Finding::Lost,
            _ => Finding::Open,
        },
        Err(finding) => finding,
    };
    link.end_watching();
    if let Finding::Lost = finding {
        tracing::debug!(to = %link.endpoint, "the path to a rank is gone");
        hub.break_off(&link, hub.current().number);
    }
}

/// Connects, within the time that a silent rank may live.
async fn open(hub: &Hub, link: &Link) -> Result<Reached, Finding> {
    let begun = Instant::now();
    loop {
        let left = hub.options.dead_after.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(Finding::Lost);
        }
        match tokio::time::timeout(left, path::reach(hub, link, hub.options.watchfulness())).await {
            Ok(Ok(reached)) => return Ok(reached),
            // Most often a system that lacks a resource, or a rank that is about to be dead: neither is the path.
            Ok(Err(error)) if !path::is_gone(&error) => return Err(Finding::Open),
            Err(_) => return Err(Finding::Lost),
            // A route may be missing for a moment.
            Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Holds the connection until it ends, and says by which error, if it was one.
async fn hold(hub: &Hub, link: &Link, reached: Reached) -> Option<io::Error> {
    let introduced = path::introduce(hub, link, reached, Purpose::Watch).await;
    // Once more, for a transport that knows nothing of it before.
    let watched = introduced.and_then(|stream| {
        stream.set_keepalive(&hub.options.watchfulness())?;
        Ok(stream)
    });
    match watched {
        Ok(stream) => ended(&*stream).await,
        Err(error) => Some(error),
    }
}

/// Holds a connection by which another rank watches the path to this one, until it ends. Each has one at a time.
pub(super) fn admit(hub: &Arc<Hub>, link: Arc<Link>, stream: Box<dyn ByteStream>) -> Result<(), LineError> {
    if !link.begin_watched() {
        return Err(LineError::Foreign);
    }
    // Where the system refuses, it is held for longer than need be.
    let _ = stream.set_keepalive(&hub.options.watchfulness());
    hub.spawn(async move {
        // Who watches complains.
        let _ = ended(&*stream).await;
        link.end_watched();
    });
    Ok(())
}

/// Waits until the connection has ended: by an error, or by the peer. What comes on it means nothing.
async fn ended(stream: &dyn ByteStream) -> Option<io::Error> {
    let mut waste = [0; 64];
    loop {
        match poll_fn(|cx| stream.poll_read_into(cx, &mut waste)).await {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(error),
        }
    }
}

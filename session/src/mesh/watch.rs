//! A second connection to a rank that has been waited for: nothing is ever under way on it, so that the system finds out
//! whether the path still leads there.
//!
//! On the connection of the messages it cannot: while the peer computes and does not receive, what was sent waits there as
//! it does where the path is gone. Nor need the peer's application take part. The system lets the connection in and answers
//! for it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_transport::{ByteStream, ConnectError};

use super::channel::stream_of;
use super::hello::{Caller, Purpose};
use super::hub::Hub;
use super::line::{LineError, write_all};
use super::link::Link;

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
        Ok(stream) => match ended(&*stream).await {
            Some(error) if is_of_path(&error) => Finding::Lost,
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
async fn open(hub: &Hub, link: &Link) -> Result<Box<dyn ByteStream>, Finding> {
    let begun = Instant::now();
    loop {
        let left = hub.options.dead_after.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(Finding::Lost);
        }
        match tokio::time::timeout(left, attempt(hub, link)).await {
            Ok(Ok(stream)) => return Ok(stream),
            // Most often a system that lacks a resource, or a rank that is about to be dead: neither is the path.
            Ok(Err(error)) if !is_of_path(&error) => return Err(Finding::Open),
            Err(_) => return Err(Finding::Lost),
            // A route may be missing for a moment.
            Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn attempt(hub: &Hub, link: &Link) -> io::Result<Box<dyn ByteStream>> {
    let options = hub.options.link(&link.endpoint);
    let connecting = hub.options.registry.connect(&link.endpoint, &options);
    let connection = connecting.await.map_err(|error| match error {
        ConnectError::Io { source, .. } => source,
        error => io::Error::other(error),
    })?;
    let stream = stream_of(connection);
    stream.set_keepalive(&hub.options.watchfulness())?;
    let caller = Caller {
        session: hub.session,
        from: hub.id,
        to: link.id,
    };
    match write_all(&*stream, &caller.encode(Purpose::Watch)).await {
        Ok(()) => Ok(stream),
        Err(LineError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
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

/// Whether the system says that it does not get there, rather than that nobody is there.
fn is_of_path(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}

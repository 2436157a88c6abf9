//! The way to another rank: whether it is there is for the system to say, not for the other application, which may compute.

use std::error::Error;
use std::io;

use flexbond_transport::{ByteStream, ConnectError, Keepalive, Reached};

use super::channel::stream_of;
use super::hello::{Caller, Purpose};
use super::hub::Hub;
use super::line::{LineError, write_all};
use super::link::Link;

/// Connects as far as the other machine goes by itself. The system says from then on whether the path is there, also while
/// the other application does not shake hands.
pub(super) async fn reach(hub: &Hub, link: &Link, keepalive: Keepalive) -> io::Result<Reached> {
    let mut options = hub.options.link(&link.endpoint);
    options.keepalive = Some(keepalive);
    let reached = hub.options.registry.reach(&link.endpoint, &options).await;
    reached.map_err(of_connecting)
}

/// Does the rest, and says what the connection is for. No deadline: the other application may be busy for as long as it
/// likes.
pub(super) async fn introduce(
    hub: &Hub,
    link: &Link,
    reached: Reached,
    purpose: Purpose,
) -> io::Result<Box<dyn ByteStream>> {
    let connection = reached.finish().await.map_err(of_connecting)?;
    let stream = stream_of(connection);
    let caller = Caller {
        session: hub.session,
        from: hub.id,
        to: link.id,
    };
    match write_all(&*stream, &caller.encode(purpose)).await {
        Ok(()) => Ok(stream),
        Err(LineError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether the system says that it does not get there, rather than that nobody is there.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}

/// The same, of the kind that the system has said.
fn of_connecting(error: ConnectError) -> io::Error {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    let mut kind = io::ErrorKind::Other;
    while let Some(this) = cause {
        if let Some(error) = this.downcast_ref::<io::Error>() {
            kind = error.kind();
        }
        cause = this.source();
    }
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_said_is_found_again() {
        for (kind, gone) in [
            (io::ErrorKind::NetworkUnreachable, true),
            (io::ErrorKind::TimedOut, true),
            (io::ErrorKind::ConnectionRefused, false),
        ] {
            let error = of_connecting(ConnectError::Io {
                endpoint: "tcp://127.0.0.1:1".parse().expect("an endpoint"),
                source: kind.into(),
            });
            assert_eq!((error.kind(), is_gone(&error)), (kind, gone));
        }
    }
}

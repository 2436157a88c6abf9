//! Connections that end while messages are expected: what was on its way is lost, and nothing else would tell.

use crate::session::socket::{Event, Monitor};
use crate::stream::Stream;

/// Tells why connections of a stream ended, each reason once.
#[derive(Debug)]
pub(super) struct Losses {
    monitor: Option<Monitor>,
    told: Option<String>,
}

impl Losses {
    /// Those of `stream`, from now on.
    pub(super) fn of(stream: &Stream) -> Self {
        Losses {
            monitor: stream.monitor(),
            told: None,
        }
    }

    /// One that was not told yet.
    pub(super) fn poll(&mut self) -> Option<String> {
        let monitor = self.monitor.as_mut()?;
        while let Some(event) = monitor.try_recv() {
            // A source that comes and goes for the same reason is told once.
            if let Event::Disconnected { reason, .. } = &event
                && self.told.as_ref() != Some(reason)
            {
                self.told = Some(reason.clone());
                return Some(event.to_string());
            }
        }
        None
    }
}

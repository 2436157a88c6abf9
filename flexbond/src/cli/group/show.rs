//! Lines on standard output about a session, which nobody is kept waiting by.

use std::time::Duration;

use super::over_failure;
use super::roll::Roll;
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::group::{Event, Over, Session};

/// How long the end of a program waits for who reads its output.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Where lines go, and whom they are about.
pub(super) struct Show {
    pub(super) roll: Roll,
    output: Output,
}

impl Show {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Show {
            roll: Roll::default(),
            output: Output::stdout()
                .map_err(|error| Failure::new(format!("cannot write to standard output: {error}")))?,
        })
    }

    /// Waits until all was written, for a while.
    pub(super) async fn finish(&mut self) {
        self.output.finish(Some(LAST_LINES)).await;
    }

    /// A line. When nobody reads any more, it is for nobody, and the session goes on.
    pub(super) async fn line(&mut self, text: &str) {
        self.output.text(text);
        let _ = self.output.flush().await;
    }

    /// A line about what happened.
    pub(super) async fn event(&mut self, event: Result<Event, Over>) -> Result<(), Failure> {
        let event = event.map_err(|over| over_failure(&over))?;
        if let Some(line) = self.roll.note(&event) {
            self.line(&line).await;
        }
        Ok(())
    }

    /// Lines about all that has happened by now.
    pub(super) async fn events(&mut self, session: &Session) -> Result<(), Failure> {
        loop {
            let event = tokio::select! {
                biased;
                event = session.event() => event,
                () = std::future::ready(()) => return Ok(()),
            };
            self.event(event).await?;
        }
    }
}

//! Ctrl-C and termination: the first asks for a clean end, the second ends at once, with a summary where there is one.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Exit;

/// Tells when a signal has come. Clones hear the same signal.
#[derive(Clone)]
pub(crate) struct Interrupt {
    rx: watch::Receiver<Option<u8>>,
    /// The second one, while somebody waits for it.
    second: Arc<watch::Sender<Option<u8>>>,
}

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on, on the current runtime.
    ///
    /// A second signal ends the process even while it is stuck in a write that nobody reads, unless somebody waits for
    /// [`another`](Self::another); then the third one does.
    pub(crate) fn listen() -> io::Result<Self> {
        let (tx, rx) = watch::channel(None);
        let second = Arc::new(watch::Sender::new(None));
        let awaited = Arc::clone(&second);
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            let mut seen = false;
            loop {
                let number = tokio::select! {
                    _ = int.recv() => SignalKind::interrupt().as_raw_value(),
                    _ = term.recv() => SignalKind::terminate().as_raw_value(),
                };
                // Signal numbers are small.
                let number = number as u8;
                if seen && awaited.receiver_count() > 0 && awaited.borrow().is_none() {
                    awaited.send_replace(Some(number));
                    continue;
                }
                if seen {
                    std::process::exit(i32::from(Exit::Signal(number).code()));
                }
                seen = true;
                tx.send_replace(Some(number));
            }
        });
        Ok(Interrupt { rx, second })
    }

    /// Waits for the signal and returns its number. Cancel safe.
    pub(crate) async fn wait(&mut self) -> u8 {
        match self.rx.wait_for(Option::is_some).await {
            Ok(number) => number.unwrap_or_default(),
            // The watching task is gone with its runtime: no signal will come.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for a signal besides the one that may have come before, and returns its number. Cancel safe.
    pub(crate) async fn another(&mut self) -> u8 {
        if !self.is_set() {
            return self.wait().await;
        }
        let mut second = self.second.subscribe();
        match second.wait_for(Option::is_some).await {
            Ok(number) => number.unwrap_or_default(),
            // It is kept here.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether the signal has come.
    pub(crate) fn is_set(&self) -> bool {
        self.rx.borrow().is_some()
    }
}

//! One output of a split: its socket, and how it leaves.

use std::collections::VecDeque;
use std::time::Duration;

use flexbond_session::socket::{SendErrorKind, Stats};
use flexbond_transport::{Endpoint, Message};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::{OutletId, OutletStats, OutputConfig, OutputMode, SplitError};
use crate::{Attach, ConnectOptions, Stream};

#[derive(Debug)]
pub(super) struct Output {
    pub(super) config: OutputConfig,
    pub(super) id: OutletId,
    pub(super) stream: Stream,
    /// The message that the socket has not taken yet.
    pub(super) sending: Option<Message>,
    /// The socket had no room when it was asked last, and will say when it has.
    pub(super) is_full: bool,
}

/// What passed through one output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutputStats {
    /// Its address in the configuration.
    pub address: String,
    /// Its address in use: with the port, where the system chose one.
    pub endpoint: Endpoint,
    /// PUSH or PUB.
    pub mode: OutputMode,
    /// What became of the messages for it.
    pub outlet: OutletStats,
    /// The counters of its socket: peers, and messages that a PUB dropped for slow ones. Once it is closed: the peers that
    /// there were when that began.
    pub socket: Stats,
    /// Messages that were left when it was closed. They are not among those of `outlet`.
    pub undelivered: u64,
}

/// What a split was left with when it was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// Messages that were not sent, over all outputs that there ever were.
    pub messages: u64,
    /// How many of them were left with each output that there was at the end, by its address in the configuration.
    pub outputs: Vec<(String, u64)>,
}

/// What an output was left with.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    /// Messages that its socket did not take.
    pub(super) unsent: u64,
    /// Messages, one for each receiver, that its socket had taken.
    pub(super) in_socket: u64,
    /// The last counters of the socket.
    pub(super) socket: Stats,
}

impl Left {
    pub(super) fn messages(&self) -> u64 {
        self.unsent + self.in_socket
    }
}

impl Output {
    pub(super) fn new(id: OutletId, stream: Stream, config: &OutputConfig) -> Self {
        Output {
            config: config.clone(),
            id,
            stream,
            sending: None,
            is_full: false,
        }
    }

    /// Whether this is the output that a configuration means.
    pub(super) fn is(&self, config: &OutputConfig) -> bool {
        self.config.address == config.address && self.config.options().joins_as(&config.options())
    }

    pub(super) fn is_bound(&self) -> bool {
        self.config.options().attach == Attach::Bind
    }

    /// Opens the socket of an output.
    pub(super) async fn open(config: &OutputConfig, base: &ConnectOptions) -> Result<Stream, SplitError> {
        let stream = Stream::connect(&config.address, config.options_over(base)).await;
        stream.map_err(|error| SplitError::Connect {
            address: config.address.clone(),
            error,
        })
    }

    pub(super) fn stats(&self, outlet: OutletStats) -> OutputStats {
        OutputStats {
            address: self.config.address.clone(),
            endpoint: self.stream.endpoint().clone(),
            mode: self.config.mode,
            outlet,
            socket: self.stream.socket_stats(),
            undelivered: 0,
        }
    }

    /// Sends what waits, for as long as linger says from `begin` on or until it is to hurry, then closes. All of it in the
    /// background; the second task says what was left. The address, if it is bound, is given up before that if `gives_up`
    /// says so, and otherwise in the end: who comes meanwhile gets what waits. That of a session is always given up in the
    /// end.
    pub(super) fn leave(
        self,
        mut queue: VecDeque<Message>,
        begin: Instant,
        gives_up: bool,
        hurry: watch::Receiver<bool>,
    ) -> (Option<JoinHandle<()>>, JoinHandle<Left>) {
        let gives_up = gives_up && self.is_bound();
        if let Some(message) = self.sending {
            queue.push_front(message);
        }
        let deadline = begin + Duration::from_millis(self.config.linger_ms);
        let link = self.stream.link().clone();
        let (closing, closed) = oneshot::channel::<()>();
        let unbinding = gives_up.then(|| match link.unbind(self.stream.endpoint()) {
            Some(unbinding) => tokio::spawn(unbinding),
            None => tokio::spawn(async move { drop(closed.await) }),
        });
        let leaving = tokio::spawn(async move {
            let mut refused = 0;
            let sending = async {
                while let Err(error) = link.send_many(&mut queue).await {
                    // One that cannot be sent does not keep the others, and linger counts, not the time-out of one.
                    match error.kind() {
                        SendErrorKind::Timeout(_) => queue.push_front(error.into_message()),
                        _ => refused += 1,
                    }
                }
            };
            tokio::select! {
                biased;
                _ = timeout_at(deadline, sending) => {}
                () = hurried(hurry.clone()) => {}
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            let closed = tokio::select! {
                biased;
                () = hurried(hurry) => link.close_within(Some(Duration::ZERO)).await,
                closed = link.close_within(Some(rest)) => closed,
            };
            drop(closing);
            Left {
                unsent: refused + queue.len() as u64,
                in_socket: closed.undelivered,
                socket: link.stats(),
            }
        });
        (unbinding, leaving)
    }
}

/// Waits until there is to be no more waiting; for ever where nobody can say so any more.
async fn hurried(mut hurry: watch::Receiver<bool>) {
    if hurry.wait_for(|hurry| *hurry).await.is_err() {
        std::future::pending::<()>().await;
    }
}

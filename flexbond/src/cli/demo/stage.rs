//! The stages of the demo, and what all of them share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::latency::Latency;
use super::payload::Tally;
use super::{
    calling, dealing, grouping, pipeline, publishing, quantity, reducing, requests, streaming, swapping,
};
use crate::session::socket::{Options, RecvError, Socket, SocketType};
use crate::transport::Message;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    pub(super) pattern: Pattern,
    pub(super) transport: &'static str,
    pub(super) size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Pipeline,
    Publishing,
    Requests,
    Dealing,
    Streaming,
    Calling,
    Grouping,
    Reducing,
    Swapping,
}

/// What a stage did.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Messages received and checked (requests and replies: answered requests).
    pub(super) messages: u64,
    /// Their payload.
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    /// Median and 99th percentile of the round trips.
    pub(super) round_trip: Option<(Duration, Duration)>,
    /// Why the stage failed, if it did: what was lost, damaged or out of order.
    pub(super) fault: Option<String>,
}

/// How a running stage is watched and stopped.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) messages: AtomicU64,
    pub(super) stop: AtomicBool,
}

/// A peer that does not move for this long has lost something.
pub(super) const STALL: Duration = Duration::from_secs(5);

impl Stage {
    pub(super) fn all() -> Vec<Stage> {
        const TRANSPORTS: [&str; 3] = ["inproc", "ipc", "tcp"];
        let sizes = |pattern, sizes: &'static [usize]| {
            sizes.iter().flat_map(move |&size| {
                TRANSPORTS.map(|transport| Stage {
                    pattern,
                    transport,
                    size,
                })
            })
        };
        let one = |pattern, transport, size| Stage {
            pattern,
            transport,
            size,
        };
        sizes(Pattern::Pipeline, &[16, 1 << 10, 64 << 10, 1 << 20])
            .chain(sizes(Pattern::Publishing, &[128]))
            .chain(sizes(Pattern::Requests, &[16]))
            .chain(sizes(Pattern::Dealing, &[128]))
            .chain([
                one(Pattern::Streaming, "tcp", 1 << 20),
                one(Pattern::Calling, "tcp", 128),
                one(Pattern::Grouping, "udp", 4 << 10),
                one(Pattern::Reducing, "tcp", 1 << 10),
                one(Pattern::Swapping, "tcp", 1 << 10),
            ])
            .collect()
    }

    pub(super) fn run(self, time: Duration, watch: &Watch) -> Outcome {
        match self.pattern {
            Pattern::Pipeline => pipeline::run(self, time, watch),
            Pattern::Publishing => publishing::run(self, time, watch),
            Pattern::Requests => requests::run(self, time, watch),
            Pattern::Dealing => dealing::run(self, time, watch),
            Pattern::Streaming => streaming::run(self, time, watch),
            Pattern::Calling => calling::run(self, time, watch),
            Pattern::Grouping => grouping::run(self, time, watch),
            Pattern::Reducing => reducing::run(self, time, watch),
            Pattern::Swapping => swapping::run(self, time, watch),
        }
        .unwrap_or_else(Outcome::failed)
    }

    /// Socket options: queues that hold a moderate number of bytes, whatever the size of the messages.
    pub(super) fn options(self) -> Options {
        const QUEUED: usize = 32 << 20;
        Options::new().hwm((QUEUED / self.size).clamp(16, 1000))
    }

    /// Whether payloads travel as bytes, rather than by reference.
    pub(super) fn moves_bytes(self) -> bool {
        self.transport != "inproc"
    }

    /// Somewhere to bind that nobody else uses.
    pub(super) fn address(self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "flexbond-demo-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        match self.transport {
            "inproc" => format!("inproc://{name}"),
            "ipc" => format!("ipc://{}", std::env::temp_dir().join(name).display()),
            transport => format!("{transport}://127.0.0.1:0"),
        }
    }
}

impl Pattern {
    pub(super) fn name(self) -> &'static str {
        match self {
            Pattern::Pipeline => "PUSH → PULL",
            Pattern::Publishing => "PUB → 4 SUB",
            Pattern::Requests => "REQ ↔ REP",
            Pattern::Dealing => "DEALER ↔ ROUTER, 64 in flight",
            Pattern::Streaming => "data stream, array-1.0",
            Pattern::Calling => "remote calls, 64 in flight",
            Pattern::Grouping => "group, 1 → 3 members",
            Pattern::Reducing => "allreduce, 2 ranks",
            Pattern::Swapping => "swap by a message server",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.pattern.name(),
            self.transport,
            quantity::size(self.size)
        )
    }
}

impl Outcome {
    pub(super) fn failed(fault: impl Into<String>) -> Self {
        Outcome {
            fault: Some(fault.into()),
            ..Outcome::default()
        }
    }

    /// What one receiver has counted, or the receivers of a stage together.
    pub(super) fn of(tallies: impl IntoIterator<Item = Tally>, elapsed: Duration) -> Self {
        let none = Outcome {
            elapsed,
            ..Outcome::default()
        };
        tallies.into_iter().fold(none, |sum, tally| Outcome {
            messages: sum.messages + tally.messages,
            bytes: sum.bytes + tally.bytes,
            fault: sum.fault.or(tally.fault),
            ..sum
        })
    }

    /// The same, with how long the answers took.
    pub(super) fn with_round_trips(self, latency: Latency) -> Self {
        Outcome {
            round_trip: latency.percentiles(),
            ..self
        }
    }

    /// Messages per second.
    pub(super) fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Watch {
    /// Whether a sender should stop: its time is over, or the user has seen enough. Looks rarely.
    pub(super) fn is_over(&self, number: u64, begin: Instant, time: Duration) -> bool {
        number.is_multiple_of(32) && (self.stop.load(Ordering::Relaxed) || begin.elapsed() >= time)
    }
}

/// Runs both ends, each on a thread and runtime of its own, as two programs would.
pub(super) fn both<A: Send, B, FA, FB>(
    first: impl FnOnce() -> FA + Send,
    second: impl FnOnce() -> FB,
) -> Result<(A, B), String>
where
    FA: Future<Output = Result<A, String>>,
    FB: Future<Output = Result<B, String>>,
{
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(move || runtime()?.block_on(first()));
        let second = runtime().and_then(|runtime| runtime.block_on(second()));
        let first = first.join().map_err(|_| "one end broke off".to_owned())?;
        Ok((first?, second?))
    })
}

/// A socket with the stage's options.
pub(super) fn socket(socket_type: SocketType, options: Options) -> Result<Socket, String> {
    let options = options.send_timeout(STALL).recv_timeout(STALL);
    Socket::with_options(socket_type, options).map_err(|error| error.to_string())
}

/// Sends; a socket that takes nothing for long is a fault.
pub(super) async fn send(socket: &Socket, message: Message) -> Result<(), String> {
    socket.send(message).await.map_err(|error| error.to_string())
}

/// Receives; `None` when nothing came for long, so what is missing is lost.
pub(super) async fn receive(socket: &Socket) -> Result<Option<Message>, String> {
    match socket.recv().await {
        Err(RecvError::Timeout(_)) => Ok(None),
        received => received.map(Some).map_err(|error| error.to_string()),
    }
}

/// Awaits a step; one that takes long is a fault.
pub(super) async fn moves<T, E: fmt::Display>(step: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(STALL, step).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("nothing moved for {} s", STALL.as_secs())),
    }
}

//! `flexbond socket`: any pattern from the shell.

mod conversation;
mod progress;
mod settings;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::argument::{self, Linger};
use super::failure::{Exit, Failure, explain, note};
use super::input::Input;
use super::interrupt::Interrupt;
use super::output::{Output, unwritten};
use super::quantity;
use crate::session::socket::{BindError, ConnectError, Monitor, PublicKey, Socket, SocketType};
use crate::transport::{BindError as TransportBindError, Endpoint};

use conversation::{Conversation, End};

/// Open a socket of any pattern and talk through it: messages in on standard input, out on standard output.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct SocketCommand {
    /// REQ, REP, DEALER, ROUTER, PUB, SUB, XPUB, XSUB, PUSH, PULL or PAIR
    #[arg(value_name = "PATTERN", value_parser = settings::pattern)]
    pattern: SocketType,

    /// Listen here: tcp://host:port, tcp://*:0, tls://host:port, ipc:///path, ipc://@name (repeatable)
    #[arg(long, value_name = "ENDPOINT")]
    bind: Vec<Endpoint>,

    /// Connect here, now or as soon as somebody listens (repeatable)
    #[arg(long, value_name = "ENDPOINT")]
    connect: Vec<Endpoint>,

    /// SUB, XSUB: receive what begins with this; `hex:00ff` for bytes (repeatable). A SUB without any receives all
    #[arg(long, value_name = "PREFIX", value_parser = argument::bytes)]
    subscribe: Vec<Bytes>,

    /// How a ROUTER knows this socket; `hex:00ff` for bytes
    #[arg(long, value_name = "ID", value_parser = argument::bytes)]
    routing_id: Option<Bytes>,

    /// Stop after this many messages were received
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    recv: Option<u64>,

    /// Give up (exit code 3) when nothing was sent or received for this long while the socket was waited for
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    /// How long the end waits for messages not yet delivered; -1 or inf: for ever. Default: 30, or --timeout if shorter
    #[arg(long, value_name = "SECONDS", value_parser = argument::linger, allow_hyphen_values = true)]
    linger: Option<Linger>,

    /// Messages that may wait for each peer, and from each peer; 0: a large bound
    #[arg(long, value_name = "N", default_value_t = 1000)]
    hwm: usize,

    /// Name for the PLAIN mechanism; not encrypted on the way
    #[arg(long, value_name = "NAME", requires = "password")]
    username: Option<String>,

    /// Password for the PLAIN mechanism; better given in the environment, which other users cannot list
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "FLEXBOND_PASSWORD",
        hide_env_values = true
    )]
    password: Option<String>,

    /// Demand --username and --password from every peer instead of offering them
    #[arg(long, requires = "username")]
    plain_server: bool,

    /// Let passwords travel unencrypted to and from other machines: only inside an encrypted network
    #[arg(long, requires = "username")]
    plain_anywhere: bool,

    /// The secret key of this side for CURVE, in a file as `flexbond keygen` makes it
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    curve_secret: Option<PathBuf>,

    /// CURVE: let in those who know the public half of --curve-secret
    #[arg(long, requires = "curve_secret", conflicts_with = "curve_server_key")]
    curve_server: bool,

    /// CURVE: of those, only the owners of this public key (repeatable)
    #[arg(
        long,
        value_name = "KEY",
        requires = "curve_server",
        allow_hyphen_values = true
    )]
    curve_allow: Vec<PublicKey>,

    /// CURVE: talk to the owner of this public key alone, as --curve-secret or as a stranger
    #[arg(
        long,
        value_name = "KEY",
        conflicts_with = "username",
        allow_hyphen_values = true
    )]
    curve_server_key: Option<PublicKey>,

    /// REP, ROUTER, DEALER, PAIR: answer with what was received; standard input is not read
    #[arg(long)]
    echo: bool,

    /// Show connections coming and going on standard error
    #[arg(long)]
    monitor: bool,

    /// Print every bound endpoint, one a line, before anything else
    #[arg(long)]
    print_endpoint: bool,

    /// Wait this long before the first message is sent, so that subscribers can arrive
    #[arg(long, value_name = "SECONDS", value_parser = argument::seconds, allow_negative_numbers = true)]
    delay: Option<Duration>,

    /// Largest message accepted from a peer: 1500, 64K, 16M, 2G
    #[arg(long, value_name = "SIZE", value_parser = argument::size, default_value = "1G")]
    max_size: usize,

    /// Send heartbeats this often, and end connections that do not answer them
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    heartbeat: Option<Duration>,

    /// Queue messages for completed connections only
    #[arg(long)]
    immediate: bool,

    /// Keep only the last message (PUSH, PULL, PUB, SUB, DEALER; messages of one part)
    #[arg(long)]
    conflate: bool,

    /// ROUTER: report messages for unknown peers instead of dropping them
    #[arg(long)]
    mandatory: bool,

    /// Let * and host names mean IPv6 too
    #[arg(long)]
    ipv6: bool,

    #[command(flatten)]
    tls: tls::TlsArgs,
}

type Bytes = Vec<u8>;

const HELP: &str = r#"Messages:
  One JSON array of parts a line, in and out. A part is a string, or
  {"hex": "00ff"} when it is not UTF-8. Blank lines are skipped. A line that is
  not a message stops the program with exit code 2, after what came before it
  was delivered. A line may be up to 80 MiB long.
  ROUTER: the first part is the peer's routing id, in and out.
  XPUB receives and XSUB sends subscriptions: a byte 01 (subscribe) or 00
  (cancel), then the topic.
  PUB: what is sent before a subscriber has arrived is not for it; --delay waits.

When it ends:
  PUSH, PUB   at the end of input
  PULL, SUB   after --recv N messages, else at Ctrl-C; standard input is not read
  REQ         each line is a request, sent when the reply to the one before has
              come; ends after the reply to the last line, or after --recv N
              replies
  REP         prints a request, then sends the next line as its reply; ends when
              a request comes that no line is left for, or after --recv N
              requests
  others      send lines as they come and print messages as they come; end after
              --recv N messages if that is given, else at the end of input
  --echo      after --recv N messages, else at Ctrl-C
  The end waits for messages not yet delivered, at most --linger seconds. A
  reader of standard output that goes away ends the program too, with code 0.
  --timeout does not count time spent waiting for input, except where messages
  are received meanwhile (DEALER, ROUTER, PAIR, XPUB, XSUB). It also bounds the
  linger that --linger does not set.

Exit codes:
  0         done
  1         failed: an endpoint cannot be bound, the peer with the request is
            lost, ...
  2         usage: the arguments or an input line cannot be used
  3         timed out: nothing moved for --timeout seconds, or messages were left
            when the linger was over
  130, 143  ended by Ctrl-C (SIGINT) or SIGTERM; a second one ends at once

Examples:
  flexbond socket REP --bind tcp://127.0.0.1:5555 --echo
  echo '["hello"]' | flexbond socket REQ --connect tcp://127.0.0.1:5555
  flexbond socket SUB --connect tcp://127.0.0.1:5556 --subscribe weather.
  flexbond keygen server
  flexbond socket PULL --bind tcp://*:5557 --curve-secret server.key_secret --curve-server
  flexbond socket PUSH --connect tcp://host:5557 --curve-server-key KEY"#;

/// After Ctrl-C, what is queued gets this long at most.
const HURRIED_LINGER: Duration = Duration::from_secs(1);
/// Linger where neither --linger nor --timeout says otherwise.
const DEFAULT_LINGER: Duration = Duration::from_secs(30);

impl SocketCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        self.check()?;
        // Parsing and printing large messages does not delay connections.
        crate::cli::beside_connections(self.talk())
    }

    async fn talk(&self) -> Result<Exit, Failure> {
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let socket = Socket::with_options(self.pattern, self.options()?)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let watcher = self.monitor.then(|| tokio::spawn(watch(socket.monitor())));
        let mut output = Output::stdout().map_err(|error| unwritten(&error))?;
        self.attach(&socket, &mut output).await?;

        let input = if self.reads_input() {
            Some(
                Input::stdin()
                    .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?,
            )
        } else {
            None
        };
        let conversation = Conversation::new(&socket, self.recv, self.echo, self.timeout);
        let end = tokio::select! {
            end = conversation.run(input, &mut output, self.delay) => end,
            number = interrupt.wait() => Ok(End::Signal(number)),
        };
        // What was received belongs to the reader, unless that one does not read.
        let patience = match end {
            Ok(End::Done { .. }) | Err(_) => self.timeout,
            Ok(End::TimedOut | End::Signal(_)) => Some(HURRIED_LINGER),
        };
        let shown = output.conclude(patience).await;

        let limit = match end {
            Ok(End::Signal(_)) => Some(
                self.linger()
                    .map_or(HURRIED_LINGER, |linger| linger.min(HURRIED_LINGER)),
            ),
            Ok(End::TimedOut) => Some(Duration::ZERO),
            Ok(End::Done { .. }) | Err(_) => self.linger(),
        };
        let undelivered = close(&socket, limit, &mut interrupt).await;
        if let Some(watcher) = watcher {
            // The last event is on its way; a socket that does not tell must not hold the program up.
            let _ = tokio::time::timeout(Duration::from_millis(200), watcher).await;
        }
        let exit = self.conclude(end, &socket, undelivered)?;
        shown.map(|()| exit)
    }

    /// Binds, says so, and connects.
    async fn attach(&self, socket: &Socket, output: &mut Output) -> Result<(), Failure> {
        if self.pattern == SocketType::Sub {
            let all = [Vec::new()];
            let topics = if self.subscribe.is_empty() {
                &all[..]
            } else {
                &self.subscribe
            };
            for topic in topics {
                socket
                    .subscribe(topic)
                    .map_err(|error| Failure::usage(error.to_string()))?;
            }
        }
        for endpoint in &self.bind {
            let bound = socket
                .bind(endpoint)
                .await
                .map_err(|error| bind_failure(&error))?;
            if self.print_endpoint {
                output.text(&bound.to_string());
            }
        }
        output.flush().await.map_err(|error| unwritten(&error))?;
        for endpoint in &self.connect {
            socket.connect(endpoint).map_err(|error| match &error {
                ConnectError::ClearText { .. } => {
                    Failure::usage(explain(&error)).hint("on the command line: --plain-anywhere")
                }
                _ => Failure::usage(explain(&error)),
            })?;
        }
        if self.pattern == SocketType::XSub {
            for topic in &self.subscribe {
                let mut subscription = vec![1];
                subscription.extend_from_slice(topic);
                socket
                    .send(subscription)
                    .await
                    .map_err(|error| Failure::new(explain(&error)))?;
            }
        }
        Ok(())
    }

    /// Says what is worth saying, and with which code to leave.
    fn conclude(
        &self,
        end: Result<End, Failure>,
        socket: &Socket,
        undelivered: u64,
    ) -> Result<Exit, Failure> {
        let stats = socket.stats();
        let total = |messages, bytes: u64| {
            format!(
                "{} ({})",
                quantity::messages(messages),
                quantity::bytes(bytes as f64)
            )
        };
        let summary = format!(
            "{} sent, {} received",
            total(stats.messages_sent, stats.bytes_sent),
            total(stats.messages_received, stats.bytes_received)
        );
        let left = (undelivered > 0).then(|| format!("{} not delivered", quantity::messages(undelivered)));
        let end = match (end, &left) {
            (Err(failure), Some(left)) => {
                note(left);
                return Err(failure);
            }
            (end, _) => end?,
        };
        match end {
            End::Signal(number) => {
                note(&format!("interrupted: {}", join(&summary, left)));
                Ok(Exit::Signal(number))
            }
            End::TimedOut => {
                let after = self.timeout.unwrap_or_default().as_secs_f64();
                Err(Failure::timed_out(format!(
                    "nothing moved for {after} s: {}",
                    join(&summary, left)
                )))
            }
            End::Done { failed } => {
                match left {
                    Some(left) if self.linger() == Some(Duration::ZERO) => {
                        note(&format!("{left}, as --linger 0 asks"));
                        Ok(if failed { Exit::Failed } else { Exit::Done })
                    }
                    Some(left) => Err(Failure::timed_out(left)
                        .hint("a longer --linger waits longer for a peer to take them")),
                    None if failed => Ok(Exit::Failed),
                    None => Ok(Exit::Done),
                }
            }
        }
    }
}

fn join(summary: &str, left: Option<String>) -> String {
    left.map_or_else(|| summary.to_owned(), |left| format!("{summary}, {left}"))
}

/// Closes and returns how many messages were not delivered within the limit, or until a second signal.
async fn close(socket: &Socket, limit: Option<Duration>, interrupt: &mut Interrupt) -> u64 {
    let interrupted = interrupt.is_set();
    tokio::select! {
        closed = socket.close_within(limit) => return closed.undelivered,
        // A second signal ends the process by itself; this is the first.
        _ = interrupt.wait(), if !interrupted => {}
    }
    socket.peers().iter().map(|peer| peer.queued).sum()
}

/// Prints events until the socket is closed.
async fn watch(mut monitor: Monitor) {
    while let Some(event) = monitor.recv().await {
        note(&event.to_string());
    }
}

fn bind_failure(error: &BindError) -> Failure {
    let text = explain(error);
    match error {
        BindError::Endpoint(_) => Failure::usage(text),
        BindError::ClearText { .. } => Failure::usage(text).hint("on the command line: --plain-anywhere"),
        BindError::Transport(TransportBindError::InUse { .. }) => Failure::new(text).hint(
            "stop the program that listens there, or choose another endpoint; tcp port 0 picks a free one",
        ),
        BindError::Transport(
            TransportBindError::UnknownScheme { .. } | TransportBindError::Unusable { .. },
        ) => Failure::usage(text),
        _ => Failure::new(text),
    }
}

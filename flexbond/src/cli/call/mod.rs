//! `flexbond call`: a function on another machine, from the shell.

mod answer;
mod listing;
mod request;
mod trouble;

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_core::Stream;

use super::argument;
use super::failure::{Exit, Failure, explain, note};
use super::interrupt::Interrupt;
use super::output::{Output, Stop, unwritten};
use crate::rpc::client::Options;
use crate::rpc::envelope::Codec;
use crate::rpc::{CallError, Client, FailureKind, Item, Items, MethodInfo, Request, Response};
use crate::transport::Endpoint;

/// Call a function on another machine and print what it answers, as JSON.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct CallCommand {
    /// The server: tcp://host:port, ipc:///path or ipc://@name
    #[arg(value_name = "ENDPOINT")]
    endpoint: Endpoint,

    /// What to call; --list shows what there is
    #[arg(
        value_name = "METHOD",
        required_unless_present = "list",
        conflicts_with = "list"
    )]
    method: Option<String>,

    /// Its arguments: {"name": value} or [value], in order; @FILE reads a file, - standard input. Default: none
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    arguments: Option<String>,

    /// Show the server's methods with what they take, answer and do
    #[arg(long)]
    list: bool,

    /// With --list: a JSON object a line, for programs
    #[arg(long, requires = "list")]
    json: bool,

    /// Print an answer of many items as they come, a line of JSON each
    #[arg(long, conflicts_with = "list")]
    stream: bool,

    /// Give up (exit code 3) when there is no answer after so long, with --stream no next item, and stop the work on the
    /// server. Default: 30
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    /// Give up (exit code 3) when there is no connection after so long
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = argument::positive_seconds,
        allow_negative_numbers = true,
        default_value = "5"
    )]
    connect_timeout: Duration,

    /// Send this along: a token, a tenant, a trace (repeatable)
    #[arg(short = 'H', long = "metadata", value_name = "NAME=VALUE", value_parser = request::entry)]
    metadata: Vec<(String, String)>,

    /// How arguments and answer travel; both are JSON here
    #[arg(long, value_enum, default_value_t = Travelling::Json)]
    codec: Travelling,

    /// Send this file as raw bytes; the arguments name the first one {"$buffer": 0} (repeatable)
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    buffer: Vec<PathBuf>,

    /// Write the raw bytes of the answer's array or buffer to this file; of several, to FILE.0, FILE.1, ...
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["list", "stream"])]
    output: Option<PathBuf>,
}

/// Codecs that say themselves what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Travelling {
    Json,
    Msgpack,
}

impl Travelling {
    fn codec(self) -> Codec {
        match self {
            Travelling::Json => Codec::Json,
            Travelling::Msgpack => Codec::MessagePack,
        }
    }
}

const HELP: &str = r#"Arguments:
  {"a": 1, "b": 2} are arguments by name, [1, 2] in order. An array of numbers may
  be a list, or a structure with its bytes in a file, as numpy's tofile writes it:
  {"dtype": "<f8", "shape": [480, 640], "data": {"$buffer": 0}} --buffer FILE.

Answers:
  One line of JSON; with --stream one for each item. Arrays of up to 1000 numbers
  are shown as lists, larger ones as the structure above, with the number of their
  bytes; --output FILE has the bytes themselves.

When it ends:
  Ctrl-C, --timeout and a reader of standard output who goes away cancel the call
  on the server, too.

Exit codes:
  0         done
  1         the call failed: standard error says why, with the server's code
  2         usage: the arguments cannot be used
  3         no answer: no connection, connection lost, or timed out
  130, 143  ended by Ctrl-C (SIGINT) or SIGTERM; a second one ends at once

Examples:
  cargo run -p flexbond-rpc --example calculator -- --bind tcp://127.0.0.1:5555
  flexbond call tcp://127.0.0.1:5555 --list
  flexbond call tcp://127.0.0.1:5555 add '{"a": 1, "b": 2}'
  flexbond call tcp://127.0.0.1:5555 count '{"n": 3}' --stream
  echo '{"a": [1, 2], "b": 3}' | flexbond call tcp://127.0.0.1:5555 minus -
  flexbond call tcp://127.0.0.1:5555 sleep '{"ms": 5000}' --timeout 1"#;

/// How long a reader who has stopped reading has at the end.
const LAST_LINES: Duration = Duration::from_secs(5);
/// How long a server has to take note that a call is cancelled.
const FAREWELL: Duration = Duration::from_millis(500);

impl CallCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        // Before anything is connected: a mistake is told at once.
        let request = match &self.method {
            Some(method) => self.request(method)?,
            None => self.listing()?,
        };
        super::beside_connections(self.talk(request))
    }

    async fn talk(&self, request: Request) -> Result<Exit, Failure> {
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let mut options = Options::new().codec(self.codec.codec()).linger(FAREWELL);
        if self.stream && self.timeout.is_some() {
            options.timeout = self.timeout;
        }
        let client =
            Client::with_options(&self.endpoint, options).map_err(|error| Failure::usage(explain(&error)))?;
        let mut output = Output::stdout().map_err(|error| unwritten(&error))?;
        let ended = tokio::select! {
            ended = self.speak(&client, request, &mut output) => ended,
            number = interrupt.wait() => {
                // Dropped by now, which cancels what was under way.
                farewell(&client).await;
                note("interrupted: the call was cancelled");
                return Ok(Exit::Signal(number));
            }
        };
        let Err(ended) = ended else {
            return output.conclude(Some(LAST_LINES)).await.map(|()| Exit::Done);
        };
        let (failure, is_flowing) = match ended {
            Ended::Stop(Stop::ReaderGone) => (None, true),
            Ended::Stop(Stop::Failure(failure)) => (Some(failure), true),
            Ended::Stream(error) => (Some(trouble::failure_of_stream(&error)), true),
            Ended::Call(error) => (Some(self.explained(&client, &error).await), false),
        };
        // The call's own failure is what matters.
        let _ = output.conclude(Some(LAST_LINES)).await;
        match is_flowing {
            true => farewell(&client).await,
            // A server that says nothing would be asked in vain.
            false => client.close().await,
        }
        failure.map_or(Ok(Exit::Done), Err)
    }

    async fn speak(&self, client: &Client, request: Request, output: &mut Output) -> Result<(), Ended> {
        let limit = self
            .timeout
            .map_or(self.connect_timeout, |limit| limit.min(self.connect_timeout));
        client.connected(limit).await.map_err(Ended::Call)?;
        let answered = client.request(request).await;
        if self.list {
            let methods: Vec<MethodInfo> = answered.and_then(Response::value).map_err(Ended::Call)?;
            output.text(listing::text(&methods, self.json).trim_end());
            return Ok(output.flush().await?);
        }
        self.print(answered.map_err(Ended::Call)?, output).await
    }

    /// Why there is no answer, and what to do about it.
    async fn explained(&self, client: &Client, error: &CallError) -> Failure {
        let failure = trouble::failure(error);
        match self.hint(client, error).await {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// What to do about it, where that takes a look at the server.
    async fn hint(&self, client: &Client, error: &CallError) -> Option<String> {
        let method = self.method.as_deref()?;
        if error.failure()?.kind() != FailureKind::BadArguments {
            return None;
        }
        let asked = tokio::time::timeout(FAREWELL, client.request(self.listing().ok()?)).await;
        let methods: Vec<MethodInfo> = asked.ok()?.ok()?.value().ok()?;
        let info = methods.iter().find(|info| info.name == method)?;
        Some(match info.streams && !self.stream {
            true => "add --stream: it answers with a stream".to_owned(),
            false => format!("it is {method}{}", info.signature),
        })
    }

    /// Prints an answer, or the items of one as they come.
    async fn print(&self, response: Response, output: &mut Output) -> Result<(), Ended> {
        let Some(mut items) = response.items else {
            let shown = answer::Shown::new(response.codec, &response.body, &response.buffers)?;
            if let Some(file) = &self.output {
                answer::write(file, &response.buffers)?;
            } else if shown.hides > 0 {
                note(&format!(
                    "{} bytes are not shown: --output FILE writes them to a file",
                    shown.hides
                ));
            }
            output.text(&shown.line);
            return Ok(output.flush().await?);
        };
        while let Some(item) = next(&mut items).await {
            let Item {
                codec, body, buffers, ..
            } = item.map_err(Ended::Stream)?;
            output.text(&answer::Shown::new(codec, &body, &buffers)?.line);
            // While nobody reads here, the server does not send.
            output.flush().await?;
        }
        Ok(())
    }
}

/// Why there is no answer, or not all of it was printed.
enum Ended {
    /// Nothing came of it.
    Call(CallError),
    /// It failed after it had begun.
    Stream(CallError),
    Stop(Stop),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Ended::Stop(failure.into())
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::Stop(error.into())
    }
}

/// Waits until the server has heard that calls were cancelled, but not long.
async fn farewell(client: &Client) {
    if client.is_connected() {
        // What is answered after them was handled after them.
        let asked = client.method("flexbond.health").timeout(FAREWELL);
        let _ = asked.value::<_, String>(&()).await;
    }
}

/// The next item of an answer. Cancel safe.
async fn next(items: &mut Items) -> Option<Result<Item, CallError>> {
    poll_fn(|cx| Pin::new(&mut *items).poll_next(cx)).await
}

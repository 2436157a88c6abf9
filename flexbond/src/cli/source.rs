//! The source of a stream, as arguments of the programs that receive one and do not send it on.

use std::time::Duration;

use clap::Args;

use super::mode::Receiving;
use super::stats::join_failure;
use super::{Failure, argument};
use crate::stream::{Attach, ConnectOptions, Stream};
use crate::transport::Endpoint;

/// Where messages come from, and how many.
#[derive(Args)]
pub(crate) struct Source {
    /// Source address, format `tcp://HOST:PORT` or, with -m sub, `udp://HOST:PORT`; `tcp://*:PORT` waits for the source
    /// to connect
    #[arg(value_name = "SOURCE")]
    pub(crate) source: Endpoint,

    /// Communication mode
    #[arg(short, long, value_enum, ignore_case = true, default_value_t = Receiving::Pull)]
    mode: Receiving,

    /// End after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// End when no message came for this long (exit code 3)
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// Messages that may wait to be taken from the connection
    #[arg(long, value_name = "N", default_value_t = 100)]
    queue_size: usize,
}

impl Source {
    /// Joins the stream; `options` are what other arguments say.
    pub(crate) async fn join(&self, options: ConnectOptions) -> Result<Stream, Failure> {
        let options = options
            .mode(self.mode)
            .attach(if is_wildcard(&self.source) {
                Attach::Bind
            } else {
                Attach::Connect
            })
            .queue_size(self.queue_size);
        let joined = Stream::connect(&self.source, options).await;
        joined.map_err(|error| join_failure(&error))
    }

    /// Whether the source keeps what is not taken yet, as PUSH does.
    pub(crate) fn waits(&self) -> bool {
        self.mode == Receiving::Pull
    }

    /// That no message came for as long as was allowed; `trouble` says why nobody is there to send any.
    pub(crate) fn timed_out(&self, trouble: Option<String>) -> Failure {
        let seconds = self.timeout.unwrap_or_default().as_secs_f64();
        let failure = Failure::timed_out(format!("no message from {} for {seconds} s", self.source));
        match trouble {
            Some(trouble) => failure.hint(trouble),
            None => failure,
        }
    }
}

/// Whether an address means every interface, which can only be listened at.
fn is_wildcard(address: &Endpoint) -> bool {
    address.to_string().contains("://*")
}

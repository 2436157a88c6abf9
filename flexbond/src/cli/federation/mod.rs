//! `flexbond federation`: a federated job from the shell.

mod forget;
mod place;
mod recv;
mod send;
mod status;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::argument;
use super::failure::{Exit, Failure, explain};
use super::keygen::check_private_at;
use crate::collectives::federation::{ChannelName, Config, PartyId, Tag};

/// Take part in a federated job, or look into it, as one of its parties.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct FederationCommand {
    /// The party's configuration (.json or .toml), the same that its program has
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Status(Status),
    Send(Send),
    Recv(Recv),
    Forget(Forget),
}

/// Show who is there, and what waits for whom where that is known.
#[derive(Args)]
struct Status {
    /// One JSON object, for programs
    #[arg(long)]
    json: bool,

    /// Look for so long
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, default_value = "2",
          allow_negative_numbers = true)]
    timeout: Duration,
}

/// Send the JSON value on standard input.
#[derive(Args)]
struct Send {
    /// The party that it is for
    #[arg(long, value_name = "PARTY")]
    to: PartyId,

    /// The channel's name, as the receiver has it
    #[arg(long, value_name = "NAME")]
    channel: ChannelName,

    /// Send it by this tag, for a receiver that asks for it
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,

    /// Give up (exit code 3) when nobody has taken it over after so long
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, default_value = "30",
          allow_negative_numbers = true)]
    timeout: Duration,
}

/// Receive the next message and print it, as a line of JSON.
#[derive(Args)]
struct Recv {
    /// The party that it is from
    #[arg(long, value_name = "PARTY")]
    from: PartyId,

    /// The channel's name, as the sender has it
    #[arg(long, value_name = "NAME")]
    channel: ChannelName,

    /// Receive the next one with this tag, instead of the next without one
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,

    /// Give up (exit code 3) when none has come after so long; what comes later waits for the next receive
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, default_value = "30",
          allow_negative_numbers = true)]
    timeout: Duration,
}

/// Remove what a NATS server keeps of the job, when all parties have ended.
///
/// Other message servers forget a job by themselves, some time after the last party has gone.
#[derive(Args)]
struct Forget {
    /// Also when messages wait that nobody has received: they are lost
    #[arg(long)]
    unreceived: bool,

    /// Look for so long whether somebody is there
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, default_value = "2",
          allow_negative_numbers = true)]
    timeout: Duration,
}

const HELP: &str = r#"Configuration:
  One file for each party, .json or .toml. All name the same job and the same
  parties; the roles (guest, host, arbiter) are the job's own affair.
    {
      "server": "tcp://relay.example:9370",
      "session": {"local_id": "bank-a", "job_id": "churn-7"},
      "federation": {"guest": ["bank-a"], "host": ["bank-b"], "arbiter": ["auditor"]}
    }
  A `server` that has keys wants, as `flexbond keygen` makes them,
      "curve": {"secret_file": "bank-a.key_secret", "server_key": "rq:rM>}U…"}
  and one at tls://
      "tls": {"authorities": "ca.pem", "certificate": "a.pem", "private_key": "a.key"}
  A `server` may be NATS with JetStream: "nats://host:4222". Without a `server`,
  parties that can connect to each other have instead
      "addresses": {"bank-a": "tcp://10.0.0.1:9400", "bank-b": "tcp://10.0.0.2:9400"}
  Files are looked for in the folder of the configuration.

Who it is:
  The party that the configuration names as `session.local_id`. A party is one
  process: while its program runs, `send` and `recv` say so and do nothing.
  Afterwards the other parties see that it has left, until its program starts.

Values:
  JSON, on standard input and output. What no JSON can hold is an object:
  {"$bytes": "00ff"} is a message of bytes, in hexadecimal; {"$postcard": "…"} a
  value that a Rust program has sent with its default codec; and
  {"$value": …, "$buffers": ["…"]} a value with buffers. All are sent as well.
  A program in Rust reads JSON whatever it sends; to send it, it says
  `.with_codec(Codec::Json)`.

When a message is sent:
  By a server, when it has it in custody; directly, when the other party's process
  has it. `recv` takes a message from the channel: nobody else gets it again.

When `recv` waits:
  For its --timeout, also when the other party has left: by a server, who has left
  may come back. Directly, nothing can come then, and it ends at once.

What `status` sees:
  By NATS, all from the streams. By another server, it takes the party's place for
  a moment, if its program is not running. Directly, who listens at its address.
  Where the server cannot be reached or refuses the party, it says why.

Exit codes:
  0         done
  1         failed: the party is running, was refused (also for `status`), the job
            was aborted, the other party has left (directly), ...
  2         usage: the arguments, the configuration or the value cannot be used
  3         in time, nobody took it over (which may happen later, once it has left
            here: the error says so), no message came, or for `status` no server
            answered
  130, 143  ended by Ctrl-C (SIGINT) or SIGTERM; a second one ends at once

Examples:
  flexbond federation --config bank-a.json status
  echo '{"round": 3}' | flexbond federation --config bank-a.json send --to bank-b --channel orders
  flexbond federation --config bank-b.json recv --from bank-a --channel orders --timeout 5"#;

impl FederationCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let config = Config::from_file(&self.config).map_err(|error| Failure::usage(explain(&error)))?;
        if let Some(keys) = config.curve_keys() {
            check_private_at(&keys.secret_file)?;
        }
        match &self.command {
            Command::Status(status) => super::with_connections(status.run(config)),
            Command::Send(send) => {
                // Before anything is connected: a mistake is told at once.
                let (encoding, parts) = value::read_input()?;
                super::with_connections(send.run(config, encoding, parts))
            }
            Command::Recv(recv) => super::with_connections(recv.run(config)),
            Command::Forget(forget) => super::with_connections(forget.run(config)),
        }
    }
}

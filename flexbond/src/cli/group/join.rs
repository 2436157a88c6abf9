//! `flexbond group join`: takes part in a session and shows who else is in it.

use std::time::Duration;

use clap::Args;

use super::passing::{End, Passing};
use super::rounds;
use super::show::Show;
use super::{
    Access, Exit, Failure, GROUP, Interrupt, Joining, argument, is_end, join_failure, join_group_failure,
    listen_for_signals, over_failure,
};
use crate::group::{Member, Options};

/// Join a session, show who else comes and goes, and pass barriers.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(super) struct Join {
    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    joining: Joining,

    /// Pass up to this many barriers with the others, and print how long they took
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=rounds::MOST))]
    barriers: Option<u64>,

    /// Look this long again and again before sleeping, at most 0.01: barriers get quicker, a processor is busy
    #[arg(long, value_name = "SECONDS", value_parser = argument::seconds, default_value = "0",
          allow_negative_numbers = true)]
    spin: Duration,
}

const HELP: &str = "Output, a line each: which member this is, who else joined or is gone, and with
--barriers a summary at the end. Who comes while barriers are being passed takes
part from the next one on. Ends after --barriers, when the coordinator ends the
session, or at Ctrl-C.

Exit codes:
  0         done, or the coordinator has ended the session (Ctrl-C too, without
            --barriers)
  1         failed: nobody answers, not admitted, sent away, the coordinator is
            dead
  2         usage
  128 + n   ended by signal n before all barriers were passed; 130 is Ctrl-C

Examples:
  See who is in a session on this machine:
    flexbond group join udp://127.0.0.1:12345 --name ada
  Pass a thousand barriers; the coordinator was started with --barriers 1000:
    flexbond group join udp://192.168.0.5:12345 --barriers 1000 --spin 0.001";

impl Join {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let options = self.access.options()?;
        crate::cli::with_connections(self.join(options))
    }

    async fn join(&self, options: Options) -> Result<Exit, Failure> {
        let mut interrupt = listen_for_signals()?;
        let options = self.joining.apply(options).spin(self.spin);
        let member = tokio::select! {
            number = interrupt.wait() => return Ok(Exit::Signal(number)),
            joined = Member::join(self.access.endpoint.clone(), options) => {
                joined.map_err(|error| join_failure(&error))?
            }
        };
        let mut show = Show::new()?;
        let id = member.id().map_err(|over| over_failure(&over))?;
        show.line(&format!("in the session at {} as {id}", member.endpoint()));
        let ended = match self.barriers {
            Some(count) => self.measure(&member, count, &mut show, &mut interrupt).await,
            None => watch(&member, &mut show, &mut interrupt).await,
        };
        // A second signal ends the process while this waits.
        member.leave().await;
        show.finish().await;
        ended
    }

    /// Passes barriers and prints how long they took.
    async fn measure(
        &self,
        member: &Member,
        count: u64,
        show: &mut Show,
        interrupt: &mut Interrupt,
    ) -> Result<Exit, Failure> {
        let mut barrier = tokio::select! {
            number = interrupt.wait() => return Ok(Exit::Signal(number)),
            joined = member.join_barrier(GROUP) => joined.map_err(|error| {
                join_group_failure(&error, "the coordinator has to be started with --barriers")
            })?,
        };
        let passing = Passing::new(member, show, interrupt);
        match passing.run(&mut barrier, count).await? {
            // The coordinator's end is the end of the group.
            End::All | End::Session | End::Alone(_) => Ok(Exit::Done),
            End::Signal(number) => Ok(Exit::Signal(number)),
        }
    }
}

/// Shows who comes and goes, until the session ends.
async fn watch(member: &Member, show: &mut Show, interrupt: &mut Interrupt) -> Result<Exit, Failure> {
    loop {
        tokio::select! {
            _ = interrupt.wait() => return Ok(Exit::Done),
            event = member.event() => match event {
                Err(over) if is_end(&over) => {
                    show.line("the coordinator has ended the session");
                    return Ok(Exit::Done);
                }
                event => show.event(event)?,
            },
            // Messages are for programs that know what they mean; here they only must not pile up.
            received = member.recv() => drop(received),
        }
    }
}

//! `flexbond group coordinate`: holds a session and shows who is in it.

use std::time::{Duration, Instant};

use clap::Args;

use super::passing::{End, Passing};
use super::rounds;
use super::show::Show;
use super::{
    Access, Exit, Failure, GROUP, Holding, Interrupt, accept_failure, argument, explain, listen_for_signals,
    start_failure,
};
use crate::group::{Coordinator, Options};

/// Hold a session, show who comes and goes, and measure barriers.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(super) struct Coordinate {
    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    holding: Holding,

    /// With --barriers: how many members have to be in before the first. Without: when to say that all are in
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    members: Option<u32>,

    /// Pass this many barriers with the members, and print how long they took
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=rounds::MOST))]
    barriers: Option<u64>,

    /// Look this long again and again before sleeping, at most 0.01: barriers get quicker, a processor is busy
    #[arg(long, value_name = "SECONDS", value_parser = argument::seconds, default_value = "0",
          allow_negative_numbers = true)]
    spin: Duration,

    /// Members at most
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_members: usize,
}

const HELP: &str = "Output, a line each: where the session is, who joined (name and address), who
is gone and why (left, dead, evicted), and a summary at the end. Ends after
--barriers, or at Ctrl-C.

Exit codes:
  0         done (Ctrl-C too, without --barriers)
  1         failed: the endpoint cannot be bound, all members were lost, ...
  2         usage
  128 + n   ended by signal n before all barriers were passed; 130 is Ctrl-C

Examples:
  A session on this machine; the system chooses the port:
    flexbond group coordinate udp://127.0.0.1:0
  A session for the local network, over multicast:
    flexbond group coordinate udp://*:12345 --multicast 239.1.2.3:5000 --interface eth0
  A thousand barriers with three members, each started with `group join`:
    flexbond group coordinate udp://*:12345 --members 3 --barriers 1000";

impl Coordinate {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let options = self.access.options()?;
        crate::cli::with_connections(self.coordinate(options))
    }

    async fn coordinate(&self, options: Options) -> Result<Exit, Failure> {
        let mut interrupt = listen_for_signals()?;
        let options = self.holding.apply(options);
        let options = options.spin(self.spin).max_members(self.max_members);
        let coordinator = Coordinator::bind(self.access.endpoint.clone(), options)
            .await
            .map_err(|error| start_failure(&error))?;
        let mut show = Show::new()?;
        show.line(&format!("session at {}", coordinator.endpoint()));
        let begin = Instant::now();
        let ended = match self.barriers {
            Some(count) => self.measure(&coordinator, count, &mut show, &mut interrupt).await,
            None => self.watch(&coordinator, &mut show, &mut interrupt).await,
        };
        // A second signal ends the process while this waits.
        coordinator.close().await;
        let seconds = begin.elapsed().as_secs_f64();
        show.line(&format!(
            "session ended after {seconds:.1} s: {}",
            show.roll.summary()
        ));
        show.finish().await;
        ended
    }

    /// Shows who comes and goes, until a signal.
    async fn watch(
        &self,
        coordinator: &Coordinator,
        show: &mut Show,
        interrupt: &mut Interrupt,
    ) -> Result<Exit, Failure> {
        let mut expected = self.members.map(|count| count as usize);
        loop {
            tokio::select! {
                _ = interrupt.wait() => return Ok(Exit::Done),
                event = coordinator.event() => {
                    show.event(event)?;
                    // The coordinator itself is none of the others.
                    if expected.is_some_and(|count| coordinator.members().len() >= count) {
                        show.line(&format!("all {} members are in", expected.take().unwrap_or_default()));
                    }
                }
            }
        }
    }

    /// Passes barriers and prints how long they took.
    async fn measure(
        &self,
        coordinator: &Coordinator,
        count: u64,
        show: &mut Show,
        interrupt: &mut Interrupt,
    ) -> Result<Exit, Failure> {
        let mut barrier = coordinator
            .create_barrier(GROUP)
            .map_err(|error| Failure::new(explain(&error)))?;
        let members = self.members.unwrap_or(1);
        let mut arrived = 0;
        while arrived < members {
            tokio::select! {
                number = interrupt.wait() => return Ok(Exit::Signal(number)),
                event = coordinator.event() => show.event(event)?,
                member = barrier.accept() => {
                    let member = member.map_err(|error| accept_failure(&error))?;
                    // Whoever has gone again does not count.
                    if coordinator.members().contains(&member) {
                        arrived += 1;
                    }
                }
            }
        }
        let here = coordinator.members().len();
        show.line(&format!(
            "passing {count} barriers, members in the session: {here}"
        ));
        let passing = Passing::new(coordinator, show, interrupt);
        match passing.run(&mut barrier, count).await? {
            End::All => Ok(Exit::Done),
            End::Signal(number) => Ok(Exit::Signal(number)),
            End::Session => Err(Failure::new("the session has ended")),
            End::Alone(passed) => Err(Failure::new(format!(
                "all members are gone after {passed} of {count} barriers"
            ))
            .hint("start more of them, or give them the same --barriers")),
        }
    }
}

//! Passing barriers at either end of a session, and showing meanwhile who comes and goes.

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::rounds::Rounds;
use super::show::Show;
use super::{Failure, Interrupt, explain, is_end, over_failure};
use crate::group::{Barrier, BarrierError, MemberId, Session};

/// How often is looked who came and went.
const TICK: Duration = Duration::from_millis(50);

/// An end of a session that passes barriers.
pub(super) struct Passing<'a> {
    session: &'a Session,
    rounds: Rounds,
    show: &'a mut Show,
    interrupt: &'a mut Interrupt,
}

/// Why no more barriers are passed.
pub(super) enum End {
    /// As many as were to be have ended.
    All,
    /// The coordinator has ended the session.
    Session,
    /// Nobody else is there after so many.
    Alone(u64),
    Signal(u8),
}

impl<'a> Passing<'a> {
    pub(super) fn new(session: &'a Session, show: &'a mut Show, interrupt: &'a mut Interrupt) -> Self {
        Passing {
            session,
            rounds: Rounds::default(),
            show,
            interrupt,
        }
    }

    /// Passes barriers until `count` of them have ended, and shows how long they took.
    pub(super) async fn run(mut self, barrier: &mut Barrier, count: u64) -> Result<End, Failure> {
        let ended = self.pass(barrier, count).await;
        self.show.line(&self.rounds.summary());
        ended
    }

    async fn pass(&mut self, barrier: &mut Barrier, count: u64) -> Result<End, Failure> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.rounds.count() < count {
            // Alone, there is nothing to measure.
            if self.session.members().is_empty() {
                return Ok(match self.goes_on().await? {
                    true => End::Alone(self.rounds.count()),
                    false => End::Session,
                });
            }
            let begin = Instant::now();
            let ended = loop {
                tokio::select! {
                    biased;
                    ended = barrier.wait() => break ended,
                    number = self.interrupt.wait() => return Ok(End::Signal(number)),
                    _ = ticks.tick() => if !self.goes_on().await? {
                        return Ok(End::Session);
                    },
                }
            };
            match ended {
                Ok(()) => self.rounds.passed(begin.elapsed()),
                Err(BarrierError::Failed { failed }) if failed.contains(&MemberId::COORDINATOR) => {
                    return Ok(End::Session);
                }
                Err(BarrierError::Failed { failed }) => {
                    self.rounds.failed();
                    if !self.goes_on().await? {
                        return Ok(End::Session);
                    }
                    let names = self.show.roll.names(&failed);
                    self.show
                        .line(&format!("lost at the barrier: {names}; going on without"));
                }
                Err(BarrierError::Over(over)) if is_end(&over) => return Ok(End::Session),
                Err(BarrierError::Over(over)) => return Err(over_failure(&over)),
                Err(error) => return Err(Failure::new(explain(&error))),
            }
        }
        Ok(End::All)
    }

    /// Shows what has happened by now; false if the coordinator has ended the session.
    async fn goes_on(&mut self) -> Result<bool, Failure> {
        match self.show.events(self.session).await {
            Ok(()) => Ok(true),
            Err(over) if is_end(&over) => Ok(false),
            Err(over) => Err(over_failure(&over)),
        }
    }
}

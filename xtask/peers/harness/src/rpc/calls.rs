//! Loops of calls.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::slow::Phases;
use crate::Result;
use crate::latency::Latencies;
use crate::meter::Meter;
use crate::program::fail;

/// One call. The bytes are the application's, which keeps them: a library may share them, or copies them.
#[derive(Clone, Debug)]
pub enum Call {
    /// Answered with the argument.
    Echo(Bytes),
    /// Answered with the size of the argument.
    Take(Bytes),
    /// Answered with so many bytes.
    Give(usize),
    /// Answered with nothing, after so long.
    Sleep(Duration),
}

/// A loop of calls: the next one is made when the one before is answered.
#[derive(Debug)]
pub struct Calls {
    pub(super) call: Call,
    pub(super) meter: Arc<Meter>,
    pub(super) index: usize,
    pub(super) until: Until,
}

/// What is noted of a loop, and when it ends.
#[derive(Debug)]
pub(super) enum Until {
    /// Calls are counted for ever.
    Stopped,
    /// Each call is timed, until there are enough.
    Timed(Latencies),
    /// Each call is timed, until the phases are over.
    Phases(Arc<Phases>),
    /// One call, and who waits for it is told.
    Once(mpsc::UnboundedSender<()>),
}

impl Calls {
    /// Makes the calls. `make` makes one, and returns how many bytes were answered, or taken.
    pub async fn run<F, Answer>(self, mut make: F)
    where
        F: FnMut(Call) -> Answer,
        Answer: Future<Output = Result<usize>>,
    {
        let wanted = match &self.call {
            Call::Echo(bytes) | Call::Take(bytes) => bytes.len(),
            Call::Give(size) => *size,
            Call::Sleep(_) => 0,
        };
        let check = |answered: Result<usize>| match answered {
            Ok(got) if got == wanted => {}
            Ok(got) => fail(&format!("{got} bytes came instead of {wanted}")),
            Err(error) => fail(&error.to_string()),
        };
        let counter = self.meter.counter(self.index);
        match self.until {
            Until::Stopped => loop {
                check(make(self.call.clone()).await);
                counter.add(1);
            },
            Until::Timed(mut latencies) => {
                loop {
                    let at = Instant::now();
                    check(make(self.call.clone()).await);
                    counter.add(1);
                    if !latencies.add(at) {
                        break;
                    }
                }
                latencies.print(&self.meter);
            }
            Until::Phases(phases) => {
                let mut times = phases.begin(self.index);
                while let Some(slow) = times.next() {
                    match slow {
                        Some(slow) => {
                            if let Err(error) = make(Call::Sleep(slow)).await {
                                fail(&error.to_string());
                            }
                        }
                        None => {
                            let (phase, at) = times.now();
                            check(make(self.call.clone()).await);
                            counter.add(1);
                            times.add(phase, at);
                        }
                    }
                }
            }
            Until::Once(done) => {
                check(make(self.call).await);
                // Nobody waits any more when the program ends.
                let _ = done.send(());
            }
        }
    }
}

//! A process with parties in it.

use std::future::pending;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Args, Contender, Loop, Traffic};
use crate::Result;
use crate::control::Go;
use crate::latency::Latencies;
use crate::meter::Meter;
use crate::program::{fail, print};
use crate::usage::Usage;

/// What the receiver of a large value says when it has it.
const SHORT: usize = 8;

/// Makes all parties, says that they are ready, and lets them talk until the program ends.
pub(super) async fn take_part<C: Contender>(
    args: Args,
    loops: Vec<Vec<Loop>>,
    meter: Arc<Meter>,
    mut go: Go,
) -> Result<()> {
    let mut parties = Vec::new();
    let mut lines = Vec::new();
    for (job, party) in (0..args.jobs).flat_map(|job| args.own().map(move |party| (job, party))) {
        parties.push(C::join(&args, job, party).await?);
    }
    for (party, loops) in parties.iter().zip(loops) {
        for of in loops {
            lines.push((of, C::line(party, &of).await?));
        }
    }
    print(&json!({ "ready": true }));
    go.wait().await;
    if args.traffic == Traffic::Store {
        return store::<C>(&args, parties, lines, &meter).await;
    }
    // With one loop each value is timed, and so is each large one; otherwise all are counted, by a thread.
    let is_timed = args.traffic == Traffic::Tensor || meter.loops() == 1;
    let is_idle = lines.is_empty();
    if !is_timed {
        measure(&args, &meter);
    }
    let value = Bytes::from(vec![0xA5; args.size]);
    for (index, (of, line)) in lines.into_iter().enumerate() {
        let latencies = is_timed.then(|| Latencies::start(args.warmup, args.window));
        let (value, meter, traffic) = (value.clone(), Arc::clone(&meter), args.traffic);
        tokio::spawn(async move {
            let talking = Talking {
                meter,
                index,
                latencies,
            };
            if let Err(error) = talking.run::<C>(traffic, of, line, value).await {
                fail(&error.to_string());
            }
        });
    }
    if is_idle {
        print(&meter.result(0, 0, Some(args.window), Usage::now()));
    }
    // Dropped, they would leave.
    let _parties = parties;
    pending().await
}

/// One loop, and what is noted of it.
struct Talking {
    meter: Arc<Meter>,
    index: usize,
    latencies: Option<Latencies>,
}

impl Talking {
    async fn run<C: Contender>(
        mut self,
        traffic: Traffic,
        of: Loop,
        mut line: C::Line,
        value: Bytes,
    ) -> Result<()> {
        loop {
            let at = Instant::now();
            match (traffic, of.party) {
                (Traffic::Swap, _) => check(&C::swap(&mut line, value.clone()).await?, &value)?,
                (Traffic::Flow | Traffic::Store, 0) => C::send(&mut line, value.clone()).await?,
                (Traffic::Flow | Traffic::Store, _) => {
                    check(&C::receive(&mut line, value.len()).await?, &value)?
                }
                (Traffic::Tensor, 0) => {
                    C::send(&mut line, value.clone()).await?;
                    check(&C::receive(&mut line, SHORT).await?, &value[..SHORT])?;
                }
                (Traffic::Tensor, _) => {
                    check(&C::receive(&mut line, value.len()).await?, &value)?;
                    C::send(&mut line, value.slice(..SHORT)).await?;
                }
                (Traffic::Ring, _) => {
                    C::send(&mut line, value.clone()).await?;
                    check(&C::receive(&mut line, value.len()).await?, &value)?;
                }
            }
            self.note(at);
        }
    }

    /// The other side needs this loop until the program ends, long after this one has seen enough.
    fn note(&mut self, at: Instant) {
        self.meter.counter(self.index).add(1);
        if let Some(mut latencies) = self.latencies.take() {
            match latencies.add(at) {
                true => self.latencies = Some(latencies),
                false => latencies.print(&self.meter),
            }
        }
    }
}

fn check(got: &[u8], wanted: &[u8]) -> Result<()> {
    match got.len() == wanted.len() && got.last() == wanted.last() {
        true => Ok(()),
        false => Err(format!("{} bytes came instead of {}", got.len(), wanted.len()).into()),
    }
}

/// Sends all messages and leaves: the server has them then.
async fn store<C: Contender>(
    args: &Args,
    parties: Vec<C::Party>,
    lines: Vec<(Loop, C::Line)>,
    meter: &Arc<Meter>,
) -> Result<()> {
    let value = Bytes::from(vec![0xA5; args.size]);
    let share = args.messages / lines.len().max(1);
    let (before, at) = (Usage::now(), Instant::now());
    let mut senders = JoinSet::new();
    for (_, mut line) in lines {
        let value = value.clone();
        senders.spawn(async move {
            for _ in 0..share {
                C::send(&mut line, value.clone()).await?;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(share)
        });
    }
    let mut sent = 0;
    while let Some(share) = senders.join_next().await {
        sent += share??;
    }
    for party in parties {
        C::leave(party).await?;
    }
    print(&meter.result(sent as u64, 0, Some(at.elapsed()), before));
    pending().await
}

/// Counts the values of a window, from a thread of its own, and prints the result.
fn measure(args: &Args, meter: &Arc<Meter>) {
    let (args, meter) = (args.clone(), Arc::clone(meter));
    thread::spawn(move || {
        thread::sleep(args.warmup);
        let (before, at, first) = (Usage::now(), Instant::now(), meter.totals().0);
        thread::sleep(args.window);
        let (span, last) = (at.elapsed(), meter.totals().0);
        if last == first {
            fail("stalled");
        }
        print(&meter.result(last - first, 0, Some(span), before));
    });
}

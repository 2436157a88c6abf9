//! Barriers, one after the other.

use std::time::{Duration, Instant};

use flexbond_session::group::Barrier;
use peer_harness::{Result, Usage, Words, print, summary};
use serde_json::json;

use crate::{GROUP, Side};

/// Barriers that follow the measured ones, so that no member leaves while another one is still measured.
const TAIL: usize = 20;

/// How many barriers, and how long the session rests after them.
pub(crate) struct Rounds {
    warmup: usize,
    measured: usize,
    idle: Duration,
}

impl Rounds {
    /// # Errors
    /// When a number cannot be read.
    pub(crate) fn read(words: &mut Words) -> Result<Self> {
        Ok(Rounds {
            warmup: words.get("warmup", 500)?,
            measured: words.get("rounds", 5000)?,
            idle: Duration::from_millis(words.get("idle_ms", 0)?),
        })
    }
}

/// Passes the barriers and prints how long they took here.
pub(crate) async fn run(side: &Side, rounds: &Rounds) -> Result<()> {
    match side {
        Side::Coordinator(session, members) => {
            let mut barrier = session.create_barrier(GROUP)?;
            for _ in 0..*members {
                barrier.accept().await?;
            }
            pass("coordinator", rounds, &mut barrier).await
        }
        Side::Member(session) => {
            let mut barrier = session.join_barrier(GROUP).await?;
            pass("member", rounds, &mut barrier).await
        }
    }
}

async fn pass(role: &str, rounds: &Rounds, barrier: &mut Barrier) -> Result<()> {
    for _ in 0..rounds.warmup {
        barrier.wait().await?;
    }
    let mut nanos = Vec::with_capacity(rounds.measured);
    let begun = Instant::now();
    let mut before = begun;
    for _ in 0..rounds.measured {
        barrier.wait().await?;
        let now = Instant::now();
        nanos.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
        before = now;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut result = summary(&mut nanos);
    result["case"] = json!("barrier");
    result["role"] = json!(role);
    result["rounds"] = json!(rounds.measured);
    result["seconds"] = json!(seconds);
    if !rounds.idle.is_zero() {
        let before = Usage::now().cpu;
        tokio::time::sleep(rounds.idle).await;
        result["idle_seconds"] = json!(rounds.idle.as_secs_f64());
        result["idle_cpu_seconds"] = json!((Usage::now().cpu - before).as_secs_f64());
    }
    print(&result);
    for _ in 0..TAIL {
        barrier.wait().await?;
    }
    Ok(())
}

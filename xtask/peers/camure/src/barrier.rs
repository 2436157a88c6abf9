//! Barriers, one after the other.

use std::time::Instant;

use peer_harness::{Result, Words, print, summary};
use serde_json::json;

use crate::{GROUP, Side};

/// Barriers that follow the measured ones, so that no member leaves while another one is still measured.
const TAIL: usize = 20;

/// How many barriers.
pub(crate) struct Rounds {
    warmup: usize,
    measured: usize,
}

impl Rounds {
    /// # Errors
    /// When a number cannot be read.
    pub(crate) fn read(words: &mut Words) -> Result<Self> {
        Ok(Rounds {
            warmup: words.get("warmup", 500)?,
            measured: words.get("rounds", 5000)?,
        })
    }
}

/// Passes the barriers and prints how long they took here.
pub(crate) fn run(side: &Side, rounds: &Rounds) -> Result<()> {
    match side {
        Side::Coordinator(session, members) => {
            let mut group = session.create_barrier_group(Some(GROUP))?;
            for _ in 0..*members {
                group.accept()?;
            }
            pass("coordinator", rounds, || Ok(group.wait()?))
        }
        Side::Member(session) => {
            let mut group = session.join_barrier_group(GROUP)?;
            pass("member", rounds, || Ok(group.wait()?))
        }
    }
}

fn pass(role: &str, rounds: &Rounds, mut wait: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..rounds.warmup {
        wait()?;
    }
    let mut nanos = Vec::with_capacity(rounds.measured);
    let begun = Instant::now();
    let mut before = begun;
    for _ in 0..rounds.measured {
        wait()?;
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
    print(&result);
    for _ in 0..TAIL {
        wait()?;
    }
    Ok(())
}

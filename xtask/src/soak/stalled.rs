//! Subscribers and pullers that stop reading: they hurt themselves and nobody else.

use std::time::Duration;

use anyhow::{Context, Result};

use super::raw::{Raw, command};
use super::stage::{Clock, PATIENCE, Stage};

/// Subscribers of bare bytes that never read.
const STALLED: usize = 30;
/// Messages that may wait for each of them.
const HWM: usize = 50;
/// Bytes of a message.
const SIZE: usize = 32 << 10;
/// Messages of a round: more than a connection of the loopback interface takes, and the queue behind it.
const ROUND: u64 = 500;
/// How long one who stalled looks for more, once it reads.
const QUIET: Duration = Duration::from_millis(300);
/// What a publisher may hold for them in MiB: all queues full of messages of their own would be 47.
const HELD: f64 = 64.0;

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    publishing(stage, &stage.part(0.6))?;
    pushing(stage, &stage.part(1.0))
}

fn publishing(stage: &mut Stage<'_>, clock: &Clock) -> Result<()> {
    let hwm = HWM.to_string();
    let (mut server, address) = stage.bound("PUB", &["--hwm", &hwm])?;
    let endpoint = format!("tcp://{address}");
    let reading = stage.flexbond(&["socket", "SUB", "--connect", &endpoint])?;
    let unread = stage.flexbond_unread(&["socket", "SUB", "--connect", &endpoint])?;
    let payload = "x".repeat(SIZE);
    // From the first message that comes, all do.
    let mut sent = 0_u64;
    let first = loop {
        server.tell(&format!("[\"{sent}\",\"{payload}\"]"))?;
        sent += 1;
        stage.clock.pass(Duration::from_millis(20))?;
        if let Some(line) = reading.output.take().first() {
            break number(line).context("no number in what was published")?;
        }
        if sent > 500 {
            anyhow::bail!("nothing comes to a subscriber {}", reading.troubles());
        }
    };
    let mut expected = first + 1;
    while expected < sent {
        let line = reading.line(PATIENCE)?;
        anyhow::ensure!(
            number(&line) == Some(expected),
            "{expected} is missing at the start"
        );
        expected += 1;
    }
    let before = server.usage()?;
    let mut rounds = 0;
    let mut fewest = ROUND;
    let mut peak = 0.0_f64;
    let mut lost = 0;
    loop {
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            let mut raw = Raw::peer(address, "SUB")?;
            raw.send(&command("SUBSCRIBE", b""))?;
            stalled.push(raw);
        }
        for _ in 0..ROUND {
            server.tell(&format!("[\"{sent}\",\"{payload}\"]"))?;
            sent += 1;
            // Who reads is told one at a time: its queue is as short as theirs.
            let line = reading.line(PATIENCE)?;
            if number(&line) != Some(expected) {
                lost += 1;
            }
            expected = number(&line).unwrap_or(expected) + 1;
        }
        peak = peak.max(server.usage()?.resident - before.resident);
        // It has stalled indeed: what it gets now is less than what was sent.
        let late = stalled.pop().map_or(0, |raw: Raw| raw.messages_left(QUIET));
        fewest = fewest.min(ROUND.saturating_sub(late));
        drop(stalled);
        rounds += 1;
        if !clock.goes_on() {
            break;
        }
    }
    stage.told("PUB/SUB: messages", sent as f64);
    stage.told("PUB/SUB: rounds of 30 that stall", f64::from(rounds));
    stage.at_least("PUB/SUB: lost by one who does not, of 500", fewest as f64, 1.0);
    stage.none("PUB/SUB: lost by who reads", lost);
    stage.at_most("PUB/SUB: held for who does not, MiB", peak, HELD);
    // The program whose output nobody reads goes with its queue.
    unread.kill();
    stage.clock.pass(Duration::from_millis(200))?;
    let mut before = before;
    before.descriptors -= 1;
    stage.settled("PUB", &server, before)
}

/// Who pushes goes on with those who take.
fn pushing(stage: &mut Stage<'_>, clock: &Clock) -> Result<()> {
    let hwm = HWM.to_string();
    let (mut server, address) = stage.bound("PUSH", &["--hwm", &hwm])?;
    let endpoint = format!("tcp://{address}");
    let mut unread = stage.flexbond_unread(&["socket", "PULL", "--connect", &endpoint, "--hwm", &hwm])?;
    let reading = stage.flexbond(&["socket", "PULL", "--connect", &endpoint, "--hwm", &hwm])?;
    let payload = "x".repeat(SIZE);
    let mut sent = 0_u64;
    let mut got = Vec::new();
    // Until the one that stalls has taken all that it ever will: from then on all go to the other.
    loop {
        for _ in 0..20 {
            server.tell(&format!("[\"{sent}\",\"{payload}\"]"))?;
            sent += 1;
        }
        got.extend(reading.output.take());
        if !clock.goes_on() && sent > 2000 {
            break;
        }
    }
    drop(server.take_input());
    // It has not died, and takes the rest at last.
    unread.read_at_last();
    server.ends_with(0, PATIENCE * 2)?;
    let mut seen = vec![0_u8; sent as usize];
    let mut missing = seen.len();
    stage
        .clock
        .until("all that was pushed to arrive", PATIENCE, || {
            got.extend(reading.output.take());
            let taken = unread.output.take();
            for line in got.drain(..).chain(taken) {
                if let Some(times) = number(&line).and_then(|number| seen.get_mut(number as usize)) {
                    missing -= usize::from(*times == 0);
                    *times = times.saturating_add(1);
                }
            }
            missing == 0
        })
        .or_else(|error| stage.clock.check().map_err(|_| error))?;
    stage.told("PUSH/PULL: messages", sent as f64);
    stage.none("PUSH/PULL: lost", missing);
    stage.none(
        "PUSH/PULL: twice",
        seen.iter().filter(|times| **times > 1).count(),
    );
    Ok(())
}

/// The number in what `flexbond socket` prints of these messages: `["12","xxxx"]`.
fn number(line: &str) -> Option<u64> {
    line.strip_prefix("[\"")?.split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_lines() {
        assert_eq!(number("[\"12\",\"xx\"]"), Some(12));
        assert_eq!(number("[]"), None);
    }
}

//! 500 peers that connect, talk and cut, again and again.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::program::Program;
use super::raw::{Raw, command, message};
use super::stage::{Clock, PATIENCE, Stage};

/// Peers that are connected at a time.
const PEERS: usize = 500;
/// Threads that play them.
const PLAYERS: usize = 10;
/// Messages of each life of a peer that pushes.
const PUSHED: u64 = 4;
/// How often a publisher publishes.
const TICK: Duration = Duration::from_millis(2);

/// One life of a peer: it has connected, and talks before it is cut. The number is the first of some that are its own.
type Life = fn(&mut Raw, u64) -> io::Result<()>;

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    pushing(stage, &stage.part(1.0 / 3.0))?;
    dealing(stage, &stage.part(0.5))?;
    subscribing(stage, &stage.part(1.0))
}

/// What is written before a clean end arrives, every time.
fn pushing(stage: &mut Stage<'_>, clock: &Clock) -> Result<()> {
    let (server, address) = stage.bound("PULL", &[])?;
    let numbers = Arc::new(AtomicU64::new(0));
    flap(clock, address, "PUSH", push, &numbers, true)?;
    settle(stage, &server, 3)?;
    let before = server.usage()?;
    flap(clock, address, "PUSH", push, &numbers, false)?;
    let lives = numbers.load(Ordering::SeqCst) / PUSHED;
    let mut seen = vec![0_u8; (lives * PUSHED) as usize];
    let mut odd = 0;
    let mut missing = seen.len();
    stage
        .clock
        .until("all that was pushed to arrive", PATIENCE, || {
            for line in server.output.take() {
                match number(&line).and_then(|number| seen.get_mut(number as usize)) {
                    Some(times) => {
                        missing -= usize::from(*times == 0);
                        *times = times.saturating_add(1);
                    }
                    None => odd += 1,
                }
            }
            missing == 0
        })
        .or_else(|error| if clock.is_stopped() { Err(error) } else { Ok(()) })?;
    stage.told("PUSH/PULL: lives of peers", lives as f64);
    stage.none("PUSH/PULL: messages lost", missing);
    stage.none(
        "PUSH/PULL: messages twice",
        seen.iter().filter(|times| **times > 1).count(),
    );
    stage.none("PUSH/PULL: messages made up", odd);
    stage.settled("PULL", &server, before)
}

fn push(raw: &mut Raw, first: u64) -> io::Result<()> {
    let bytes: Vec<u8> = (first..first + PUSHED)
        .flat_map(|number| message(&[number.to_string().as_bytes()]))
        .collect();
    raw.send(&bytes)
}

/// Every request is answered, to who asked.
fn dealing(stage: &mut Stage<'_>, clock: &Clock) -> Result<()> {
    let (server, address) = stage.bound("ROUTER", &["--echo"])?;
    let numbers = Arc::new(AtomicU64::new(0));
    flap(clock, address, "DEALER", deal, &numbers, true)?;
    settle(stage, &server, 3)?;
    let before = server.usage()?;
    flap(clock, address, "DEALER", deal, &numbers, false)?;
    // A life without its answer ends the case.
    stage.at_least(
        "ROUTER/DEALER: lives of peers, all answered",
        (numbers.load(Ordering::SeqCst) / PUSHED) as f64,
        PEERS as f64,
    );
    stage.settled("ROUTER", &server, before)
}

fn deal(raw: &mut Raw, number: u64) -> io::Result<()> {
    let number = number.to_string();
    raw.send(&message(&[number.as_bytes()]))?;
    expect(&raw.message()?, number.as_bytes())
}

fn expect(parts: &[Vec<u8>], body: &[u8]) -> io::Result<()> {
    if parts.len() == 1 && parts[0] == body {
        return Ok(());
    }
    Err(io::Error::other(format!("{parts:?} instead of {body:?}")))
}

/// Whoever stays subscribed misses nothing.
fn subscribing(stage: &mut Stage<'_>, clock: &Clock) -> Result<()> {
    let (mut server, address) = stage.bound("PUB", &[])?;
    let endpoint = format!("tcp://{address}");
    let subscriber = stage.flexbond(&["socket", "SUB", "--connect", &endpoint, "--subscribe", "tick"])?;
    let mut input = server.take_input().context("no input")?;
    let ticking = clock.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let ticker = thread::spawn(move || {
        let mut tick = 0_u64;
        // Until nobody needs it any more.
        while stopped
            .recv_timeout(TICK)
            .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout)
            && !ticking.is_stopped()
            && writeln!(input, "[\"tick {tick}\"]").is_ok()
        {
            tick += 1;
        }
        (tick, input)
    });
    let first = number(&subscriber.line(PATIENCE)?).context("no number in what was published")?;
    let numbers = Arc::new(AtomicU64::new(0));
    flap(clock, address, "SUB", subscribe, &numbers, true)?;
    settle(stage, &server, 4)?;
    let before = server.usage()?;
    flap(clock, address, "SUB", subscribe, &numbers, false)?;
    drop(stop);
    let (ticks, input) = ticker.join().map_err(|_| anyhow!("the ticker failed"))?;
    let mut next = first + 1;
    let mut wrong = 0;
    while next < ticks {
        match number(&subscriber.line(PATIENCE)?) {
            Some(number) if number == next => {}
            _ => wrong += 1,
        }
        next += 1;
    }
    stage.told(
        "PUB/SUB: lives of peers",
        (numbers.load(Ordering::SeqCst) / PUSHED) as f64,
    );
    stage.at_least("PUB/SUB: messages of who stayed", (ticks - first) as f64, 1.0);
    stage.none("PUB/SUB: of these lost or moved", wrong);
    stage.settled("PUB", &server, before)?;
    drop(input);
    Ok(())
}

fn subscribe(raw: &mut Raw, _: u64) -> io::Result<()> {
    raw.send(&command("SUBSCRIBE", b"tick"))?;
    let got = raw.message()?;
    match got.first().is_some_and(|body| body.starts_with(b"tick ")) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{got:?} was not subscribed to"))),
    }
}

/// The digits in what `flexbond socket` prints: `["12"]`, `["tick 12"]`.
fn number(line: &str) -> Option<u64> {
    let text = line.strip_prefix("[\"")?.strip_suffix("\"]")?;
    text.rsplit(' ').next()?.parse().ok()
}

/// Waits until as many descriptors are open as before the peers came: the listener, the input and outputs, and some of
/// the runtime.
fn settle(stage: &Stage<'_>, server: &Program, seconds: u64) -> Result<()> {
    let mut last = usize::MAX;
    // What is closed here is closed there a moment later.
    stage.clock.until(
        "descriptors to come back",
        Duration::from_secs(seconds * 5),
        || {
            let now = server.usage().map_or(0, |usage| usage.descriptors);
            let is_steady = now == last && now < PEERS / 5;
            last = now;
            thread::sleep(Duration::from_millis(50));
            is_steady
        },
    )
}

/// Keeps so many peers connected; each talks, and is cut when its turn comes again. `once`: each only once.
fn flap(
    clock: &Clock,
    address: SocketAddr,
    socket_type: &'static str,
    life: Life,
    numbers: &Arc<AtomicU64>,
    once: bool,
) -> Result<()> {
    let players: Vec<_> = (0..PLAYERS)
        .map(|_| {
            let (clock, numbers) = (clock.clone(), Arc::clone(numbers));
            thread::spawn(move || -> io::Result<()> {
                let mut peers: Vec<Option<Raw>> = (0..PEERS / PLAYERS).map(|_| None).collect();
                loop {
                    for peer in &mut peers {
                        if clock.is_stopped() {
                            return Ok(());
                        }
                        // Cut first: there are never more than so many.
                        drop(peer.take());
                        let mut raw = Raw::peer(address, socket_type)?;
                        life(&mut raw, numbers.fetch_add(PUSHED, Ordering::SeqCst))?;
                        *peer = Some(raw);
                    }
                    if once || !clock.goes_on() {
                        return Ok(());
                    }
                }
            })
        })
        .collect();
    for player in players {
        player
            .join()
            .map_err(|_| anyhow!("a player failed"))?
            .with_context(|| format!("a {socket_type} that came and went"))?;
    }
    clock.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_lines() {
        assert_eq!(number("[\"12\"]"), Some(12));
        assert_eq!(number("[\"tick 7\"]"), Some(7));
        assert_eq!(number("[\"12\",\"13\"]"), None);
        assert_eq!(number(""), None);
    }
}

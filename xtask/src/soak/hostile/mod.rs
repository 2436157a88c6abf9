//! Peers that lie in every protocol: each lie has its outcome, and others are served meanwhile.

mod calls;
mod datagrams;
mod mechanisms;
mod records;
mod sockets;
mod streams;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::program::Program;
use super::raw::{Raw, greeting, message, ready};
use super::stage::{PATIENCE, Stage};

/// What lies to one protocol.
type Attack = fn(&mut Stage<'_>, &mut Tally) -> Result<()>;

const PROTOCOLS: [(&str, Attack); 6] = [
    ("ZMTP", sockets::attack),
    ("PLAIN and CURVE", mechanisms::attack),
    ("TLS", records::attack),
    ("groups", datagrams::attack),
    ("rpc", calls::attack),
    ("streams", streams::attack),
];

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let mut rounds = 0;
    let mut tally = Tally::default();
    loop {
        for (protocol, attack) in PROTOCOLS {
            attack(stage, &mut tally).context(protocol)?;
        }
        rounds += 1;
        if !stage.clock.goes_on() {
            break;
        }
    }
    // Somebody who is not served after a lie ends the case.
    stage.at_least("whole rounds of all protocols", f64::from(rounds), 1.0);
    stage.told("lies", f64::from(tally.lies));
    for wrong in &tally.wrong {
        stage.note(wrong);
    }
    stage.none("lies with another outcome", tally.wrong.len());
    Ok(())
}

/// What was tried, and what had another outcome than it should.
#[derive(Default)]
struct Tally {
    lies: u32,
    wrong: Vec<String>,
}

impl Tally {
    fn note(&mut self, of: &str, lie: &str, outcome: Result<()>) {
        self.lies += 1;
        if let Err(error) = outcome {
            self.wrong.push(format!("{of}: {lie}: {error:#}"));
        }
    }
}

/// What becomes of somebody who lies.
#[derive(Clone, Copy)]
enum Outcome {
    /// Not let in, for a reason that has these words.
    Refused(&'static str),
    /// Thrown out, for a reason that has these words.
    Cut(&'static str),
    /// It is passed over; the peer is served as any other.
    Borne,
}

/// Bytes that lie.
struct Lie {
    name: &'static str,
    bytes: Vec<u8>,
    outcome: Outcome,
}

fn lie(name: &'static str, bytes: impl Into<Vec<u8>>, outcome: Outcome) -> Lie {
    Lie {
        name,
        bytes: bytes.into(),
        outcome,
    }
}

/// The beginning of a peer that behaves until then.
fn opening() -> Vec<u8> {
    [greeting(1, "NULL"), ready("DEALER", &[])].concat()
}

/// Tells each lie to an echo server whose events are on standard error. After each, `other` has to have its echo.
fn tell_all(
    of: &str,
    lies: &[Lie],
    server: &Program,
    address: SocketAddr,
    other: &mut Program,
    tally: &mut Tally,
) -> Result<()> {
    for (number, lie) in lies.iter().enumerate() {
        tally.note(of, lie.name, told(lie, server, address));
        other.tell(&format!("[\"{number}\"]"))?;
        let line = other
            .line(PATIENCE)
            .with_context(|| format!("after: {}", lie.name))?;
        ensure!(
            line == format!("[\"{number}\"]"),
            "{line} is no echo of {number}, after: {}",
            lie.name
        );
    }
    Ok(())
}

fn told(lie: &Lie, server: &Program, address: SocketAddr) -> Result<()> {
    let mut raw = Raw::connect(address)?;
    let here = raw.local()?;
    // It may well be thrown out before it has said everything.
    let _ = raw.send(&lie.bytes);
    match lie.outcome {
        Outcome::Refused(reason) | Outcome::Cut(reason) => {
            let words = match lie.outcome {
                Outcome::Refused(_) => "failed: ",
                _ => "disconnected: ",
            };
            loop {
                let event = server.reports(&here.to_string(), PATIENCE)?;
                if let Some((_, why)) = event.split_once(words) {
                    ensure!(why.contains(reason), "`{event}` instead of `{reason}`");
                    break;
                }
                ensure!(
                    !event.contains("failed: ") && !event.contains("disconnected: "),
                    "`{event}` instead of `{words}{reason}`"
                );
            }
            ensure!(raw.is_cut(PATIENCE), "the connection stays open");
        }
        Outcome::Borne => {
            raw.send(&message(&[b"and?"]))?;
            raw.greeted()?;
            let echo = raw.message()?;
            ensure!(echo == [b"and?"], "{echo:?} is no echo");
        }
    }
    Ok(())
}

/// Numbers that look random, and are the same in each run.
struct Dice(u64);

impl Dice {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll() as u8).collect()
    }

    /// xorshift64*.
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}

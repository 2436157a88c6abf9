//! Parties that talk by a message server, all three killed at random: each message arrives once and in order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::program::{Lines, Popped, Program, Reader};
use super::stage::{PATIENCE, Stage};

/// So often at least, whatever time there is.
const LEAST: u32 = 12;
/// So often at most: then it is enough.
const MOST: u32 = 1000;
/// Longest time between two of them. A program that starts is killed as well.
const PAUSE_MS: u64 = 250;
/// After so many, messages have to have arrived.
const LOOK: u32 = 10;
/// Messages each way before the first and after the last.
const WARM_UP: u64 = 300;
/// The two parties. The third to be killed is the server.
const PARTIES: [&str; 2] = ["ada", "bob"];
/// What has a line of a ledger.
const LINE: usize = 21;

/// As long as nobody who was killed is held for alive much longer.
const LIMITS: &str =
    r#"{"dead_after_ms":900,"heartbeat_ms":200,"retry_ms":200,"piece":65536,"timeout_ms":60000}"#;
const SERVER: &str =
    "cache_bytes = 4194304\n[limits]\ndead_after_ms = 900\nheartbeat_ms = 200\nretry_ms = 200\n";

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut dice = Dice::new(now.subsec_nanos());
    let seed = dice.0;
    run_with(stage, &mut dice).with_context(|| format!("seed {seed}"))
}

fn run_with(stage: &mut Stage<'_>, dice: &mut Dice) -> Result<()> {
    let folder = stage.folder("job")?;
    let mut job = Job::begin(stage, folder)?;
    job.progress(stage, WARM_UP)?;
    job.renew(stage)?;
    let before = (job.server()?.usage()?, job.usage()?);
    let mut kills = [0_u32; 3];
    loop {
        let total: u32 = kills.iter().sum();
        if total >= MOST || (total >= LEAST && !stage.clock.goes_on()) {
            break;
        }
        // Now and then two at once.
        let victim = dice.roll(3);
        let second = (dice.roll(8) == 0).then(|| (victim + 1 + dice.roll(2)) % 3);
        job.kill(victim);
        kills[victim] += 1;
        if let Some(second) = second {
            job.kill(second);
            kills[second] += 1;
        }
        job.revive(stage)?;
        stage
            .clock
            .pass(Duration::from_millis(dice.roll(PAUSE_MS as usize) as u64))?;
        if (total + 1).is_multiple_of(LOOK) {
            job.progress(stage, 1)?;
        }
    }
    job.progress(stage, WARM_UP)?;
    job.renew(stage)?;
    let after = (job.server()?.usage()?, job.usage()?);
    let Ended {
        server,
        sent,
        received,
    } = job.end()?;

    for (index, name) in PARTIES.iter().enumerate() {
        let other = 1 - index;
        stage.told(format!("{name}: messages sent"), sent[index] as f64);
        stage.none(
            format!("{name}: lost, twice or out of order at the other"),
            wrong(&received[other], sent[index])?,
        );
        stage
            .sheet
            .growth("federation", name, before.1[index], after.1[index]);
    }
    let [ada, bob, hub] = kills;
    stage.told("killed: parties", f64::from(ada + bob));
    stage.told("killed: server", f64::from(hub));
    stage.at_least("killed in all", f64::from(ada + bob + hub), f64::from(LEAST));
    // Nobody is connected any more, and nothing is kept.
    stage.settled("server", &server, before.0)
}

/// How many lines of a ledger are not what they should be, and how many there are too few or too many.
fn wrong(ledger: &Path, sent: u64) -> Result<usize> {
    let ledger = fs::read(ledger).with_context(|| format!("cannot read {}", ledger.display()))?;
    let lines = ledger.chunks(LINE).enumerate();
    let wrong = lines.filter(|(number, line)| *line != format!("{number:020}\n").as_bytes());
    let count = u64::try_from(ledger.len().div_ceil(LINE))?;
    Ok(wrong.count() + usize::try_from(count.abs_diff(sent))?)
}

/// The server and the parties; none where one was killed.
struct Job {
    folder: PathBuf,
    endpoint: String,
    server: Option<Program>,
    parties: [Option<Program>; 2],
}

/// What is left of a job.
struct Ended {
    server: Program,
    /// By each party.
    sent: [u64; 2],
    /// The ledger of each party.
    received: [PathBuf; 2],
}

impl Job {
    fn begin(stage: &Stage<'_>, folder: PathBuf) -> Result<Job> {
        fs::write(folder.join("server.toml"), SERVER)?;
        let server = serve(stage, &folder, "tcp://127.0.0.1:0")?;
        let endpoint = format!("tcp://{}", server.address()?);
        for local in PARTIES {
            let config = format!(
                r#"{{"server":"{endpoint}","session":{{"local_id":"{local}","job_id":"soak"}},"federation":{{"host":["ada","bob"]}},"limits":{LIMITS}}}"#
            );
            fs::write(folder.join(format!("{local}.json")), config)?;
        }
        let mut job = Job {
            folder,
            endpoint,
            server: Some(server),
            parties: [None, None],
        };
        job.revive(stage)?;
        Ok(job)
    }

    fn server(&self) -> Result<&Program> {
        self.server.as_ref().context("no server")
    }

    fn usage(&self) -> Result<[super::usage::Usage; 2]> {
        let [ada, bob] = &self.parties;
        let usage = |party: &Option<Program>| party.as_ref().context("no party")?.usage();
        Ok([usage(ada)?, usage(bob)?])
    }

    /// Party 0, party 1 or the server.
    fn kill(&mut self, victim: usize) {
        let killed = match self.parties.get_mut(victim) {
            Some(party) => party.take(),
            None => self.server.take(),
        };
        killed.into_iter().for_each(Program::kill);
    }

    /// Starts again who was killed. Nobody else may have ended.
    fn revive(&mut self, stage: &Stage<'_>) -> Result<()> {
        for program in self.server.iter_mut().chain(self.parties.iter_mut().flatten()) {
            ensure!(!program.is_gone(), "it has ended by itself {}", said(program));
        }
        if self.server.is_none() {
            self.server = Some(serve(stage, &self.folder, &self.endpoint)?);
        }
        for (index, party) in self.parties.iter_mut().enumerate() {
            if party.is_none() {
                let mut command = Command::new(stage.ledger_path());
                command
                    .arg(self.folder.join(format!("{}.json", PARTIES[index])))
                    .arg(PARTIES[1 - index])
                    .arg(ledger(&self.folder, PARTIES[index]));
                *party = Some(stage.start(command, Reader::Present)?);
            }
        }
        Ok(())
    }

    /// Starts the server again, and lets messages pass. What has piled up meanwhile it takes at once, which is more than it
    /// ever has at a time without that: so what it holds is compared with what another one held that did the same.
    fn renew(&mut self, stage: &Stage<'_>) -> Result<()> {
        self.kill(PARTIES.len());
        self.revive(stage)?;
        self.progress(stage, WARM_UP)
    }

    /// Waits until so many more messages have arrived at each party.
    fn progress(&mut self, stage: &Stage<'_>, messages: u64) -> Result<()> {
        for (index, party) in self.parties.iter().enumerate() {
            let path = ledger(&self.folder, PARTIES[index]);
            let length = || fs::metadata(&path).map_or(0, |file| file.len());
            let wanted = length() + messages * LINE as u64;
            let waited = stage.clock.until("messages", PATIENCE, || length() >= wanted);
            let (party, server) = (party.as_ref().context("no party")?, self.server()?);
            waited.with_context(|| format!("{} {}", said(party), server.troubles()))?;
            // It is not kept for ever.
            party.output.take();
            server.output.take();
        }
        Ok(())
    }

    /// Lets all come to its end.
    fn end(mut self) -> Result<Ended> {
        let mut sent = [0; 2];
        let mut parties = Vec::new();
        for party in &mut self.parties {
            let mut party = party.take().context("no party")?;
            // Both have to hear it before either can end.
            drop(party.take_input());
            parties.push(party);
        }
        for (index, party) in parties.iter_mut().enumerate() {
            party.ends_with(0, PATIENCE * 2).with_context(|| said(party))?;
            let last = last(&party.output).context("it says nothing")?;
            let line: serde_json::Value = serde_json::from_str(&last)?;
            sent[index] = line["sent"]
                .as_u64()
                .with_context(|| format!("no count in {last}"))?;
        }
        Ok(Ended {
            server: self.server.take().context("no server")?,
            sent,
            received: PARTIES.map(|party| ledger(&self.folder, party)),
        })
    }
}

fn ledger(folder: &Path, party: &str) -> PathBuf {
    folder.join(format!("{party}.ledger"))
}

fn serve(stage: &Stage<'_>, folder: &Path, endpoint: &str) -> Result<Program> {
    let (store, config) = (folder.join("messages.redb"), folder.join("server.toml"));
    let path = |path: &Path| path.to_string_lossy().into_owned();
    stage.flexbond(&[
        "serve",
        "--listen",
        endpoint,
        "--store",
        &path(&store),
        "--config",
        &path(&config),
    ])
}

/// Who it is, and what it has said last.
fn said(program: &Program) -> String {
    let last = last(&program.output).unwrap_or_default();
    format!("{last} {}", program.troubles())
}

fn last(lines: &Lines) -> Option<String> {
    let mut last = None;
    while let Popped::Line(line) = lines.pop(Duration::ZERO) {
        last = Some(line);
    }
    last
}

/// Random numbers (xorshift64), for who is killed when.
struct Dice(u64);

impl Dice {
    fn new(seed: u32) -> Self {
        Dice(u64::from(seed) << 8 | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_with_every_number_once_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let wrong = |numbers: &[u64], sent| {
            let lines: String = numbers.iter().map(|number| format!("{number:020}\n")).collect();
            fs::write(&path, lines).unwrap();
            wrong(&path, sent).unwrap()
        };
        assert_eq!(wrong(&[0, 1, 2], 3), 0);
        assert_eq!(wrong(&[0, 1], 3), 1);
        assert_eq!(
            wrong(&[0, 1, 1], 2),
            2,
            "one too many, in a place that is another's"
        );
        assert_eq!(wrong(&[0, 2, 1], 3), 2);
    }

    #[test]
    fn everybody_is_killed_some_time() {
        let mut dice = Dice::new(7);
        let mut rolled = [0; 3];
        (0..100).for_each(|_| rolled[dice.roll(3)] += 1);
        assert!(rolled.iter().all(|count| *count > 15), "{rolled:?}");
    }
}

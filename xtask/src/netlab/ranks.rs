//! The part of the check in which paths between the ranks of a computation go dead without a word.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Lab;
use super::check::{Probe, judge, wait_until};
use crate::process;
use crate::workspace::Workspace;

/// The program, an example of flexbond-collectives.
const PROGRAM: &str = "survivors";
/// Where the ranks of the first case meet, on host 0; the others follow.
const PORT: u16 = 29_500;
/// How long the ranks let one of them be silent.
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// What is granted on top of every bound: half a second, and as much for a machine that is busy.
const SLACK: Duration = Duration::from_secs(1);
/// A cut that nobody dies of.
const BRIEF: Duration = Duration::from_millis(400);
/// How long a rank may be silent before the case goes on without it.
const PATIENCE: Duration = Duration::from_secs(12);

/// What happens to the paths, and what may come of it.
struct Case {
    name: &'static str,
    commit: fn(&mut Lab) -> Result<()>,
    /// The ranks that are lost, in each outcome that is right.
    outcomes: &'static [&'static [u64]],
    /// Within how many times [`DEAD_AFTER`], and [`SLACK`], every rank has its error.
    within: u32,
}

const CASES: [Case; 5] = [
    Case {
        name: "host 2 cut off",
        commit: |lab| lab.partition(2),
        outcomes: &[&[2]],
        within: 1,
    },
    Case {
        // It holds the server: who does not reach that is on its own.
        name: "host 0 cut off",
        commit: |lab| lab.partition(0),
        outcomes: &[&[1, 2]],
        within: 1,
    },
    Case {
        name: "nothing reaches host 2",
        commit: |lab| lab.block(0, 2).and_then(|()| lab.block(1, 2)),
        outcomes: &[&[2]],
        within: 2,
    },
    Case {
        name: "host 2 reaches nobody",
        commit: |lab| lab.block(2, 0).and_then(|()| lab.block(2, 1)),
        outcomes: &[&[2]],
        within: 2,
    },
    Case {
        name: "hosts 1 and 2 do not reach each other",
        commit: |lab| lab.block(1, 2).and_then(|()| lab.block(2, 1)),
        outcomes: &[&[1], &[2]],
        within: 3,
    },
];

/// Builds the program.
///
/// # Errors
/// When cargo fails.
pub(super) fn build() -> Result<()> {
    let workspace = Workspace::load()?;
    process::run(
        process::cargo()
            .current_dir(&workspace.root)
            .args(["build", "--quiet", "--locked"])
            .args(["--package", "flexbond-collectives", "--example", PROGRAM])
            .args(["--features", "tls"]),
    )
}

/// Tries all cases, on the first three hosts.
///
/// # Errors
/// When the lab fails, or ranks do not start to work.
pub(super) fn check(lab: &mut Lab, failures: &mut Vec<String>) -> Result<()> {
    let target = Workspace::load()?.target;
    let program = target.join("debug").join("examples").join(PROGRAM);
    let plain = Setting {
        program,
        folder: None,
    };
    for (port, case) in (PORT + 1..).zip(&CASES) {
        Ranks::start(lab, &plain, port)?.endure(case, lab, failures)?;
    }
    Ranks::start(lab, &plain, PORT)?.outlast(lab, failures)?;
    let folder = target.join("netlab");
    match certify(lab, &folder) {
        Ok(()) => {
            let encrypted = Setting {
                folder: Some(folder),
                ..plain
            };
            for (port, case) in (PORT + 100..).zip(&CASES) {
                Ranks::start(lab, &encrypted, port)?.endure(case, lab, failures)?;
            }
            Ranks::start(lab, &encrypted, PORT + 99)?.outlast(lab, failures)
        }
        Err(error) => {
            println!("NOT CHECKED: ranks over TLS, for which there is no certificate ({error:#})");
            Ok(())
        }
    }
}

/// Makes the certificate of all ranks, for the addresses of all hosts.
fn certify(lab: &Lab, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let addresses = (0..lab.hosts()).map(|host| format!("IP:{}", lab.address(host)));
    let addresses: Vec<_> = addresses.collect();
    process::output(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=ranks"])
            .args(["-addext", &format!("subjectAltName={}", addresses.join(","))])
            // It issues itself and nobody else.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(folder.join("key.pem"))
            .arg("-out")
            .arg(folder.join("cert.pem")),
    )?;
    Ok(())
}

/// What ranks are, and what they talk over.
struct Setting {
    program: PathBuf,
    /// With the certificate of all, where they talk over TLS.
    folder: Option<PathBuf>,
}

impl Setting {
    fn scheme(&self) -> &'static str {
        if self.folder.is_some() { "tls" } else { "tcp" }
    }
}

/// The ranks of a computation, one on each host.
struct Ranks {
    running: Vec<Probe>,
    scheme: &'static str,
}

/// How a computation has ended at a rank.
struct Ending {
    after: Duration,
    /// Whom it goes on without; none where it cannot go on.
    failed: Option<Vec<u64>>,
    error: String,
}

impl Ranks {
    /// Starts them, and waits until they are at work.
    fn start(lab: &Lab, setting: &Setting, port: u16) -> Result<Self> {
        let mut running = Vec::new();
        for host in 0..lab.hosts() {
            let meet = format!("{}://{}:{port}", setting.scheme(), lab.address(0));
            let mut command: Command = lab.command(host, &setting.program);
            command
                .arg(DEAD_AFTER.as_millis().to_string())
                .args(&setting.folder)
                .env("FLEXBOND_ENDPOINT", meet)
                .env_remove("FLEXBOND_MULTICAST")
                .env("RANK", host.to_string())
                .env("WORLD_SIZE", lab.hosts().to_string())
                .env("MASTER_ADDR", lab.address(0).to_string())
                .env("MASTER_PORT", port.to_string());
            running.push(Probe::start(&mut command)?);
        }
        for (host, rank) in running.iter().enumerate() {
            rank.hear(PATIENCE)
                .with_context(|| format!("the rank on host {host} did not start to work"))?;
        }
        Ok(Ranks {
            running,
            scheme: setting.scheme(),
        })
    }

    /// Commits the faults in the middle of the work, and takes them away once every rank has its error.
    fn endure(mut self, case: &Case, lab: &mut Lab, failures: &mut Vec<String>) -> Result<()> {
        (case.commit)(lab)?;
        let begun = Instant::now();
        let endings: Vec<Option<Ending>> = self
            .running
            .iter()
            .map(|rank| Ending::read(begun, rank.hear(PATIENCE.saturating_sub(begun.elapsed()))?))
            .collect();
        for host in 0..lab.hosts() {
            lab.heal(host)?;
        }
        let bound = DEAD_AFTER * case.within + SLACK;
        let outcome = case.outcomes.iter().find(|lost| agree(&endings, lost));
        let is_in_time = endings.iter().flatten().all(|ending| ending.after <= bound);
        judge(
            failures,
            &format!("{}, over {}: all ranks agree", case.name, self.scheme),
            &format!("{}must be {:?} within {bound:?}", shown(&endings), case.outcomes),
            outcome.is_some() && is_in_time,
        );
        let Some(lost) = outcome else {
            return Ok(());
        };
        let mut go_on = true;
        for (host, rank) in self.running.iter().enumerate() {
            if !lost.contains(&(host as u64)) {
                let left = (lab.hosts() - lost.len()) as u64;
                let line = rank.hear(PATIENCE);
                go_on &= line.is_some_and(|(_, line)| line["size"].as_u64() == Some(left));
            }
        }
        let what = format!("{}, over {}, healed: the others go on", case.name, self.scheme);
        judge(failures, &what, "", go_on);
        let what = format!("{}, over {}, healed: nobody hangs", case.name, self.scheme);
        judge(failures, &what, "", self.end());
        Ok(())
    }

    /// A cut that is over before anybody has to be dead.
    fn outlast(mut self, lab: &mut Lab, failures: &mut Vec<String>) -> Result<()> {
        lab.partition(2)?;
        thread::sleep(BRIEF);
        lab.heal(2)?;
        // Their first line then is that they are done.
        for rank in &mut self.running {
            rank.end_input();
        }
        let done = self.running.iter().all(|rank| {
            rank.hear(PATIENCE)
                .is_some_and(|(_, line)| line["done"].as_bool() == Some(true))
        });
        let what = format!(
            "host 2 cut off for {BRIEF:?}, over {}: nobody is lost",
            self.scheme
        );
        judge(failures, &what, "", done && self.end());
        Ok(())
    }

    /// Ends the inputs; whether all processes end then.
    fn end(&mut self) -> bool {
        for rank in &mut self.running {
            rank.end_input();
        }
        wait_until(|| self.running.iter_mut().all(Probe::has_ended))
    }
}

impl Ending {
    fn read(begun: Instant, (at, line): (Instant, Value)) -> Option<Self> {
        let failed = line["failed"].as_array().map(|failed| {
            let ranks = failed.iter().filter_map(Value::as_u64);
            ranks.collect()
        });
        Some(Ending {
            after: at.saturating_duration_since(begun),
            failed,
            error: line["error"].as_str()?.to_owned(),
        })
    }
}

/// Whether these ranks, and no others, are on their own, and all others name the same of them: the first, where several
/// are not lost at the same moment.
fn agree(endings: &[Option<Ending>], lost: &[u64]) -> bool {
    let named = endings.iter().flatten().find_map(|ending| ending.failed.as_ref());
    let is_right = named.is_some_and(|named| named.iter().all(|rank| lost.contains(rank)));
    let agrees = |(ending, rank): (&Option<Ending>, u64)| {
        let expected = named.filter(|_| !lost.contains(&rank));
        ending
            .as_ref()
            .is_some_and(|ending| ending.failed.as_ref() == expected)
    };
    is_right && endings.iter().zip(0..).all(agrees)
}

fn shown(endings: &[Option<Ending>]) -> String {
    let mut text = String::new();
    for (host, ending) in endings.iter().enumerate() {
        let _ = match ending {
            Some(Ending { after, error, .. }) => {
                write!(text, "host {host} after {} ms: {error}; ", after.as_millis())
            }
            None => write!(text, "host {host}: nothing; "),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endings(lines: [Value; 3]) -> Vec<Option<Ending>> {
        let now = Instant::now();
        lines
            .into_iter()
            .map(|line| Ending::read(now, (now, line)))
            .collect()
    }

    #[test]
    fn an_outcome_is_one_at_all_ranks() {
        let lost = json!({ "failed": [2], "error": "ranks [2] have failed" });
        let alone = json!({ "error": "closed" });
        let split = endings([lost.clone(), json!({ "failed": [0], "error": "" }), alone.clone()]);
        assert!(!agree(&split, &[2]));
        let whole = endings([lost.clone(), lost.clone(), alone]);
        assert!(agree(&whole, &[2]) && !agree(&whole, &[1]));
        assert!(shown(&whole).starts_with("host 0 after 0 ms: ranks [2] have failed; "));
        let first = json!({ "failed": [1], "error": "" });
        let alone = json!({ "error": "closed" });
        let several = endings([first, alone.clone(), alone]);
        assert!(agree(&several, &[1, 2]) && !agree(&several, &[1]));
        let silent = endings([lost.clone(), lost, json!({ "size": 2 })]);
        assert!(!agree(&silent, &[2]));
        assert!(shown(&silent).ends_with("host 2: nothing; "));
    }
}

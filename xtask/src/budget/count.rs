//! Counting: the program that carries the messages, and callgrind around it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::Workspace;
use crate::{process, setup};

const PACKAGE: &str = "flexbond-session";
const BENCH: &str = "instructions";
/// A run takes a second or two.
const DEADLINE: Duration = Duration::from_secs(120);

// What changes how a program behaves, and what callgrind counts.
const FOREIGN: [&str; 4] = [
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "VALGRIND_OPTS",
];
// What changes the program that is built.
const FLAGS: [&str; 3] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"];

/// The built program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    folder: PathBuf,
}

/// Something that the program can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    /// In a round.
    pub(super) messages: u64,
}

/// Why nothing can be counted here; `None` if it can.
pub(super) fn unavailable(workspace: &Workspace) -> Option<String> {
    let reason = |what: &str| Some(format!("valgrind {what}"));
    if !setup::missing(&[setup::VALGRIND]).is_empty() {
        return reason("is not installed");
    }
    let folder = profiles(workspace);
    if let Err(error) = fs::create_dir_all(&folder) {
        return reason(&format!("has no place for its output: {error}"));
    }
    let mut probe = callgrind(&folder.join("probe.callgrind"));
    match process::output(probe.arg("true")) {
        Ok(_) => None,
        Err(error) => reason(&format!("does not work: {error:#}")),
    }
}

impl Program {
    /// Builds it with the release profile and no flags of the environment.
    pub(super) fn build(workspace: &Workspace) -> Result<Self> {
        let mut command = process::cargo();
        command
            .current_dir(&workspace.root)
            .args(["build", "--release", "--locked", "--package", PACKAGE])
            .args(["--bench", BENCH])
            // Warnings and errors go to standard error as always.
            .arg("--message-format=json-render-diagnostics")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        for name in FLAGS {
            command.env_remove(name);
        }
        eprintln!("$ {}", process::shown(&command));
        let output = command.output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!("`{}` failed: {}", process::shown(&command), output.status);
        }
        let path = executable(&String::from_utf8_lossy(&output.stdout))
            .with_context(|| format!("cargo does not say where it built {BENCH}"))?;
        let folder = profiles(workspace);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Program { path, folder })
    }

    /// Where profiles are, relative to the workspace's root if they are below it.
    pub(super) fn folder(&self, workspace: &Workspace) -> PathBuf {
        let relative = self.folder.strip_prefix(&workspace.root);
        relative.unwrap_or(&self.folder).to_owned()
    }

    /// What it can do.
    pub(super) fn cases(&self) -> Result<Vec<Case>> {
        let cases = parse_cases(&process::output(Command::new(&self.path).arg("--list"))?)?;
        if cases.is_empty() {
            bail!("{BENCH} has no case");
        }
        Ok(cases)
    }

    /// The instructions per message of `case`: of two rounds, less those of one.
    pub(super) fn count(&self, case: &Case) -> Result<f64> {
        let one = self.total(case, 1)?;
        let two = self.total(case, 2)?;
        per_message(one, two, case.messages)
            .with_context(|| format!("{}: two rounds ({two}) are not more than one ({one})", case.name))
    }

    fn total(&self, case: &Case, rounds: u32) -> Result<u64> {
        let profile = self.folder.join(format!("{}.callgrind", case.name));
        let mut command = callgrind(&profile);
        command
            .arg(&self.path)
            .args([case.name.as_str(), &rounds.to_string()])
            .stdin(Stdio::null());
        let shown = process::shown(&command);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{shown}`"))?;
        finish(child, DEADLINE).with_context(|| format!("`{shown}` failed"))?;
        let text =
            fs::read_to_string(&profile).with_context(|| format!("cannot read {}", profile.display()))?;
        parse_total(&text).with_context(|| format!("there is no total in {}", profile.display()))
    }
}

fn profiles(workspace: &Workspace) -> PathBuf {
    workspace.target.join("budget")
}

/// Callgrind, without what the environment and the user's settings would tell it or the program.
fn callgrind(profile: &Path) -> Command {
    let mut file = std::ffi::OsString::from("--callgrind-out-file=");
    // A percent sign would be the start of a pattern.
    file.push(profile.to_string_lossy().replace('%', "%%"));
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]).arg(file);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

/// Waits for the end of a program, but not for ever.
fn finish(mut child: Child, deadline: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("{status}");
            }
            return Ok(());
        }
        if started.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            bail!(
                "not done after {} s: its messages do not arrive",
                deadline.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The program's path, from cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == BENCH)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Lines of a name and a number.
fn parse_cases(text: &str) -> Result<Vec<Case>> {
    text.lines()
        .map(|line| {
            let (name, messages) = line.split_once(' ').unwrap_or_default();
            let messages = messages.parse().ok().filter(|messages| *messages > 0);
            let messages = messages.with_context(|| format!("{line:?} is not a case and its messages"))?;
            Ok(Case {
                name: name.to_owned(),
                messages,
            })
        })
        .collect()
}

/// The instructions of a whole profile.
fn parse_total(profile: &str) -> Option<u64> {
    let after = |name: &str| {
        profile
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|value| value.split_whitespace().next())
    };
    // The only event that is counted unless one asks for more.
    if after("events:") != Some("Ir") {
        return None;
    }
    after("summary:").or_else(|| after("totals:"))?.parse().ok()
}

fn per_message(one: u64, two: u64, messages: u64) -> Option<f64> {
    let instructions = two.checked_sub(one).filter(|instructions| *instructions > 0)?;
    Some(instructions as f64 / messages as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_profile_is_found() {
        let profile = "# callgrind format\nversion: 1\ncmd: summary: 5\n\npositions: line\n\
                       events: Ir\nsummary: 99681617\n\nfl=(1)\n";
        assert_eq!(parse_total(profile), Some(99_681_617));
        let totals = profile.replace("\nsummary:", "\ntotals:");
        assert_eq!(parse_total(&totals), Some(99_681_617));
        for (from, to) in [
            ("\nsummary: 99681617", ""),
            ("99681617", "many"),
            ("events: Ir", "events: Dr"),
        ] {
            assert_eq!(parse_total(&profile.replace(from, to)), None, "{to:?}");
        }
        assert_eq!(parse_total(""), None);
    }

    #[test]
    fn what_setting_up_costs_is_not_counted() {
        assert_eq!(per_message(1_500, 2_500, 10), Some(100.0));
        assert_eq!(per_message(1_500, 1_500, 10), None);
        assert_eq!(per_message(2_500, 1_500, 10), None);
    }

    #[test]
    fn cases_are_read() {
        let cases = parse_cases("wire-16 64000\npush 5\n").unwrap();
        assert_eq!(
            cases,
            [("wire-16", 64_000), ("push", 5)].map(|(name, messages)| Case {
                name: name.to_owned(),
                messages
            })
        );
        for text in ["wire-16", "wire-16 many", "wire-16 0", "usage: x\n"] {
            assert!(parse_cases(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/x"}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"instructions"},"executable":"/y"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/y")));
        assert_eq!(executable(""), None);
    }

    #[test]
    fn a_run_that_fails_or_hangs_is_told() {
        let spawn = |program: &str, args: &[&str]| Command::new(program).args(args).spawn().unwrap();
        assert!(finish(spawn("true", &[]), DEADLINE).is_ok());
        let error = finish(spawn("false", &[]), DEADLINE).unwrap_err();
        assert!(error.to_string().contains('1'), "{error}");
        let error = finish(spawn("sleep", &["1000"]), Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("do not arrive"), "{error}");
    }
}

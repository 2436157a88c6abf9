//! Running fuzz targets, several at once, and telling what became of each.

use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use super::build::Program;
use super::{Args, Sanitizer};
use crate::process;
use crate::workspace::Workspace;

/// The address space of a target without a sanitizer, in KiB: room for the fuzzer itself and what it keeps, and no room
/// for what a length in an input might ask for. A sanitizer maps terabytes, and limits allocations itself.
const ADDRESS_SPACE: u64 = 3 << 20;
/// How much of a log is shown when a target fails.
const SHOWN_LINES: usize = 80;

/// What is to be run, and how.
pub(super) struct Plan<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) args: &'a Args,
    pub(super) programs: Vec<Program>,
}

impl Plan<'_> {
    /// Runs all programs; goes on after one that found something.
    ///
    /// # Errors
    /// Names the targets that failed.
    pub(super) fn run(&self) -> Result<()> {
        let failed = match &self.programs[..] {
            [alone] => self.run_alone(alone)?,
            _ => self.run_together()?,
        };
        if !failed.is_empty() {
            bail!("fuzz targets failed: {}", failed.join(", "));
        }
        if self.args.input.is_none() {
            println!(
                "{} fuzz targets ran for {} s each and found nothing",
                self.programs.len(),
                self.args.time
            );
        }
        Ok(())
    }

    /// One target has the terminal for itself.
    fn run_alone(&self, program: &Program) -> Result<Vec<String>> {
        if let Err(error) = process::run(&mut self.command(program)?) {
            eprintln!("{error:#}\n{}", self.advice(program));
            return Ok(vec![program.target.name.clone()]);
        }
        Ok(Vec::new())
    }

    fn run_together(&self) -> Result<Vec<String>> {
        let logs = self.workspace.target.join("fuzz-logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let jobs = self.args.jobs.unwrap_or_else(|| {
            let processors = thread::available_parallelism();
            processors.map_or(1, NonZero::get)
        });
        let waiting = Mutex::new(self.programs.iter());
        let failed = Mutex::new(Vec::new());
        thread::scope(|scope| -> Result<()> {
            let worker = || -> Result<()> {
                while let Some(program) = next(&waiting) {
                    let log = logs.join(format!("{}.log", program.target.name));
                    let sound = self.run_logged(program, &log)?;
                    if !sound {
                        let name = program.target.name.clone();
                        failed.lock().expect("no thread panics with it").push(name);
                    }
                }
                Ok(())
            };
            let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
            for worker in workers {
                worker.join().expect("a thread that runs programs")?;
            }
            Ok(())
        })?;
        let mut failed = failed.into_inner().expect("no thread panicked with it");
        failed.sort();
        Ok(failed)
    }

    /// Whether the target found nothing.
    fn run_logged(&self, program: &Program, log: &Path) -> Result<bool> {
        let file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let status = self
            .command(program)?
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()
            .with_context(|| format!("cannot start {}", program.path.display()))?;
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        let name = &program.target.name;
        if status.success() {
            println!("{}", summary(name, &text));
        } else {
            // In one piece, since others speak at the same time.
            eprintln!(
                "{}\n{name} failed: {status}; all of its output is in {}\n{}",
                last_lines(&text, SHOWN_LINES),
                log.display(),
                self.advice(program)
            );
        }
        Ok(status.success())
    }

    fn command(&self, program: &Program) -> Result<Command> {
        let mut command = match self.args.sanitizer {
            Sanitizer::None => {
                let mut shell = Command::new("sh");
                // Where the system has no such limit, it runs without.
                let script = format!("ulimit -v {ADDRESS_SPACE} 2>/dev/null; exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(&program.path);
                shell
            }
            Sanitizer::Address => Command::new(&program.path),
        };
        let artifacts = self.artifacts(program);
        fs::create_dir_all(&artifacts).with_context(|| format!("cannot make {}", artifacts.display()))?;
        command
            .current_dir(&self.workspace.root)
            // The slash makes it a folder.
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"]);
        match &self.args.input {
            Some(input) => {
                let input = std::path::absolute(input).context("the input has no path")?;
                command.args(&self.args.options).arg(input);
            }
            None => {
                command
                    .arg(format!("-max_total_time={}", self.args.time))
                    .args(&self.args.options)
                    .args(self.corpora(program)?);
            }
        }
        Ok(command)
    }

    /// Where inputs are kept: what is found goes below the target folder, and what the crate brings along is read.
    fn corpora(&self, program: &Program) -> Result<Vec<PathBuf>> {
        let name = &program.target.name;
        let found = self.workspace.target.join("fuzz-corpus").join(name);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let seeds = program.target.folder.join("corpus").join(name);
        Ok(std::iter::once(found)
            .chain(seeds.is_dir().then_some(seeds))
            .collect())
    }

    fn artifacts(&self, program: &Program) -> PathBuf {
        program.target.folder.join("artifacts").join(&program.target.name)
    }

    /// How to see it again.
    fn advice(&self, program: &Program) -> String {
        format!(
            "its input is in {}; to run it again: cargo xtask fuzz {} --input FILE",
            self.artifacts(program).display(),
            program.target.name
        )
    }
}

fn next<'a>(waiting: &Mutex<impl Iterator<Item = &'a Program>>) -> Option<&'a Program> {
    waiting.lock().expect("no thread panics with it").next()
}

/// One line about a target that found nothing, of libFuzzer's closing figures.
fn summary(name: &str, log: &str) -> String {
    let runs = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("?", str::trim);
    // `#1234 DONE cov: 567 ft: 890 corp: …`
    let coverage = log
        .lines()
        .rev()
        .find_map(|line| line.split_once(" cov: ")?.1.split_whitespace().next())
        .unwrap_or("?");
    format!("{name:<20} {runs:>10} inputs, {coverage:>6} places in the code reached")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_summed_up_in_a_line() {
        let log = "#2\tINITED cov: 17 ft: 18 corp: 1/1b\n#99\tDONE   cov: 345 ft: 678 corp: 9/9b\n\
                   Done 99 runs in 3 second(s)\nstat::number_of_executed_units: 99\n";
        let line = summary("codec", log);
        assert_eq!(
            line,
            "codec                        99 inputs,    345 places in the code reached"
        );
        assert!(summary("codec", "").contains("? inputs"));
    }

    #[test]
    fn the_end_of_a_log_is_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}

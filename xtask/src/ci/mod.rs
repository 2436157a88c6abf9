//! `cargo xtask ci`: everything that a change must pass, in steps.

mod builds;
mod steps;
mod tests;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use tests::{is_worth_repeating, test_runner};

use crate::workspace::Workspace;
use steps::{STEPS, Step};

/// Everything that a change must pass. CI runs exactly this.
///
/// Goes through all steps, also after one that failed, and ends with a table; exits with zero only when every step
/// passed. Needs a stable Rust toolchain and the registries of crates, Python and Debian packages; what else it
/// needs it installs (system packages as root on Debian, else it prints the line to run; cargo tools and a Python
/// environment below the target folder).
#[derive(clap::Args)]
pub struct Args {
    /// Run only this step (repeatable).
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Vec<String>,
    /// Leave this step out (repeatable).
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    skip: Vec<String>,
    /// Print the steps and what they do, and run none.
    #[arg(long)]
    list: bool,
    /// Stop at the first step that fails.
    #[arg(long)]
    fail_fast: bool,
}

fn step_names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(STEPS.iter().map(|step| step.name))
}

/// What steps work on, and what they tell besides their output.
pub(crate) struct Run {
    pub(crate) workspace: Workspace,
    /// Closing lines of test runners, in order.
    pub(crate) closing: Vec<String>,
    /// What could not be checked here.
    pub(crate) notices: Vec<String>,
}

struct Outcome {
    name: &'static str,
    failure: Option<String>,
    took: Duration,
}

/// Runs the command.
///
/// # Errors
/// When a step fails.
pub fn run(args: &Args) -> Result<()> {
    if args.list {
        for step in &STEPS {
            println!("{:<9} {}", step.name, step.what);
        }
        return Ok(());
    }
    let chosen: Vec<&Step> = STEPS.iter().filter(|step| is_chosen(step.name, args)).collect();
    if chosen.is_empty() {
        bail!("no step is left; `cargo xtask ci --list` prints them");
    }
    let mut run = Run {
        workspace: Workspace::load()?,
        closing: Vec::new(),
        notices: Vec::new(),
    };
    let started = Instant::now();
    let mut outcomes = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        println!(
            "\n=== {} ({} of {}): {}",
            step.name,
            index + 1,
            chosen.len(),
            step.what
        );
        let began = Instant::now();
        let closing_before = run.closing.len();
        let failure = (step.run)(&mut run).err().map(|error| format!("{error:#}"));
        let took = began.elapsed();
        if run.closing.len() > closing_before {
            run.closing.insert(closing_before, format!("{}:", step.name));
        }
        match &failure {
            None => println!("=== {}: passed in {}", step.name, shown(took)),
            Some(failure) => println!("=== {}: FAILED in {}\n{failure}", step.name, shown(took)),
        }
        let stop = failure.is_some() && args.fail_fast;
        outcomes.push(Outcome {
            name: step.name,
            failure,
            took,
        });
        if stop {
            break;
        }
    }
    print!("{}", summary(&run, &outcomes, started.elapsed()));
    let failed: Vec<&str> = failed(&outcomes).map(|outcome| outcome.name).collect();
    if !failed.is_empty() {
        bail!("ci failed: {}", failed.join(", "));
    }
    Ok(())
}

fn is_chosen(name: &str, args: &Args) -> bool {
    let listed = |list: &[String]| list.iter().any(|listed| listed == name);
    (args.only.is_empty() || listed(&args.only)) && !listed(&args.skip)
}

fn failed(outcomes: &[Outcome]) -> impl Iterator<Item = &Outcome> {
    outcomes.iter().filter(|outcome| outcome.failure.is_some())
}

fn summary(run: &Run, outcomes: &[Outcome], took: Duration) -> String {
    let mut text = String::from("\n");
    for line in &run.closing {
        let indent = if line.ends_with(':') { "" } else { "  " };
        text.push_str(&format!("{indent}{line}\n"));
    }
    text.push_str(&format!("\n{:<10} {:<7} {:>9}\n", "step", "result", "time"));
    for outcome in outcomes {
        let result = if outcome.failure.is_some() { "FAILED" } else { "ok" };
        text.push_str(&format!(
            "{:<10} {result:<7} {:>9}\n",
            outcome.name,
            shown(outcome.took)
        ));
    }
    let failures = failed(outcomes).count();
    text.push_str(&format!(
        "{:<10} {:<7} {:>9}\n",
        "all",
        if failures == 0 { "ok" } else { "FAILED" },
        shown(took)
    ));
    for notice in &run.notices {
        text.push_str(&format!("\nNOTICE: {notice}\n"));
    }
    for outcome in failed(outcomes) {
        let failure = outcome.failure.as_deref().unwrap_or_default();
        text.push_str(&format!("\n{} failed: {failure}\n", outcome.name));
    }
    text
}

fn shown(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    fn args(only: &[&str], skip: &[&str]) -> Args {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Args {
            only: owned(only),
            skip: owned(skip),
            list: false,
            fail_fast: false,
        }
    }

    #[test]
    fn steps_are_chosen_by_name() {
        let chosen = |args: &Args| -> Vec<&str> {
            STEPS
                .iter()
                .map(|step| step.name)
                .filter(|name| is_chosen(name, args))
                .collect()
        };
        assert_eq!(chosen(&args(&[], &[])).len(), STEPS.len());
        assert_eq!(chosen(&args(&["fmt", "tidy"], &["fmt"])), ["tidy"]);
        assert!(!chosen(&args(&[], &["fuzz"])).contains(&"fuzz"));
    }

    #[test]
    fn the_summary_repeats_failures_and_notices() {
        let run = Run {
            workspace: Workspace::from_metadata("{}").unwrap(),
            closing: vec![
                "test:".to_owned(),
                "Summary [1s] 3 tests run: 3 passed".to_owned(),
            ],
            notices: vec!["no database".to_owned()],
        };
        let outcomes = [
            Outcome {
                name: "fmt",
                failure: None,
                took: Duration::from_millis(1234),
            },
            Outcome {
                name: "test",
                failure: Some("one test".to_owned()),
                took: Duration::from_secs(75),
            },
        ];
        let text = summary(&run, &outcomes, Duration::from_secs(77));
        for part in [
            "  Summary [1s] 3 tests run",
            "fmt        ok          1.2 s",
            "test       FAILED  1 min 15 s",
            "all        FAILED",
            "NOTICE: no database",
            "test failed: one test",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}

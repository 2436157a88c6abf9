//! Steps that run tests.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};

use super::Run;
use crate::process::{self, cargo};
use crate::workspace::Package;

static HAS_NEXTEST: LazyLock<bool> =
    LazyLock::new(|| process::succeeds(cargo().args(["nextest", "--version"])));

/// The command that runs tests, all of them also after one that failed: cargo-nextest where it is installed, else
/// `cargo test`.
#[must_use]
pub fn test_runner() -> Command {
    let mut command = cargo();
    if *HAS_NEXTEST {
        command.args([
            "nextest",
            "run",
            "--locked",
            "--no-fail-fast",
            "--no-tests=warn",
            "--cargo-quiet",
        ]);
        // Each minute a test that still runs is named: what stands still is not silent.
        command.args(["--status-level=slow", "--final-status-level=slow"]);
    } else {
        command.args(["test", "--locked", "--no-fail-fast", "--quiet"]);
    }
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// Whether a line of a test runner's output tells how many tests passed and failed, if there were any.
fn is_closing_line(line: &str) -> bool {
    let nextest = line.starts_with("Summary [") && !line.contains("] 0 tests run");
    let cargo_test = line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed;");
    nextest || cargo_test
}

/// Whether a line of a test runner's output tells how it ended, or names a test that failed.
#[must_use]
pub fn is_worth_repeating(line: &str) -> bool {
    let nextest = ["FAIL [", "TIMEOUT [", "ABORT [", "SIG"]
        .iter()
        .any(|word| line.starts_with(word));
    let cargo_test = line.starts_with("test ") && line.ends_with("... FAILED");
    is_closing_line(line) || nextest || cargo_test
}

pub(super) fn workspace(run: &mut Run) -> Result<()> {
    let mut command = test_runner();
    let packages = run.workspace.packages.iter();
    // By name, for those against other programs are built with the same features and run in a step of their own.
    let targets: BTreeSet<&str> = packages
        .flat_map(|package| package.integration_tests(false))
        .collect();
    command
        .current_dir(&run.workspace.root)
        .args(["--workspace", "--features", &run.workspace.all_features()])
        .args(["--lib", "--bins"])
        // Without the server its tests only say so; `setup` has seen to it.
        .env("FLEXBOND_REQUIRE_NATS", "1")
        .args(targets.iter().flat_map(|target| ["--test", target]));
    let lines = process::run_keeping(&mut command, is_worth_repeating)?;
    if lines.is_empty() {
        bail!("no test ran");
    }
    run.closing.extend(lines);
    Ok(())
}

pub(super) fn docs(run: &mut Run) -> Result<()> {
    let mut command = cargo();
    command.current_dir(&run.workspace.root).args([
        "test",
        "--quiet",
        "--locked",
        "--no-fail-fast",
        "--workspace",
        "--doc",
        "--features",
    ]);
    command.arg(run.workspace.all_features());
    let lines = process::run_keeping(&mut command, is_worth_repeating)?;
    run.closing.extend(lines);
    Ok(())
}

/// Each package passes its tests without its features; those with all have run. To run them with each as well took twelve
/// minutes, to build them with each four, and both found nothing but tests that did not say what they need.
pub(super) fn bare(run: &mut Run) -> Result<()> {
    let mut failed = Vec::new();
    let programs = run.workspace.target.join("debug").join("deps");
    for package in run.workspace.publishable() {
        let kept = files_without_suffix(&programs);
        for mut command in tests(package) {
            command.current_dir(&run.workspace.root).args([
                "--package",
                &package.name,
                "--no-default-features",
            ]);
            match process::run_keeping(&mut command, is_worth_repeating) {
                Ok(lines) => run.closing.extend(lines),
                Err(error) => failed.push(format!("{}: {error:#}", package.name)),
            }
        }
        // They were run and are not run again; those of all packages take gigabytes.
        for program in files_without_suffix(&programs).difference(&kept) {
            fs::remove_file(program).with_context(|| format!("cannot remove {}", program.display()))?;
        }
    }
    if !failed.is_empty() {
        bail!("these fail without their features:\n{}", failed.join("\n"));
    }
    Ok(())
}

/// On Linux and macOS, the programs among what cargo has built in a folder; elsewhere none.
fn files_without_suffix(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_none() && path.is_file())
        .collect()
}

/// The tests of a package, and those in its docs.
fn tests(package: &Package) -> Vec<Command> {
    let mut commands = vec![test_runner()];
    commands[0].args(targets(package));
    if package.has("lib") {
        let mut examples = cargo();
        examples.args(["test", "--quiet", "--locked", "--doc"]);
        commands.push(examples);
    }
    commands
}

/// Everything but examples and doc tests, which have steps of their own.
fn targets(package: &Package) -> Vec<&'static str> {
    let mut targets = vec!["--tests"];
    if package.has("lib") {
        targets.push("--lib");
    }
    if package.has("bin") {
        targets.push("--bins");
    }
    targets
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn programs_are_told_from_what_else_is_built() {
        let folder = std::env::temp_dir().join(format!("flexbond-xtask-programs-{}", std::process::id()));
        fs::create_dir_all(folder.join("a-folder")).unwrap();
        for file in ["calls-0123abcd", "calls-0123abcd.d", "libflexbond-0123abcd.rlib"] {
            fs::write(folder.join(file), "").unwrap();
        }
        let found = files_without_suffix(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, BTreeSet::from([folder.join("calls-0123abcd")]));
        assert!(files_without_suffix(&folder).is_empty());
    }

    #[test]
    fn failed_tests_are_named_again() {
        assert!(is_worth_repeating(
            "FAIL [   4.448s] (308/555) flexbond-session::group it_works"
        ));
        assert!(is_worth_repeating("test tests::it_works ... FAILED"));
        assert!(!is_worth_repeating("test tests::it_works ... ok"));
        assert!(!is_worth_repeating("PASS [   0.010s] xtask tests::x"));
    }

    #[test]
    fn closing_lines_are_told_from_others() {
        assert!(is_closing_line(
            "Summary [   0.012s] 12 tests run: 12 passed, 0 skipped"
        ));
        assert!(is_closing_line(
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
        ));
        assert!(!is_closing_line(
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
        ));
        assert!(!is_closing_line(
            "Summary [   0.000s] 0 tests run: 0 passed, 9 skipped"
        ));
        assert!(!is_closing_line("PASS [   0.010s] xtask tests::x"));
    }
}

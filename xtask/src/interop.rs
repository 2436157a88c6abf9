//! `cargo xtask interop`: the tests against real pyzmq, Python mflow and bsread.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{process, setup};

/// The feature that interop test targets require, so that a plain `cargo test` leaves them out.
pub const FEATURE: &str = "interop-tests";

/// Where the tests find the Python that has the peers.
pub const PYTHON_VARIABLE: &str = "FLEXBOND_PYTHON";

const REQUIREMENTS: &str = include_str!("../interop-requirements.txt");
/// Peers of benches alone: large, and nothing that a test waits for.
const BENCH_REQUIREMENTS: &str = include_str!("../bench-requirements.txt");

/// Tests against real peers: pyzmq (libzmq), Python mflow and bsread.
///
/// Makes a virtual environment below the target folder with the pinned packages of xtask/interop-requirements.txt,
/// and runs all integration tests whose target is called `interop…` with FLEXBOND_PYTHON set to its Python. Those
/// targets need their crate's feature `interop-tests`, which no other command turns on.
#[derive(clap::Args)]
pub struct Args {
    /// Only tests of this package.
    #[arg(long, short, value_name = "PACKAGE")]
    package: Option<String>,
    /// Only make the virtual environment and print the path of its Python.
    #[arg(long)]
    python: bool,
    /// Passed on to the test runner: a part of test names, for example.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When the environment cannot be made, a test fails, or there is no interop test.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    let python = python(&workspace)?;
    if args.python {
        println!("{}", python.display());
        return Ok(());
    }
    run_tests(&workspace, &python, args.package.as_deref(), &args.filter).map(drop)
}

/// Runs the interop tests of all crates (or of `package`) against the peers of `python`, and returns the test
/// runner's closing lines.
///
/// # Errors
/// When a test fails, or there is none.
pub fn run_tests(
    workspace: &Workspace,
    python: &Path,
    package: Option<&str>,
    filter: &[String],
) -> Result<Vec<String>> {
    let wanted = |name: &str| package.is_none_or(|package| package == name);
    let packages = workspace.publishable().filter(|package| wanted(&package.name));
    let targets: BTreeSet<&str> = packages
        .flat_map(|package| package.integration_tests(true))
        .collect();
    if targets.is_empty() {
        bail!("no target of a test is called `interop…`: nothing can be tested against real peers");
    }
    let mut command = crate::ci::test_runner();
    // What the step `test` has built with the same features is not built again.
    command
        .current_dir(&workspace.root)
        .env(PYTHON_VARIABLE, python)
        .args(["--workspace", "--features", &workspace.all_features()])
        .args(targets.iter().flat_map(|target| ["--test", target]))
        .args(filter);
    let lines = process::run_keeping(&mut command, crate::ci::is_worth_repeating)?;
    if lines.is_empty() {
        bail!("no test of a target called `interop…` ran: nothing was tested against real peers");
    }
    Ok(lines)
}

/// The Python of a virtual environment with the pinned peers, made when it is absent or its list has changed.
///
/// # Errors
/// When Python is missing, or a package cannot be installed after several tries.
pub fn python(workspace: &Workspace) -> Result<PathBuf> {
    environment(
        workspace,
        "interop-venv",
        REQUIREMENTS,
        "import zmq, mflow, bsread, numpy; print('pyzmq', zmq.__version__, 'libzmq', zmq.zmq_version(), 'numpy', numpy.__version__)",
    )
}

/// As [`python`], with the peers that only benches need.
///
/// # Errors
/// Those of [`python`].
pub fn bench_python(workspace: &Workspace) -> Result<PathBuf> {
    environment(
        workspace,
        "bench-venv",
        BENCH_REQUIREMENTS,
        "import bitshuffle, hdf5plugin; print('bitshuffle', bitshuffle.__version__, 'hdf5plugin', hdf5plugin.version)",
    )
}

/// An environment in the target folder's `name`; `probe` is run once it is made.
fn environment(workspace: &Workspace, name: &str, requirements: &str, probe: &str) -> Result<PathBuf> {
    setup::ensure(&[setup::PYTHON, setup::PYTHON_VENV])?;
    let folder = workspace.target.join(name);
    let python = folder.join("bin").join("python");
    let stamp = folder.join("requirements.stamp");
    let system = process::output(
        Command::new("python3").args(["-c", "import sys; print(sys.version, sys.executable)"]),
    )?;
    let key = stamp_of(requirements, &system);
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == key) {
        return Ok(python);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let list = folder.join("requirements.txt");
    fs::write(&list, requirements)?;
    retry(3, || {
        process::run(
            Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--requirement",
                ])
                .arg(&list),
        )
    })?;
    process::run(Command::new(&python).args(["-c", probe]))?;
    // Written last: an environment that was interrupted half-way is made anew.
    fs::write(stamp, key)?;
    Ok(python)
}

/// What tells one environment from another: the pinned list, and the Python it was made with.
fn stamp_of(requirements: &str, python: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (requirements, python).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn retry(tries: u32, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    for number in 1..tries {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("{error:#}; trying again ({} of {tries})", number + 1),
        }
        // A registry that just failed deserves a moment.
        thread::sleep(Duration::from_secs(3));
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_pinned() {
        let lines: Vec<&str> = REQUIREMENTS
            .lines()
            .chain(BENCH_REQUIREMENTS.lines())
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(lines.iter().all(|line| line.contains("==")), "{lines:?}");
        for peer in [
            "pyzmq==",
            "psi-mflow==",
            "psi-bsread==",
            "numpy==",
            "bitshuffle==",
            "hdf5plugin==",
        ] {
            assert!(
                lines.iter().any(|line| line.starts_with(peer)),
                "{peer} is not in {lines:?}"
            );
        }
    }

    #[test]
    fn another_list_or_python_is_another_environment() {
        let first = stamp_of("pyzmq==1", "3.11");
        assert_eq!(first, stamp_of("pyzmq==1", "3.11"));
        assert_ne!(first, stamp_of("pyzmq==2", "3.11"));
        assert_ne!(first, stamp_of("pyzmq==1", "3.13"));
    }

    #[test]
    fn attempts_are_counted() {
        let mut calls = 0;
        let result = retry(1, || {
            calls += 1;
            bail!("no")
        });
        assert!(result.is_err());
        assert_eq!(calls, 1);
    }
}

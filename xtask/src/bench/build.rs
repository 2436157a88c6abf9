//! Building the contenders, each on its own, so that one that does not build spoils nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::record::Report;
use crate::workspace::Workspace;
use crate::{process, setup};

/// The name under which flexbond is measured.
pub(super) const OURS: &str = "flexbond";
/// The name of what the system itself reaches.
pub(super) const RAW: &str = "raw";
/// Everybody else.
pub(super) const PEERS: [&str; 4] = ["libzmq", "omq-tokio", "rzmq", "zeromq"];

/// What groups and collectives are measured against, besides Open MPI.
const GROUP_PEERS: [&str; 2] = ["camure", "raw-udp"];
/// The name of the program for Open MPI.
const OPENMPI: &str = "openmpi";

/// A program that was built.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
}

/// Builds all contenders; those that fail are noted in the report.
///
/// # Errors
/// When flexbond itself does not build.
pub(super) fn all(workspace: &Workspace, report: &mut Report) -> Result<Vec<Contender>> {
    if let Err(error) = setup::ensure(&[setup::PKG_CONFIG, setup::LIBZMQ]) {
        eprintln!("{error:#}");
    }
    let mut contenders = Vec::new();
    for name in [OURS].into_iter().chain(PEERS).chain([RAW]) {
        match build(workspace, name) {
            Ok(program) => contenders.push(Contender { name, program }),
            Err(error) if name == OURS => return Err(error),
            Err(error) => {
                report.miss_all(name, &format!("it cannot be built: {error:#}"));
            }
        }
    }
    report.facts.extend(versions(workspace));
    Ok(contenders)
}

/// Builds the peers of groups and collectives: the program of each, or why it cannot be built.
pub(super) fn groups(workspace: &Workspace) -> Vec<(&'static str, Result<PathBuf>)> {
    let mut built: Vec<_> = GROUP_PEERS
        .into_iter()
        .map(|name| (name, build(workspace, name)))
        .collect();
    built.push((OPENMPI, openmpi(workspace)));
    built
}

/// Compiles the program for Open MPI, which is no crate.
fn openmpi(workspace: &Workspace) -> Result<PathBuf> {
    let missing = setup::missing(&[setup::OPENMPI, setup::OPENMPI_BIN]);
    if !missing.is_empty() {
        bail!("system packages are missing: {}", setup::install_line(&missing));
    }
    let folder = workspace.target.join("release");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let program = folder.join(format!("peer-{OPENMPI}"));
    process::run(
        Command::new("mpicc")
            .args(["-O3", "-Wall", "-Wextra", "-o"])
            .arg(&program)
            .arg(workspace.root.join("xtask/peers/openmpi/collectives.c")),
    )?;
    Ok(program)
}

fn build(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let mut command = process::cargo();
    command
        .args(["build", "--release", "--manifest-path"])
        .arg(workspace.root.join("xtask/peers/Cargo.toml"))
        .arg("--target-dir")
        .arg(&workspace.target)
        .args(["--package", &format!("peer-{name}")])
        .stdin(Stdio::null());
    eprintln!("$ {}", process::shown(&command));
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text
            .lines()
            .find(|line| line.starts_with("error"))
            .unwrap_or("cargo failed");
        bail!("{first}");
    }
    let program = format!("peer-{name}{}", std::env::consts::EXE_SUFFIX);
    Ok(workspace.target.join("release").join(program))
}

/// The versions that were built, from the peers' lock file.
fn versions(workspace: &Workspace) -> Option<String> {
    let lock = fs::read_to_string(workspace.root.join("xtask/peers/Cargo.lock")).ok()?;
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let version = |name: &str| {
        let package = packages
            .iter()
            .find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))?;
        Some(format!("{name} {}", package.get("version")?.as_str()?))
    };
    let mut versions: Vec<String> = ["flexbond-session", "omq-tokio", "rzmq", "zeromq", "zmq", "tokio"]
        .into_iter()
        .filter_map(version)
        .collect();
    let mut pkg_config = Command::new("pkg-config");
    if let Ok(libzmq) = process::output(pkg_config.args(["--modversion", "libzmq"])) {
        versions.push(format!("libzmq {}", libzmq.trim()));
    }
    Some(versions.join(", "))
}

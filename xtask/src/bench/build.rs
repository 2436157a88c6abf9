//! Building the contenders, each on its own, so that one that does not build spoils nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::record::Report;
use super::streams;
use crate::workspace::Workspace;
use crate::{interop, netlab, process, setup};

/// The name under which flexbond is measured.
pub(super) const OURS: &str = "flexbond";
/// The name of what the system itself reaches.
pub(super) const RAW: &str = "raw";
/// Everybody else.
pub(super) const PEERS: [&str; 4] = ["libzmq", "omq-tokio", "rzmq", "zeromq"];

/// The name of Open MPI, and of the program for it.
pub(super) const OPENMPI: &str = "openmpi";

/// A program that was built.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    /// What the names of its settings begin with, where a program is measured under several names.
    pub(super) ways: &'static str,
}

/// The programs of groups and collectives that were built, by their names after `peer-`.
pub(super) type Programs = BTreeMap<&'static str, PathBuf>;

/// Builds all contenders of sockets; those that fail are noted in the report.
///
/// # Errors
/// When flexbond itself does not build.
pub(super) fn sockets(workspace: &Workspace, report: &mut Report) -> Result<Vec<Contender>> {
    // In a user namespace there is nothing to install from, and what is missing was named before.
    if !netlab::is_inside()
        && let Err(error) = setup::ensure(&[setup::PKG_CONFIG, setup::LIBZMQ])
    {
        eprintln!("{error:#}");
    }
    let names = [OURS].into_iter().chain(PEERS).chain([RAW]);
    let programs: Vec<_> = names.map(|name| (name, name)).collect();
    contenders(workspace, &programs, report)
}

/// Builds contenders, given by their names in reports and those of their programs; those that fail are noted in the
/// report.
///
/// # Errors
/// When flexbond itself does not build.
pub(super) fn contenders(
    workspace: &Workspace,
    programs: &[(&'static str, &str)],
    report: &mut Report,
) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for &(name, program) in programs {
        match build(workspace, program) {
            Ok(program) => contenders.push(Contender {
                name,
                program,
                ways: "",
            }),
            Err(error) if name == OURS => return Err(error),
            Err(error) => {
                report.miss_all(name, &format!("it cannot be built: {error:#}"));
            }
        }
    }
    Ok(contenders)
}

/// Builds programs of groups and collectives; those that fail are noted in the report.
pub(super) fn programs(workspace: &Workspace, names: &[&'static str], report: &mut Report) -> Programs {
    let mut built = Programs::new();
    for &name in names {
        let program = match name {
            OPENMPI => openmpi(workspace),
            streams::MFLOW => interop::python(workspace),
            streams::BITSHUFFLE | streams::HDF5PLUGIN => interop::bench_python(workspace),
            name if streams::OWN.contains(&name) => program(workspace, name),
            _ => build(workspace, name),
        };
        match program {
            Ok(program) => {
                built.insert(name, program);
            }
            Err(error) => report.miss_all(name, &format!("it cannot be built: {error:#}")),
        }
    }
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

/// Compiles one of flexbond's own programs.
fn program(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    process::run(
        process::cargo()
            .args(["build", "--release", "--package", "flexbond", "--bin", name])
            .arg("--manifest-path")
            .arg(workspace.root.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&workspace.target),
    )?;
    let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    Ok(workspace.target.join("release").join(program))
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
pub(super) fn versions(workspace: &Workspace) -> Option<String> {
    let lock = fs::read_to_string(workspace.root.join("xtask/peers/Cargo.lock")).ok()?;
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let version = |name: &str| {
        let package = packages
            .iter()
            .find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))?;
        Some(format!("{name} {}", package.get("version")?.as_str()?))
    };
    let mut versions: Vec<String> = [
        "flexbond-session",
        "omq-tokio",
        "rzmq",
        "zeromq",
        "zmq",
        "camure",
        "quinn-udp",
        "flexbond-rpc",
        "flexbond-collectives",
        "redb",
        "tarpc",
        "tonic",
        "capnp-rpc",
        "tokio",
    ]
    .into_iter()
    .filter_map(version)
    .collect();
    let mut pkg_config = Command::new("pkg-config");
    if let Ok(libzmq) = process::output(pkg_config.args(["--modversion", "libzmq"])) {
        versions.push(format!("libzmq {}", libzmq.trim()));
    }
    // It says `mpirun (Open MPI) 4.1.4` and goes on.
    if let Ok(text) = process::output(Command::new("mpirun").arg("--version"))
        && let Some(version) = text.lines().next().and_then(|line| line.rsplit(' ').next())
    {
        versions.push(format!("Open MPI {version}"));
    }
    Some(versions.join(", "))
}

//! `cargo xtask setup`: the system packages that tests, interop and benches need.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process;

/// Installs the system packages that tests, interop, fuzzing and benches need.
///
/// As root on Debian (or a system like it) what is missing is installed. Elsewhere the one line to run is printed.
/// Programs that are there by other means count as installed.
#[derive(clap::Args)]
pub struct Args {
    /// Only tell what is missing; install nothing.
    #[arg(long)]
    check: bool,
}

/// One thing from outside the Rust world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The Debian package.
    pub package: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    // A command that succeeds when the thing is there, however it came.
    probe: &'static [&'static str],
}

/// Runs Python peers and makes their virtual environment.
pub const PYTHON: Need = need("python3", "interop tests, benches", &["python3", "--version"]);
/// The part of Python that makes virtual environments, a package of its own on Debian.
pub const PYTHON_VENV: Need = need(
    "python3-venv",
    "interop tests",
    &["python3", "-c", "import venv, ensurepip"],
);
/// Compiles the fuzzer's runtime.
pub const CXX: Need = need("g++", "fuzzing", &["c++", "--version"]);
/// Network namespaces and simulated links.
pub const IPROUTE: Need = need("iproute2", "network tests", &["ip", "-V"]);
/// Packet loss between test hosts.
pub const NFTABLES: Need = need("nftables", "network tests", &["nft", "--version"]);
/// Settings of network interfaces.
pub const ETHTOOL: Need = need("ethtool", "network tests", &["ethtool", "--version"]);
/// libzmq's headers, for benches against it.
pub const LIBZMQ: Need = need("libzmq3-dev", "benches", &["pkg-config", "--exists", "libzmq"]);
/// Finds C libraries.
pub const PKG_CONFIG: Need = need("pkg-config", "benches", &["pkg-config", "--version"]);
/// Counts instructions.
pub const VALGRIND: Need = need("valgrind", "instruction counts", &["valgrind", "--version"]);
/// The NATS server, with JetStream. Debian has it among the programs of the administrator.
pub const NATS_SERVER: Need = need(
    "nats-server",
    "tests of federated jobs",
    &["sh", "-c", "PATH=$PATH:/usr/sbin nats-server --version"],
);
/// Compiles programs for Open MPI. Large, and only for comparison: no command installs it.
pub const OPENMPI: Need = need(
    "libopenmpi-dev",
    "comparison with Open MPI",
    &["mpicc", "--version"],
);
/// Starts programs of Open MPI.
pub const OPENMPI_BIN: Need = need(
    "openmpi-bin",
    "comparison with Open MPI",
    &["mpirun", "--version"],
);

/// Everything that any command installs.
pub const ALL: [Need; 10] = [
    PYTHON,
    PYTHON_VENV,
    CXX,
    IPROUTE,
    NFTABLES,
    ETHTOOL,
    PKG_CONFIG,
    LIBZMQ,
    VALGRIND,
    NATS_SERVER,
];

const fn need(package: &'static str, purpose: &'static str, probe: &'static [&'static str]) -> Need {
    Need {
        package,
        purpose,
        probe,
    }
}

/// Runs the command.
///
/// # Errors
/// When something is missing and could not be installed.
pub fn run(args: &Args) -> Result<()> {
    let missing = missing(&ALL);
    for need in ALL {
        let state = if missing.contains(&need) {
            "missing"
        } else {
            "there"
        };
        println!("{:<14} {state:<8} ({})", need.package, need.purpose);
    }
    if args.check {
        if !missing.is_empty() {
            bail!("missing; run: {}", install_line(&missing));
        }
        return Ok(());
    }
    ensure(&ALL)
}

/// Makes sure that everything in `required` is there. Quick when it is.
///
/// # Errors
/// When something is missing and this is not root on a Debian, or the installation fails. The message holds the
/// line to run.
pub fn ensure(required: &[Need]) -> Result<()> {
    let before = missing(required);
    if before.is_empty() {
        return Ok(());
    }
    let line = install_line(&before);
    if !is_debian() || !is_root() {
        bail!(
            "system packages are missing; run this (or your system's equivalent) and try again:\n    {line}"
        );
    }
    eprintln!("installing {} (as root, with apt-get)", names(&before));
    apt_get(&["update"])?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(before.iter().map(|need| need.package));
    apt_get(&install)?;
    let after = missing(required);
    if !after.is_empty() {
        bail!("still missing after the installation: {}", names(&after));
    }
    Ok(())
}

/// Which of `needs` are not there.
#[must_use]
pub fn missing(needs: &[Need]) -> Vec<Need> {
    let installed = installed_packages(needs);
    needs
        .iter()
        .copied()
        .filter(|need| !installed.iter().any(|name| name == need.package) && !is_there(need))
        .collect()
}

fn is_there(need: &Need) -> bool {
    let [program, args @ ..] = need.probe else {
        return false;
    };
    process::succeeds(Command::new(program).args(args))
}

/// Those of `needs` that dpkg has installed; none on a system without dpkg.
fn installed_packages(needs: &[Need]) -> Vec<String> {
    // dpkg-query fails when one name is unknown to it, and still prints the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(needs.iter().map(|need| need.package))
        .output();
    let Ok(output) = output else {
        return Vec::new();
    };
    parse_installed(&String::from_utf8_lossy(&output.stdout))
}

fn parse_installed(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(str::to_owned)
        .collect()
}

fn apt_get(args: &[&str]) -> Result<()> {
    const TRIES: u32 = 3;
    for attempt in 1..=TRIES {
        let started = Instant::now();
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Another apt may run at a machine's start; its lock is waited for.
            .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
            .args(args);
        match process::run(&mut command) {
            Ok(()) => {
                eprintln!("done in {:.0} s", started.elapsed().as_secs_f64());
                return Ok(());
            }
            Err(error) if attempt < TRIES => {
                eprintln!("{error:#}; trying again ({} of {TRIES})", attempt + 1);
                // A mirror that just failed deserves a moment.
                thread::sleep(Duration::from_secs(5));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The line that installs `needs` on a Debian.
#[must_use]
pub fn install_line(needs: &[Need]) -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    format!(
        "{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}",
        names(needs)
    )
}

fn names(needs: &[Need]) -> String {
    needs
        .iter()
        .map(|need| need.package)
        .collect::<Vec<_>>()
        .join(" ")
}

fn is_debian() -> bool {
    process::succeeds(Command::new("dpkg-query").arg("--version"))
        && process::succeeds(Command::new("apt-get").arg("--version"))
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let text = "python3 installed\nnftables config-files\nvalgrind not-installed\niproute2 installed\n";
        assert_eq!(parse_installed(text), ["python3", "iproute2"]);
    }

    #[test]
    fn what_is_there_by_other_means_is_not_missing() {
        let there = need("no-such-package", "a test", &["true"]);
        let absent = need("no-such-package-either", "a test", &["no-such-program"]);
        assert_eq!(missing(&[there, absent]), [absent]);
    }

    #[test]
    fn the_line_to_run_names_every_package() {
        let line = install_line(&[PYTHON_VENV, NFTABLES]);
        assert!(
            line.ends_with("--no-install-recommends python3-venv nftables"),
            "{line}"
        );
    }
}

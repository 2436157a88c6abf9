//! `cargo xtask loom`: every order in which threads can meet.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Goes through every order in which the threads of a model can run, with loom.
///
/// The models are in `xtask/models`: what is lock-free in the sockets and tunnels, in the very sources of these. Who
/// changes something there runs this; it takes less than a minute.
#[derive(clap::Args)]
pub struct Args {
    /// Only models whose name contains this.
    filter: Option<String>,
    /// How many times a thread may be interrupted at most. All orders are gone through without.
    #[arg(long, value_name = "NUMBER")]
    max_preemptions: Option<u32>,
}

/// Runs the command.
///
/// # Errors
/// When a model fails. Loom tells which one, and the order of what happened with `LOOM_LOG=trace`.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut command = process::cargo();
    command
        // Ten times as quick as without optimization.
        .args(["test", "--quiet", "--locked", "--release", "--manifest-path"])
        .arg(workspace.root.join("xtask/models/Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace.target.join("loom"))
        .args(&args.filter);
    if let Some(number) = args.max_preemptions {
        command.env("LOOM_MAX_PREEMPTIONS", number.to_string());
    }
    process::run(&mut command)
}

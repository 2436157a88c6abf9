//! `cargo xtask loom`: the orders in which threads can meet.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Goes through the orders in which the threads of a model can run, with loom.
///
/// The models are in `xtask/models`: what is lock-free in sockets, tunnels and servers, in the very sources of these. Who
/// changes something there runs this; it takes less than a minute.
#[derive(clap::Args)]
pub struct Args {
    /// Only models whose name contains this.
    filter: Option<String>,
    /// How many times threads may be interrupted in an order that is gone through. Few faults need more than two; each
    /// further one takes many times as long.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    max_preemptions: u32,
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
        .args(&args.filter)
        .env("LOOM_MAX_PREEMPTIONS", args.max_preemptions.to_string());
    process::run(&mut command)
}

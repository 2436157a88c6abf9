//! `cargo xtask netlab`: several hosts on one machine, with the faults that networks have.

mod access;
mod check;
mod fault;
mod lab;
mod namespace;
mod probe;
mod ranks;
mod run;

use anyhow::Result;

pub use access::{Access, access, enter, is_inside};
pub use check::{check, check_if_possible};
pub use lab::Lab;

use crate::setup::{self, Need};

/// The system packages that a lab is made with. What else it uses is part of every Debian.
pub const NEEDS: [Need; 3] = [setup::IPROUTE, setup::NFTABLES, setup::ETHTOOL];

/// Several hosts on one machine, with the faults that networks have.
///
/// The hosts are network namespaces on one switch (a bridge). Loss, duplication, rate limits and partitions are rules
/// of the kernel. Delay and reordering are not offered: the kernels that this must run on lack `netem` and packet
/// queues for programs. The simulated network of the tests has both.
///
/// Works as root, and without where user namespaces are allowed. Nothing is left behind, however it ends.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    #[command(hide = true, subcommand)]
    Probe(probe::Probe),
}

/// Runs the command.
///
/// # Errors
/// What the command says.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Run(args) => {
            prepare()?;
            run::run(args)
        }
        Command::Check(args) => {
            // In a user namespace there is nothing to fetch dependencies from.
            if !is_inside() {
                ranks::build()?;
            }
            prepare()?;
            check(args.short)
        }
        Command::Probe(probe) => probe.run(),
    }
}

/// Installs what is missing where that is possible, and gets the right to make namespaces as [`enter`] does.
///
/// # Errors
/// When a system package is missing and cannot be installed, or no namespaces can be made.
pub fn prepare() -> Result<()> {
    // In a user namespace one only looks like root; what was missing was dealt with before.
    if !is_inside() {
        setup::ensure(&NEEDS)?;
    }
    enter()
}

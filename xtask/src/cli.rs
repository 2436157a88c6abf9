//! The command line of `cargo xtask`.

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::{bench, budget, ci, fuzz, interop, loom, miri, netlab, readme, setup, soak, tidy};

/// Development tasks of flexbond. `cargo xtask ci` is what a change must pass, here and on CI.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ci(ci::Args),
    Tidy(tidy::Args),
    Setup(setup::Args),
    Interop(interop::Args),
    Netlab(netlab::Args),
    Bench(bench::Args),
    Budget(budget::Args),
    Fuzz(fuzz::Args),
    Soak(soak::Args),
    Loom(loom::Args),
    Miri(miri::Args),
    Readme(readme::Args),
}

impl Cli {
    /// Runs the chosen command.
    ///
    /// # Errors
    /// What the command says.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Ci(args) => ci::run(&args),
            Command::Tidy(args) => tidy::run(&args),
            Command::Setup(args) => setup::run(&args),
            Command::Interop(args) => interop::run(&args),
            Command::Netlab(args) => netlab::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Budget(args) => budget::run(&args),
            Command::Fuzz(args) => fuzz::run(&args),
            Command::Soak(args) => soak::run(&args),
            Command::Loom(args) => loom::run(&args),
            Command::Miri(args) => miri::run(&args),
            Command::Readme(args) => readme::run(&args),
        }
    }

    /// The names of all commands.
    #[must_use]
    pub fn commands() -> Vec<String> {
        Cli::command()
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_explains_itself() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            assert!(
                command.get_about().is_some(),
                "{} says nothing about itself",
                command.get_name()
            );
        }
    }
}

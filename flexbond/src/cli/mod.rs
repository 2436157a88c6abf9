//! The command line: what `flexbond`, `m_stats` and `m_generate` do. Not part of the library's interface.

mod argument;
mod completions;
mod demo;
mod failure;
mod generate;
mod input;
mod interrupt;
mod line;
mod output;
mod pace;
mod quantity;
mod report;
mod socket;
mod stats;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Exit, Failure};

/// Sockets that speak ØMQ, data streams, and a look at what this machine does with them.
#[derive(Parser)]
#[command(name = "flexbond", version, max_term_width = 100, propagate_version = true)]
struct Flexbond {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Socket(Box<socket::SocketCommand>),
    Stats(stats::StatsCommand),
    Generate(generate::Generate),
    Completions(completions::Completions),
}

/// Shows how fast a data stream arrives.
#[derive(Parser)]
#[command(name = "m_stats", version, max_term_width = 100)]
struct MStats {
    #[command(flatten)]
    command: stats::StatsCommand,
}

/// Sends a data stream, to measure with.
#[derive(Parser)]
#[command(name = "m_generate", version, max_term_width = 100)]
struct MGenerate {
    #[command(flatten)]
    command: generate::Generate,
}

/// Runs the program `flexbond`.
#[must_use]
pub fn flexbond() -> ExitCode {
    let result = match Flexbond::parse().command {
        Command::Demo(command) => command.run(),
        Command::Socket(command) => command.run(),
        Command::Stats(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Completions(command) => command.run::<Flexbond>(),
    };
    finish("flexbond", result)
}

/// Runs the program `m_stats`.
#[must_use]
pub fn m_stats() -> ExitCode {
    finish("m_stats", MStats::parse().command.run())
}

/// Runs the program `m_generate`.
#[must_use]
pub fn m_generate() -> ExitCode {
    finish("m_generate", MGenerate::parse().command.run())
}

/// A runtime on the calling thread: for programs whose own work is small beside that of their connections.
fn current_thread() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start a runtime: {error}")))
}

fn finish(program: &str, result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(program);
            failure.exit().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Flexbond, MGenerate, MStats};

    #[test]
    fn the_arguments_are_consistent() {
        Flexbond::command().debug_assert();
        MStats::command().debug_assert();
        MGenerate::command().debug_assert();
    }
}

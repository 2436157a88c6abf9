//! The command line: what `flexbond`, `m_stats` and `m_generate` do. Not part of the library's interface.

mod argument;
mod completions;
mod demo;
mod failure;
mod generate;
mod group;
mod input;
mod interrupt;
mod launch;
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

/// Sockets that speak ØMQ, data streams, sessions of many members, and a look at what this machine does with them.
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
    Group(Box<group::GroupCommand>),
    Launch(launch::Launch),
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
    run("flexbond", |program: Flexbond| match program.command {
        Command::Demo(command) => command.run(),
        Command::Socket(command) => command.run(),
        Command::Stats(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Group(command) => command.run(),
        Command::Launch(command) => command.run(),
        Command::Completions(command) => command.run::<Flexbond>(),
    })
}

/// Runs the program `m_stats`.
#[must_use]
pub fn m_stats() -> ExitCode {
    run("m_stats", |program: MStats| program.command.run())
}

/// Runs the program `m_generate`.
#[must_use]
pub fn m_generate() -> ExitCode {
    run("m_generate", |program: MGenerate| program.command.run())
}

/// A runtime on the calling thread: for programs whose own work is small beside that of their connections.
fn current_thread() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start a runtime: {error}")))
}

/// A runtime on threads of its own: for programs that work with files, which no connection is to wait for.
fn beside_this_thread() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start a runtime: {error}")))
}

/// Parses the arguments, runs the program and says how it ended.
fn run<P: Parser>(program: &str, body: impl FnOnce(P) -> Result<Exit, Failure>) -> ExitCode {
    let result = match P::try_parse() {
        Ok(arguments) => body(arguments),
        // Help and version are output, not errors.
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            Ok(Exit::Done)
        }
        Err(error) => Err(Failure::usage(one_line(&error)).hint(format!("see {program} --help"))),
    };
    result.map_or_else(
        |failure| {
            failure.report(program);
            failure.exit().into()
        },
        ExitCode::from,
    )
}

/// clap's explanation without its usage lines.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    let words: Vec<&str> = text[..end.unwrap_or(text.len())].split_whitespace().collect();
    words.join(" ")
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

//! The command line: what `flexbond` and the programs called `m_…` do. Not part of the library's interface.

mod argument;
mod call;
mod carriage;
mod closing;
mod completions;
mod console;
mod contact;
mod demo;
mod descriptors;
mod dump;
mod failure;
mod federation;
mod gauge;
mod generate;
mod group;
mod input;
mod interrupt;
mod keygen;
mod launch;
mod line;
mod mark;
mod merge;
mod metrics;
mod mode;
mod output;
mod pace;
mod printable;
mod quantity;
mod record;
mod replay;
mod report;
mod serve;
mod socket;
mod source;
mod span;
mod split;
mod stats;
mod stderr;
mod summary;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use tokio::runtime::{Builder, Runtime};

use failure::{Exit, Failure};

/// Sockets that speak ØMQ, remote calls, data streams, sessions of many members, channels between federated parties, and
/// a look at what this machine does with them.
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
    Call(Box<call::CallCommand>),
    Stats(stats::StatsCommand),
    Generate(Box<generate::Generate>),
    Dump(Box<dump::Dump>),
    Replay(Box<replay::Replay>),
    Record(record::RecordCommand),
    Split(Box<split::SplitCommand>),
    Merge(Box<merge::MergeCommand>),
    Group(Box<group::GroupCommand>),
    Launch(launch::Launch),
    Serve(Box<serve::Serve>),
    Federation(federation::FederationCommand),
    Keygen(keygen::Keygen),
    Completions(completions::Completions),
}

#[derive(Parser)]
#[command(name = "m_stats", version, max_term_width = 100)]
struct MStats {
    #[command(flatten)]
    command: stats::StatsCommand,
}

#[derive(Parser)]
#[command(name = "m_generate", version, max_term_width = 100)]
struct MGenerate {
    #[command(flatten)]
    command: generate::Generate,
}

#[derive(Parser)]
#[command(name = "m_dump", version, max_term_width = 100)]
struct MDump {
    #[command(flatten)]
    command: dump::Dump,
}

#[derive(Parser)]
#[command(name = "m_replay", version, max_term_width = 100)]
struct MReplay {
    #[command(flatten)]
    command: replay::Replay,
}

#[derive(Parser)]
#[command(name = "m_split", version, max_term_width = 100)]
struct MSplit {
    #[command(flatten)]
    command: split::SplitCommand,
}

/// Runs the program `flexbond`.
#[must_use]
pub fn flexbond() -> ExitCode {
    run("flexbond", |program: Flexbond| match program.command {
        Command::Demo(command) => command.run(),
        Command::Socket(command) => command.run(),
        Command::Call(command) => command.run(),
        Command::Stats(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Dump(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Record(command) => command.run(),
        Command::Split(command) => command.run(),
        Command::Merge(command) => command.run(),
        Command::Group(command) => command.run(),
        Command::Launch(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Federation(command) => command.run(),
        Command::Keygen(command) => command.run(),
        Command::Completions(command) => command.run(arguments_of),
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

/// Runs the program `m_dump`.
#[must_use]
pub fn m_dump() -> ExitCode {
    run("m_dump", |program: MDump| program.command.run())
}

/// Runs the program `m_replay`.
#[must_use]
pub fn m_replay() -> ExitCode {
    run("m_replay", |program: MReplay| program.command.run())
}

/// Runs the program `m_split`.
#[must_use]
pub fn m_split() -> ExitCode {
    run("m_split", |program: MSplit| program.command.run())
}

/// What arguments the program of this name has.
fn arguments_of(program: &str) -> clap::Command {
    match program {
        "m_stats" => MStats::command(),
        "m_generate" => MGenerate::command(),
        "m_dump" => MDump::command(),
        "m_replay" => MReplay::command(),
        "m_split" => MSplit::command(),
        _ => Flexbond::command(),
    }
}

/// A runtime on the calling thread.
fn current_thread() -> Result<Runtime, Failure> {
    started(Builder::new_current_thread())
}

fn started(mut builder: Builder) -> Result<Runtime, Failure> {
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::new(format!("cannot start a runtime: {error}")))
}

/// Runs a program whose own work is small beside that of its connections: both on the calling thread.
fn with_connections(program: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    descriptors::raise();
    to_its_end(current_thread()?, program)
}

/// Runs a program that works with files or large texts, which its connections are not to wait for: they live on a thread
/// of their own.
fn beside_connections(program: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1);
    descriptors::raise();
    to_its_end(started(builder)?, program)
}

/// What is still under way then has had its time, and is not waited for.
fn to_its_end(
    runtime: Runtime,
    program: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let ended = runtime.block_on(program);
    runtime.shutdown_background();
    ended
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
    let exit = result.unwrap_or_else(|failure| {
        failure.report(program);
        failure.exit()
    });
    stderr::finish();
    exit.into()
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

    use super::{Flexbond, MDump, MGenerate, MReplay, MSplit, MStats};

    #[test]
    fn the_arguments_are_consistent() {
        Flexbond::command().debug_assert();
        MStats::command().debug_assert();
        MGenerate::command().debug_assert();
        MDump::command().debug_assert();
        MReplay::command().debug_assert();
        MSplit::command().debug_assert();
    }
}

//! `flexbond record`: what is in a recording, whether it is whole, and its arrays for other programs.

mod destination;
mod export;
mod info;

use clap::{Args, Subcommand};

use super::{Exit, Failure};

/// Look into recordings, check them, and export their arrays.
#[derive(Args)]
pub(crate) struct RecordCommand {
    #[command(subcommand)]
    command: Record,
}

#[derive(Subcommand)]
enum Record {
    Info(info::Look),
    Verify(info::Verify),
    Export(export::Export),
}

impl RecordCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        match &self.command {
            Record::Info(command) => command.run(),
            Record::Verify(command) => command.run(),
            Record::Export(command) => command.run(),
        }
    }
}

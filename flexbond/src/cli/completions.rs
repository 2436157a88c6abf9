//! `flexbond completions`: scripts that complete the command line.

use clap_complete::Shell;

use super::console;
use super::output::Stop;
use super::{Exit, Failure};

/// Print a script that completes the arguments of flexbond, or of one of the programs called m_….
///
/// For bash: `flexbond completions bash m_stats > ~/.local/share/bash-completion/completions/m_stats`
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,

    /// For which program
    #[arg(default_value = "flexbond", value_parser = NAMES)]
    program: String,
}

/// The programs there are.
const NAMES: [&str; 6] = [
    "flexbond",
    "m_stats",
    "m_generate",
    "m_dump",
    "m_replay",
    "m_split",
];

impl Completions {
    /// `command` says what arguments a program has.
    pub(crate) fn run(&self, command: impl FnOnce(&str) -> clap::Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut command(&self.program),
            &self.program,
            &mut script,
        );
        match console::print(&String::from_utf8_lossy(&script)) {
            Ok(()) | Err(Stop::ReaderGone) => Ok(Exit::Done),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }
}

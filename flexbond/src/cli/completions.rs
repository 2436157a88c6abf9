//! `flexbond completions`: scripts that complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Exit, Failure};

/// Print a script that completes flexbond's arguments.
///
/// For bash: `flexbond completions bash > ~/.local/share/bash-completion/completions/flexbond`
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run<P: CommandFactory>(&self) -> Result<Exit, Failure> {
        clap_complete::generate(self.shell, &mut P::command(), "flexbond", &mut std::io::stdout());
        Ok(Exit::Done)
    }
}

//! `m_replay`: `flexbond replay` under the name it has in mflow.

use std::process::ExitCode;

fn main() -> ExitCode {
    flexbond::cli::m_replay()
}

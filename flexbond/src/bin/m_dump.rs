//! `m_dump`: `flexbond dump` under the name it has in mflow.

use std::process::ExitCode;

fn main() -> ExitCode {
    flexbond::cli::m_dump()
}

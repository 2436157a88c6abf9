//! The program `flexbond`.

use std::process::ExitCode;

fn main() -> ExitCode {
    flexbond::cli::flexbond()
}

//! `cargo xtask miri`: undefined behaviour, looked for by an interpreter.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// Runs tests under miri, which finds undefined behaviour.
///
/// No crate of flexbond has `unsafe` code (the workspace forbids it), so what is found is in dependencies: the tests are
/// those of the parts that lean on them the most, frames, messages and pipes, the decoders of ZMTP and of groups. Needs
/// the nightly toolchain with the components miri and rust-src, and some minutes.
#[derive(clap::Args)]
pub struct Args {
    /// Only tests whose name contains this, of all packages that are looked at.
    filter: Option<String>,
}

/// The tests that are run, by package and module: without network, files and threads that take long there.
const TESTS: [(&str, &[&str]); 2] = [
    ("flexbond-transport", &["frame", "message", "pipe"]),
    (
        "flexbond-wire",
        &["zmtp::transmit", "zmtp::batch", "zmtp::metadata", "group::reader"],
    ),
];

/// Runs the command.
///
/// # Errors
/// When a test fails, or miri is not there; the message says what to install.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    if !process::succeeds(Command::new("cargo").args(["+nightly", "miri", "--version"])) {
        bail!(
            "miri is not there; install it and try again:\n    \
             rustup toolchain install nightly --profile minimal --component miri --component rust-src"
        );
    }
    for (package, modules) in TESTS {
        let mut command = Command::new("cargo");
        command
            .current_dir(&workspace.root)
            .args(["+nightly", "miri", "test", "--quiet", "--locked", "--lib"])
            .args(["--package", package, "--target-dir"])
            .arg(workspace.target.join("miri"))
            .arg("--");
        match &args.filter {
            Some(filter) => command.arg(filter),
            None => command.args(modules),
        };
        command
            // The interpreter is a thousand times slower, and property tests ask the clock and the file system.
            .env("PROPTEST_CASES", "2")
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .env_remove("RUSTDOC")
            .env_remove("RUSTUP_TOOLCHAIN");
        process::run(&mut command)?;
    }
    Ok(())
}

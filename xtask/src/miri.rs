//! `cargo xtask miri`: undefined behaviour, looked for by an interpreter.

use std::path::PathBuf;
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
    if let Some(missing) = missing() {
        bail!(
            "{missing}; install it and try again:\n    \
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
            .env("MIRIFLAGS", "-Zmiri-disable-isolation");
        process::run(nightly(&mut command))?;
    }
    Ok(())
}

/// What miri needs and is not there.
fn missing() -> Option<String> {
    let sysroot = match process::output(nightly(
        Command::new("rustc").args(["+nightly", "--print", "sysroot"]),
    )) {
        Ok(sysroot) => PathBuf::from(sysroot.trim()),
        Err(error) => return Some(format!("the toolchain `nightly` is not there ({error:#})")),
    };
    if !process::succeeds(nightly(Command::new("cargo").args([
        "+nightly",
        "miri",
        "--version",
    ]))) {
        return Some("the component `miri` of the toolchain `nightly` is not there".to_owned());
    }
    // Miri builds the standard library for itself.
    let library = sysroot.join("lib/rustlib/src/rust/library");
    (!library.is_dir()).then(|| format!("the component `rust-src` is not there: no {}", library.display()))
}

/// Without what the cargo that runs this has set for its own toolchain.
fn nightly(command: &mut Command) -> &mut Command {
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command
}

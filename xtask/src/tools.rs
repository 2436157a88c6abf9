//! Cargo subcommands that CI needs, installed from crates.io under the target folder when they are absent.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// One cargo subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The package, which is also the program's name: `cargo-deny`.
    pub package: &'static str,
    /// The version that is installed.
    pub version: &'static str,
}

/// Checks licences, sources and advisories of dependencies.
pub const DENY: Tool = Tool {
    package: "cargo-deny",
    version: "0.20.2",
};

impl Tool {
    /// Where the program is: on the search path, or under `target/tools`, where it is installed when it is absent.
    ///
    /// # Errors
    /// When it is absent and cannot be installed.
    pub fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        if process::succeeds(Command::new(self.package).arg("--version")) {
            return Ok(self.package.into());
        }
        let folder = workspace
            .target
            .join("tools")
            .join(format!("{}-{}", self.package, self.version));
        let program = folder.join("bin").join(self.package);
        if program.is_file() {
            return Ok(program);
        }
        eprintln!(
            "installing {} {} below the target folder, once",
            self.package, self.version
        );
        let started = Instant::now();
        let build = folder.join("build");
        process::run(
            process::cargo()
                // A debug build without debug information is there three times as soon, and quick enough.
                .args([
                    "install",
                    "--locked",
                    "--debug",
                    "--version",
                    self.version,
                    "--root",
                ])
                .arg(&folder)
                .arg("--target-dir")
                .arg(&build)
                .arg(self.package)
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env_remove("CARGO_TARGET_DIR")
                .env_remove("RUSTFLAGS"),
        )
        .with_context(|| format!("cannot install {}", self.package))?;
        eprintln!("installed in {:.0} s", started.elapsed().as_secs_f64());
        // Half a gigabyte that nobody needs again; not worth failing for.
        let _ = fs::remove_dir_all(build);
        Ok(program)
    }
}

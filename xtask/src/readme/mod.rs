//! `cargo xtask readme`: the README says what the code says.

mod commands;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cli::Cli;
use crate::process;
use crate::workspace::Workspace;

/// Brings README.md in step with the code: its Rust examples, its introduction, its commands.
///
/// A Rust block follows a comment `<!-- example: flexbond/examples/NAME.rs -->` and equals that file's part between
/// the lines `// [readme]` and `// [/readme]`. The part between `<!-- intro -->` and `<!-- /intro -->` equals the
/// part between the same markers in the docs of flexbond/src/lib.rs. Both are rewritten from the code; with --check
/// nothing is written, and a difference is an error. The commands in shell blocks must exist.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail when the README differs from the code.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// As with `--check`.
    #[must_use]
    pub fn checking() -> Self {
        Args { check: true }
    }
}

const README: &str = "README.md";
const FACADE: &str = "flexbond/src/lib.rs";

/// Runs the command.
///
/// # Errors
/// When the README differs (with `--check`), names an example or a command that does not exist, or has a Rust block
/// that is no example.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    let path = workspace.root.join(README);
    let before = read(&workspace.root, README)?;
    let intro = text::facade_intro(&read(&workspace.root, FACADE)?).context(FACADE)?;
    let after = text::rewritten(&before, &intro, |example| read(&workspace.root, example))?;
    check_commands(&workspace, &after)?;
    if before == after {
        println!("README.md is what the code says");
        return Ok(());
    }
    if args.check {
        let line = text::first_difference(&before, &after);
        bail!(
            "README.md:{line}: differs from the code from here on; run `cargo xtask readme` and commit the result"
        );
    }
    fs::write(&path, after).with_context(|| format!("cannot write {}", path.display()))?;
    println!("README.md was rewritten from the code");
    Ok(())
}

fn read(root: &Path, file: &str) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))
}

fn check_commands(workspace: &Workspace, readme: &str) -> Result<()> {
    let known = commands::Known {
        tasks: Cli::commands(),
        packages: workspace
            .packages
            .iter()
            .map(|package| package.name.clone())
            .collect(),
        programs: workspace
            .packages
            .iter()
            .flat_map(|package| &package.targets)
            .filter(|target| target.kind == "bin")
            .map(|target| target.name.clone())
            .collect(),
    };
    let mut asked = BTreeMap::new();
    let complaints = commands::check(readme, &known, |subcommand| {
        *asked
            .entry(subcommand.to_owned())
            .or_insert_with(|| flexbond_has(workspace, subcommand))
    });
    if !complaints.is_empty() {
        bail!(
            "README.md has commands that do not exist:\n{}",
            complaints.join("\n")
        );
    }
    Ok(())
}

fn flexbond_has(workspace: &Workspace, subcommand: &str) -> bool {
    process::succeeds(process::cargo().current_dir(&workspace.root).args([
        "run",
        "--quiet",
        "--package=flexbond",
        "--bin=flexbond",
        "--",
        subcommand,
        "--help",
    ]))
}

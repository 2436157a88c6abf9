//! `cargo xtask fuzz`: runs the fuzz targets of every crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{process, setup, tools};

/// Runs the fuzz targets (`*/fuzz/fuzz_targets/*.rs`), all of them or one.
///
/// Uses the nightly toolchain when it is installed, and else the stable one with RUSTC_BOOTSTRAP=1. cargo-fuzz is
/// installed from crates.io below the target folder when it is absent. Inputs that reach new code are kept below the
/// target folder; those of `FOLDER/fuzz/corpus/TARGET/` are read first. A crash leaves its input in
/// `FOLDER/fuzz/artifacts/TARGET/`, and the output says how to run it again.
#[derive(clap::Args)]
pub struct Args {
    /// Only this target.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time: u64,
    /// Only print the targets, one a line.
    #[arg(long)]
    list: bool,
}

/// A fuzz target: its name, and the fuzz folder that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuzzTarget {
    /// As given to `cargo fuzz run`.
    pub name: String,
    /// The folder with the fuzz crate's manifest.
    pub folder: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When a target finds something, or cannot be built.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    let mut targets = targets(&workspace.root)?;
    if let Some(name) = &args.target {
        targets.retain(|target| target.name == *name);
        if targets.is_empty() {
            bail!("no fuzz target is called {name}; `cargo xtask fuzz --list` prints those that exist");
        }
    }
    if args.list {
        for target in targets {
            println!("{}", target.name);
        }
        return Ok(());
    }
    if targets.is_empty() {
        bail!("there is no fuzz target in any */fuzz/fuzz_targets");
    }
    run_targets(&workspace, &targets, args.time)
}

/// The fuzz targets of all crates below `root`, by name.
///
/// # Errors
/// When a folder cannot be read.
pub fn targets(root: &Path) -> Result<Vec<FuzzTarget>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root)? {
        let folder = entry?.path().join("fuzz");
        if !folder.join("Cargo.toml").is_file() {
            continue;
        }
        let sources = folder.join("fuzz_targets");
        for source in fs::read_dir(&sources).with_context(|| format!("{}", sources.display()))? {
            let source = source?.path();
            if source.extension().is_some_and(|extension| extension == "rs") {
                let name = source
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                found.insert(name, folder.clone());
            }
        }
    }
    Ok(found
        .into_iter()
        .map(|(name, folder)| FuzzTarget { name, folder })
        .collect())
}

/// Builds `targets` and runs each for `seconds`; goes on after a target that found something.
///
/// # Errors
/// Names the targets that failed.
pub fn run_targets(workspace: &Workspace, targets: &[FuzzTarget], seconds: u64) -> Result<()> {
    setup::ensure(&[setup::CXX])?;
    let program = tools::FUZZ.ensure(workspace)?;
    let toolchain = Toolchain::choose();
    let mut failed = Vec::new();
    for target in targets {
        let mut command = toolchain.command(&program);
        command
            .current_dir(&workspace.root)
            .args(["fuzz", "run", "--fuzz-dir"])
            .arg(&target.folder)
            .arg("--target-dir")
            .arg(workspace.target.join("fuzz"))
            .arg(&target.name)
            .args(corpora(workspace, target)?)
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .args(["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"]);
        if let Err(error) = process::run(&mut command) {
            eprintln!("{error:#}");
            failed.push(target.name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("fuzz targets failed: {}", failed.join(", "));
    }
    println!(
        "{} fuzz targets ran for {seconds} s each and found nothing",
        targets.len()
    );
    Ok(())
}

/// Where inputs are kept: what is found goes below the target folder, and what the crate brings along is read.
fn corpora(workspace: &Workspace, target: &FuzzTarget) -> Result<Vec<PathBuf>> {
    let found = workspace.target.join("fuzz-corpus").join(&target.name);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let seeds = target.folder.join("corpus").join(&target.name);
    Ok(std::iter::once(found)
        .chain(seeds.is_dir().then_some(seeds))
        .collect())
}

/// What compiles fuzz targets: sanitizers and coverage need unstable compiler options.
enum Toolchain {
    Nightly,
    StableUnlocked,
}

impl Toolchain {
    fn choose() -> Self {
        if process::succeeds(Command::new("rustc").args(["+nightly", "--version"])) {
            Toolchain::Nightly
        } else {
            eprintln!("no nightly toolchain: the stable one is used, with RUSTC_BOOTSTRAP=1");
            Toolchain::StableUnlocked
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            // cargo-fuzz calls `cargo`; rustup's one obeys this variable.
            Toolchain::Nightly => command.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO"),
            Toolchain::StableUnlocked => command.env("RUSTC_BOOTSTRAP", "1"),
        };
        // Where the fuzz crate builds is said by --target-dir.
        command
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTC")
            .env_remove("RUSTDOC");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_all_crates_are_listed_by_name() {
        let root = tempfile::tempdir().unwrap();
        for (folder, sources) in [("wire", &["zmtp", "codec"][..]), ("rpc", &["envelope"])] {
            let fuzz = root.path().join(folder).join("fuzz");
            fs::create_dir_all(fuzz.join("fuzz_targets")).unwrap();
            fs::write(fuzz.join("Cargo.toml"), "").unwrap();
            fs::write(fuzz.join("fuzz_targets/notes.txt"), "").unwrap();
            for source in sources {
                fs::write(fuzz.join(format!("fuzz_targets/{source}.rs")), "").unwrap();
            }
        }
        fs::create_dir_all(root.path().join("stream")).unwrap();
        let names: Vec<String> = targets(root.path())
            .unwrap()
            .into_iter()
            .map(|t| t.name)
            .collect();
        assert_eq!(names, ["codec", "envelope", "zmtp"]);
    }
}

//! `cargo xtask fuzz`: builds and runs the fuzz targets of every crate.

mod build;
mod running;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::setup;
use crate::workspace::Workspace;
use running::Plan;

/// Runs the fuzz targets (`*/fuzz/fuzz_targets/*.rs`), all of them or some.
///
/// All targets are built at once, with the toolchain of the workspace (coverage needs RUSTC_BOOTSTRAP=1, which is set),
/// and run at the same time on as many processors as there are. Inputs that reach new code are kept in
/// `fuzz-corpus/TARGET/` below the target folder; those of `FOLDER/fuzz/corpus/TARGET/` are read first. A crash leaves
/// its input in `FOLDER/fuzz/artifacts/TARGET/`, and the output says how to run it again. The targets work with
/// cargo-fuzz, too.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only these targets.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time: u64,
    /// How many targets run at once; as many as there are processors, unless given.
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// What watches over memory. Nothing in flexbond is `unsafe`, so without one a run finds the same, twice as fast.
    #[arg(long, value_enum, default_value_t = Sanitizer::None)]
    sanitizer: Sanitizer,
    /// Builds without optimization, as CI does: there in half the time, and many times slower when it runs.
    #[arg(long)]
    quick: bool,
    /// Runs one target with this input alone, such as one that made it crash.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only print the targets, one a line.
    #[arg(long)]
    list: bool,
    /// Options of libFuzzer, such as -jobs=2 or -minimize_crash=1.
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// What the targets are built with besides coverage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sanitizer {
    /// None; the memory that a target may have is limited by the system.
    None,
    /// AddressSanitizer, for `unsafe` code of dependencies.
    Address,
}

impl Args {
    /// Every target for `seconds`, built quickly, as CI does it.
    #[must_use]
    pub fn smoke(seconds: u64) -> Self {
        Args {
            targets: Vec::new(),
            time: seconds,
            jobs: None,
            sanitizer: Sanitizer::None,
            quick: true,
            input: None,
            list: false,
            options: Vec::new(),
        }
    }
}

/// A fuzz target: its name, and the fuzz folder that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuzzTarget {
    /// The name of the program.
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
    let targets = chosen(targets(&workspace.root)?, &args.targets)?;
    if args.list {
        for target in targets {
            println!("{}", target.name);
        }
        return Ok(());
    }
    if args.input.is_some() && targets.len() != 1 {
        bail!("--input needs the one target that is to read it");
    }
    setup::ensure(&[setup::CXX])?;
    let programs = build::build(&workspace, &targets, args)?;
    Plan {
        workspace: &workspace,
        args,
        programs,
    }
    .run()
}

/// Those of `targets` that are named, or all.
fn chosen(mut targets: Vec<FuzzTarget>, names: &[String]) -> Result<Vec<FuzzTarget>> {
    for name in names {
        if targets.iter().all(|target| target.name != *name) {
            bail!("no fuzz target is called {name}; `cargo xtask fuzz --list` prints those that exist");
        }
    }
    targets.retain(|target| names.is_empty() || names.contains(&target.name));
    if targets.is_empty() {
        bail!("there is no fuzz target in any */fuzz/fuzz_targets");
    }
    Ok(targets)
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

    #[test]
    fn a_target_that_does_not_exist_is_named() {
        let there = ["codec", "group"].map(|name| FuzzTarget {
            name: name.to_owned(),
            folder: PathBuf::new(),
        });
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        assert_eq!(chosen(there.to_vec(), &[]).unwrap().len(), 2);
        assert_eq!(chosen(there.to_vec(), &names(&["group"])).unwrap(), there[1..]);
        let error = chosen(there.to_vec(), &names(&["group", "grup"])).unwrap_err();
        assert!(error.to_string().contains("called grup"), "{error}");
    }
}

//! Building fuzz targets: cargo does it, told to watch which code runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Args, FuzzTarget, Sanitizer};
use crate::process;
use crate::workspace::Workspace;

/// What libFuzzer needs to see of the code that runs (the flags of cargo-fuzz).
const COVERAGE: &str = "--cfg=fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// A target and its program.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) target: FuzzTarget,
    pub(super) path: PathBuf,
}

/// Builds `targets`, those of one crate at once.
pub(super) fn build(workspace: &Workspace, targets: &[FuzzTarget], args: &Args) -> Result<Vec<Program>> {
    let host = host()?;
    if args.sanitizer == Sanitizer::Address {
        check_sanitizer(&libraries(&host)?)?;
    }
    let folder = workspace.target.join("fuzz").join(match args.sanitizer {
        Sanitizer::None => "plain",
        Sanitizer::Address => "address",
    });
    let mut rest = targets;
    while let Some(first) = rest.first() {
        // Sorted by name, crates may alternate; cargo is quick when there is nothing left to build.
        let of_one = rest
            .iter()
            .take_while(|target| target.folder == first.folder)
            .count();
        let (now, later) = rest.split_at(of_one);
        process::run(&mut command(now, args, &host, &folder))?;
        rest = later;
    }
    let programs = folder
        .join(&host)
        .join(if args.quick { "debug" } else { "release" });
    Ok(targets
        .iter()
        .map(|target| Program {
            target: target.clone(),
            path: programs.join(&target.name),
        })
        .collect())
}

fn command(targets: &[FuzzTarget], args: &Args, host: &str, folder: &Path) -> Command {
    let mut flags = COVERAGE.to_owned();
    if args.sanitizer == Sanitizer::Address {
        flags.push_str(" -Zsanitizer=address");
    }
    let mut command = process::cargo();
    command
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(targets[0].folder.join("Cargo.toml"))
        // With a target named, the flags are not for build scripts and macros.
        .args(["--target", host, "--target-dir"])
        .arg(folder)
        .args(targets.iter().flat_map(|target| ["--bin", &target.name]))
        .env("RUSTFLAGS", flags)
        // Coverage and sanitizers are unstable options of the compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !args.quick {
        command.arg("--release");
    }
    command
}

/// Where the compiler has its libraries for `host`.
fn libraries(host: &str) -> Result<PathBuf> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host)
        .join("lib"))
}

/// The runtime of AddressSanitizer comes with the compiler, for some platforms.
fn check_sanitizer(libraries: &Path) -> Result<()> {
    let files = fs::read_dir(libraries).with_context(|| format!("cannot read {}", libraries.display()))?;
    let is_there = files.flatten().any(|file| {
        let name = file.file_name();
        name.to_string_lossy().contains("_rt.asan")
    });
    if !is_there {
        bail!(
            "this toolchain has no AddressSanitizer for this platform: there is no librustc-*_rt.asan in {}",
            libraries.display()
        );
    }
    Ok(())
}

/// The platform that this is, as the compiler calls it.
fn host() -> Result<String> {
    let about = process::output(Command::new("rustc").arg("-vV"))?;
    about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("`rustc -vV` does not tell its host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_without_the_sanitizer_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_sanitizer(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no AddressSanitizer"), "{error}");
        fs::write(folder.path().join("librustc-stable_rt.asan.a"), "").unwrap();
        check_sanitizer(folder.path()).unwrap();
    }

    #[test]
    fn the_targets_of_a_crate_are_built_at_once_and_watched() {
        let target = |name: &str| FuzzTarget {
            name: name.to_owned(),
            folder: PathBuf::from("wire/fuzz"),
        };
        let built = command(
            &[target("codec"), target("group")],
            &Args {
                sanitizer: Sanitizer::Address,
                ..Args::smoke(1)
            },
            "h",
            Path::new("t"),
        );
        let shown = process::shown(&built);
        assert!(
            shown.ends_with("--target h --target-dir t --bin codec --bin group"),
            "{shown}"
        );
        let flags = built
            .get_envs()
            .find_map(|(name, value)| (name == "RUSTFLAGS").then_some(value?))
            .unwrap();
        let flags = flags.to_string_lossy();
        assert!(
            flags.contains("sancov-module") && flags.ends_with("-Zsanitizer=address"),
            "{flags}"
        );
    }
}

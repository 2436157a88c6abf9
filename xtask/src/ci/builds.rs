//! Steps that compile, and run nothing.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::Run;
use super::steps::outside_manifests;
use crate::process::{self, cargo};
use crate::workspace::Package;

pub(super) fn fmt(run: &mut Run) -> Result<()> {
    let mut failed = process::run(
        cargo()
            .current_dir(&run.workspace.root)
            .args(["fmt", "--all", "--check"]),
    )
    .is_err();
    for manifest in outside_manifests(run)? {
        failed |= process::run(cargo().args(["fmt", "--check", "--manifest-path"]).arg(manifest)).is_err();
    }
    if failed {
        bail!("the sources are not formatted; run `cargo fmt --all` and commit the result");
    }
    Ok(())
}

pub(super) fn clippy(run: &mut Run) -> Result<()> {
    let mut failed = Vec::new();
    for package in &run.workspace.packages {
        for features in lint_sets(package) {
            let mut command = cargo();
            command
                .current_dir(&run.workspace.root)
                .args(["clippy", "--quiet", "--locked", "--package", &package.name])
                .args(*features)
                .args(["--", "--deny=warnings"]);
            if process::run(&mut command).is_err() {
                failed.push(format!("{} {}", package.name, features.join(" ")));
            }
        }
    }
    if !failed.is_empty() {
        bail!("clippy complains about {}", failed.join("; "));
    }
    Ok(())
}

/// The different sets of features that a package is linted with.
fn lint_sets(package: &Package) -> &'static [&'static [&'static str]] {
    if package.features.is_empty() {
        &[&["--all-targets"]]
    } else if package.own_features().next().is_some() {
        &[
            &["--no-default-features"],
            &["--all-targets"],
            &["--all-features", "--all-targets"],
        ]
    } else {
        &[&["--all-features", "--all-targets"]]
    }
}

pub(super) fn doc(run: &mut Run) -> Result<()> {
    process::run(
        cargo()
            .current_dir(&run.workspace.root)
            .env("RUSTDOCFLAGS", "--deny=warnings")
            .args(["doc", "--quiet", "--locked", "--workspace", "--no-deps"]),
    )
}

pub(super) fn examples(run: &mut Run) -> Result<()> {
    process::run(
        cargo()
            .current_dir(&run.workspace.root)
            .args([
                "build",
                "--quiet",
                "--locked",
                "--workspace",
                "--examples",
                "--features",
            ])
            .arg(run.workspace.all_features()),
    )
}

pub(super) fn package(run: &mut Run) -> Result<()> {
    let folder = run.workspace.target.join("packed");
    forget_packed(run, &folder)?;
    let mut command = cargo();
    command
        .current_dir(&run.workspace.root)
        // What is packed is the working tree, committed or not: the step is for the manifests and the file lists.
        .args(["package", "--quiet", "--locked", "--workspace", "--allow-dirty"])
        .arg("--target-dir")
        .arg(&folder);
    let kept_back = run
        .workspace
        .packages
        .iter()
        .filter(|package| !package.publishable);
    command.args(kept_back.flat_map(|package| ["--exclude", &package.name]));
    process::run(&mut command)?;
    for package in run.workspace.publishable() {
        println!("packed and built {}", package.name);
    }
    Ok(())
}

/// Removes what an earlier run has packed and built in `folder`. Cargo takes a version of a packed crate for
/// unchangeable: packed in the same folder once more, a changed crate would be built against the old others.
fn forget_packed(run: &Run, folder: &Path) -> Result<()> {
    let mut stale = vec![folder.to_owned()];
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    if let Some(sources) = home.map(|home| home.join("registry").join("src"))
        && let Ok(registries) = fs::read_dir(sources)
    {
        // The name of a registry on the network begins with its host; the one of a folder has none.
        let local = registries
            .filter_map(Result::ok)
            .filter(|registry| registry.file_name().to_string_lossy().starts_with('-'));
        for registry in local {
            let folders = fs::read_dir(registry.path()).into_iter().flatten();
            stale.extend(
                folders
                    .filter_map(Result::ok)
                    .map(|folder| folder.path())
                    .filter(|folder| {
                        run.workspace
                            .publishable()
                            .any(|package| is_packed(folder, &package.name))
                    }),
            );
        }
    }
    for folder in stale.into_iter().filter(|folder| folder.is_dir()) {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Whether the folder's name is that of some version of a package.
fn is_packed(folder: &Path, name: &str) -> bool {
    let version = folder
        .file_name()
        .and_then(|file| file.to_str()?.strip_prefix(name)?.strip_prefix('-'));
    version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn only_versions_of_the_very_package_are_stale() {
        for (folder, stale) in [
            ("flexbond-0.1.0", true),
            ("flexbond-0.2.0-rc.1", true),
            ("flexbond-wire-0.1.0", false),
            ("flexbond", false),
            ("serde-1.0.0", false),
        ] {
            assert_eq!(
                is_packed(Path::new("src").join(folder).as_path(), "flexbond"),
                stale,
                "{folder}"
            );
        }
    }

    #[test]
    fn a_package_is_linted_once_per_different_set() {
        let sets = |features: &[&str]| {
            lint_sets(&Package {
                features: features.iter().map(|feature| (*feature).to_owned()).collect(),
                ..Package::default()
            })
            .len()
        };
        assert_eq!(sets(&[]), 1);
        assert_eq!(sets(&["interop-tests"]), 1);
        assert_eq!(sets(&["default", "tcp"]), 3);
    }
}

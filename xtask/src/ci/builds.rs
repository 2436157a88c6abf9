//! Steps that compile, and run nothing.

use std::fs;
use std::process::Command;

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

/// Everything with all features; then each package alone with none of its own, where dead code shows, and with each
/// single one, where what it forgot to ask for does.
pub(super) fn clippy(run: &mut Run) -> Result<()> {
    let all = run.workspace.all_features();
    let whole = ["--workspace", "--all-targets", "--features", &all].map(str::to_owned);
    let alone = run.workspace.publishable().flat_map(feature_sets);
    let mut failed = Vec::new();
    for what in std::iter::once(whole.to_vec()).chain(alone) {
        let mut command = cargo();
        command
            .current_dir(&run.workspace.root)
            .args(["clippy", "--quiet", "--locked"])
            .args(&what)
            .args(["--", "--deny=warnings"]);
        if let Err(error) = process::run(&mut command) {
            failed.push(format!("{error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!("clippy complains:\n{}", failed.join("\n"));
    }
    Ok(())
}

/// The sets of its own features that a package is linted with alone, as cargo takes them.
fn feature_sets(package: &Package) -> Vec<Vec<String>> {
    let none = ["--package", &package.name, "--no-default-features"].map(str::to_owned);
    let single = package.own_features().map(|feature| {
        let mut set = none.to_vec();
        set.extend(["--features".to_owned(), feature.clone()]);
        set
    });
    std::iter::once(none.to_vec()).chain(single).collect()
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

/// Packs every crate, and builds all of them from what was packed. Cargo's own check of that compiles the dependencies
/// once more for each crate: five minutes, where this takes less than one.
pub(super) fn package(run: &mut Run) -> Result<()> {
    let folder = run.workspace.target.join("packed");
    if folder.is_dir() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let mut command = cargo();
    command
        .current_dir(&run.workspace.root)
        // What is packed is the working tree, committed or not: the step is for the manifests and the file lists.
        .args([
            "package",
            "--quiet",
            "--locked",
            "--workspace",
            "--allow-dirty",
            "--no-verify",
        ])
        .arg("--target-dir")
        .arg(&folder);
    let kept_back = run
        .workspace
        .packages
        .iter()
        .filter(|package| !package.publishable);
    command.args(kept_back.flat_map(|package| ["--exclude", &package.name]));
    process::run(&mut command)?;
    let unpacked = folder.join("unpacked");
    fs::create_dir(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
    let mut manifest =
        String::from("[workspace]\nresolver = \"3\"\nmembers = [\"flexbond*\"]\n\n[patch.crates-io]\n");
    for package in run.workspace.publishable() {
        let name = format!("{}-{}", package.name, package.version);
        let file = folder.join("package").join(format!("{name}.crate"));
        process::run(
            Command::new("tar")
                .arg("-xzf")
                .arg(&file)
                .arg("-C")
                .arg(&unpacked),
        )?;
        manifest.push_str(&format!("{} = {{ path = {name:?} }}\n", package.name));
    }
    manifest.push_str(&profiles(&fs::read_to_string(
        run.workspace.root.join("Cargo.toml"),
    )?)?);
    fs::write(unpacked.join("Cargo.toml"), manifest)?;
    // The same versions of the dependencies; cargo leaves out what the tools alone need.
    fs::copy(run.workspace.root.join("Cargo.lock"), unpacked.join("Cargo.lock"))?;
    process::run(
        cargo()
            .current_dir(&unpacked)
            .args(["check", "--quiet", "--workspace", "--target-dir"])
            .arg(&run.workspace.target),
    )?;
    for package in run.workspace.publishable() {
        println!("packed and built {}", package.name);
    }
    Ok(())
}

/// The profiles of a manifest. With the workspace's own, packed crates share what is compiled of their dependencies.
fn profiles(manifest: &str) -> Result<String> {
    let mut manifest: toml::Table = manifest.parse().context("the root manifest is not TOML")?;
    manifest.retain(|name, _| name == "profile");
    Ok(format!("\n{}", toml::to_string(&manifest)?))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn profiles_are_taken_from_a_manifest() {
        let text = "[workspace]\nmembers = []\n[profile.dev.package.\"*\"]\ndebug = false\n";
        assert_eq!(
            profiles(text).unwrap().trim(),
            "[profile.dev.package.\"*\"]\ndebug = false"
        );
        assert!(profiles("[").is_err());
    }

    #[test]
    fn a_package_is_linted_with_no_and_each_single_feature() {
        let package = Package {
            name: "a".to_owned(),
            features: ["default", "interop-tests", "ipc", "tcp"]
                .map(str::to_owned)
                .to_vec(),
            ..Package::default()
        };
        let sets: Vec<String> = feature_sets(&package).iter().map(|set| set.join(" ")).collect();
        let none = "--package a --no-default-features";
        assert_eq!(
            sets,
            [
                none.to_owned(),
                format!("{none} --features ipc"),
                format!("{none} --features tcp")
            ]
        );
    }
}

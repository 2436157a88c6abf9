//! The programs under test, built as developers build them.

use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Where the programs under test are.
pub(super) struct Programs {
    /// `flexbond`.
    pub(super) flexbond: PathBuf,
    /// The example of flexbond-rpc that serves small functions.
    pub(super) calculator: PathBuf,
    /// The example of flexbond-collectives that keeps a ledger of what another party sends it.
    pub(super) ledger: PathBuf,
    /// A folder of this command's own.
    pub(super) scratch: PathBuf,
}

/// Builds them without optimisation: it takes a tenth of the time, and leaks as well.
///
/// # Errors
/// When one does not build.
pub(super) fn programs(workspace: &Workspace) -> Result<Programs> {
    build(workspace, &["--package", "flexbond", "--bin", "flexbond"])?;
    build(
        workspace,
        &[
            "--package",
            "flexbond-rpc",
            "--example",
            "calculator",
            "--all-features",
        ],
    )?;
    build(
        workspace,
        &[
            "--package",
            "flexbond-collectives",
            "--example",
            "ledger",
            "--all-features",
        ],
    )?;
    let built = workspace.target.join("debug");
    Ok(Programs {
        flexbond: built.join(format!("flexbond{}", std::env::consts::EXE_SUFFIX)),
        calculator: built.join(format!("examples/calculator{}", std::env::consts::EXE_SUFFIX)),
        ledger: built.join(format!("examples/ledger{}", std::env::consts::EXE_SUFFIX)),
        scratch: workspace.target.join("soak"),
    })
}

fn build(workspace: &Workspace, what: &[&str]) -> Result<()> {
    process::run(
        process::cargo()
            .arg("build")
            .args(what)
            .arg("--manifest-path")
            .arg(workspace.root.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&workspace.target),
    )
}

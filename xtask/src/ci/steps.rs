//! The steps of CI, in order: what fails soonest comes first.

use std::fs;

use anyhow::{Context, Result};

use super::{Run, builds, tests};
use crate::{budget, fuzz, interop, netlab, process, readme, setup, tidy, tools};

/// One step of CI.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) run: fn(&mut Run) -> Result<()>,
}

pub(super) const STEPS: [Step; 16] = [
    Step {
        name: "setup",
        what: "system packages are there",
        run: |_| setup::ensure(&setup::ALL),
    },
    Step {
        name: "fmt",
        what: "rustfmt changes nothing",
        run: builds::fmt,
    },
    Step {
        name: "tidy",
        what: "the rules of the source tree hold",
        run: tidy_tree,
    },
    Step {
        name: "clippy",
        what: "no warning with all features together, nor in any package with none or a single one",
        run: builds::clippy,
    },
    Step {
        name: "test",
        what: "unit and integration tests of the workspace, with all features",
        run: tests::workspace,
    },
    Step {
        name: "doctest",
        what: "examples in the docs",
        run: tests::docs,
    },
    Step {
        name: "bare",
        what: "each package passes its tests without its features",
        run: tests::bare,
    },
    Step {
        name: "doc",
        what: "the docs build without warnings",
        run: builds::doc,
    },
    Step {
        name: "examples",
        what: "the examples build",
        run: builds::examples,
    },
    Step {
        name: "readme",
        what: "the README says what the code says",
        run: |_| readme::run(&readme::Args::checking()),
    },
    Step {
        name: "interop",
        what: "tests against real pyzmq and Python mflow",
        run: interop_tests,
    },
    Step {
        name: "netlab",
        what: "the network lab connects hosts and commits the faults that it is told to",
        run: network_lab,
    },
    Step {
        name: "package",
        what: "every crate can be published, and builds from what would be",
        run: builds::package,
    },
    Step {
        name: "budget",
        what: "a message costs no more instructions than it may",
        run: instructions,
    },
    Step {
        name: "deny",
        what: "licences, sources, bans and advisories of the dependencies",
        run: deny,
    },
    Step {
        name: "fuzz",
        what: "every fuzz target runs for a few seconds",
        run: fuzz_smoke,
    },
];

/// How long each fuzz target runs; as many run at once as there are processors.
const FUZZ_SECONDS: u64 = 2;

fn tidy_tree(_: &mut Run) -> Result<()> {
    tidy::run(&tidy::Args {})
}

fn interop_tests(run: &mut Run) -> Result<()> {
    let python = interop::python(&run.workspace)?;
    let lines = interop::run_tests(&run.workspace, &python, None, &[])?;
    run.closing.extend(lines);
    Ok(())
}

fn network_lab(run: &mut Run) -> Result<()> {
    let notice = netlab::check_if_possible()?;
    run.notices.extend(notice);
    Ok(())
}

fn instructions(run: &mut Run) -> Result<()> {
    let notice = budget::check_if_possible(&run.workspace)?;
    run.notices.extend(notice);
    Ok(())
}

fn deny(run: &mut Run) -> Result<()> {
    let program = tools::DENY.ensure(&run.workspace)?;
    let deny = || {
        let mut command = std::process::Command::new(&program);
        command
            .current_dir(&run.workspace.root)
            .args(["deny", "--locked"]);
        command
    };
    process::run(deny().args(["check", "licenses", "bans", "sources"]))?;
    // The database of advisories is a git repository, which a closed network does not reach.
    if let Err(error) = process::run(deny().args(["fetch", "db"])) {
        eprintln!("{error:#}");
        run.notices
            .push("advisories were NOT checked: the database of RustSec cannot be had here".to_owned());
        return Ok(());
    }
    process::run(deny().args(["check", "--disable-fetch", "advisories"]))
}

fn fuzz_smoke(_: &mut Run) -> Result<()> {
    fuzz::run(&fuzz::Args::smoke(FUZZ_SECONDS))
}

/// The manifests of crates below the root that are no members: fuzz crates, and the models.
pub(super) fn outside_manifests(run: &Run) -> Result<Vec<std::path::PathBuf>> {
    let mut found = vec![run.workspace.root.join("xtask/models/Cargo.toml")];
    for entry in fs::read_dir(&run.workspace.root).context("cannot read the workspace's folder")? {
        let manifest = entry?.path().join("fuzz").join("Cargo.toml");
        if manifest.is_file() {
            found.push(manifest);
        }
    }
    found.sort();
    Ok(found)
}

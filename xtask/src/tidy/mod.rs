//! `cargo xtask tidy`: the rules of the source tree that the compiler does not know.

mod code;
mod layers;
mod machine;
mod manifest;
mod source;
mod tree;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// Checks the rules of the source tree that the compiler does not know.
///
/// Layering, top-level folders, file sizes and first lines, manifests, traces of a machine, leftovers, and safety
/// comments. Every finding says what to do.
///
/// Files that git ignores are not looked at; new files are, before they are added.
#[derive(clap::Args)]
pub struct Args {}

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the workspace's root.
    pub file: String,
    /// The line, counted from one; 1 also for what concerns the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding {
            file: file.to_owned(),
            line,
            what: what.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line, self.what, self.advice)
    }
}

/// Runs the command.
///
/// # Errors
/// When there is a finding, or the tree cannot be read.
pub fn run(_: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    let (findings, files) = check(&workspace)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings in {files} files", findings.len());
    }
    println!("tidy: {files} files, no finding");
    Ok(())
}

/// All findings, sorted by file and line, and how many files were looked at.
///
/// # Errors
/// When the tree cannot be read.
pub fn check(workspace: &Workspace) -> Result<(Vec<Finding>, usize)> {
    let files = tree::files(&workspace.root)?;
    let mut findings = layers::check(workspace);
    findings.extend(tree::check(&workspace.root, &files));
    findings.extend(manifest::check_packages(workspace, &files));
    for file in &files {
        let Some(text) = tree::read_text(&workspace.root, file)? else {
            continue;
        };
        findings.extend(machine::check(file, &text));
        if file.ends_with(".rs") {
            findings.extend(source::check(file, &text));
        }
        if workspace
            .packages
            .iter()
            .any(|package| format!("{}/Cargo.toml", package.folder) == *file)
        {
            findings.extend(manifest::check(file, &text));
        }
    }
    findings.sort();
    Ok((findings, files.len()))
}

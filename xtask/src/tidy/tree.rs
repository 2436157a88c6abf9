//! Which files there are, and where they may be.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Finding;
use crate::process;

const FOLDERS: [&str; 8] = [
    "transport",
    "wire",
    "session",
    "collectives",
    "rpc",
    "stream",
    "flexbond",
    "xtask",
];

// Module names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "types", "manager", "helpers", "helper"];

/// All files that git tracks or would track, relative to `root`, sorted.
pub(super) fn files(root: &Path) -> Result<Vec<String>> {
    let listed = process::output(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]));
    let files: BTreeSet<String> = match listed {
        Ok(text) => text
            .split('\0')
            .filter(|file| !file.is_empty())
            .map(str::to_owned)
            .collect(),
        // A source archive has no git; what it holds was tracked.
        Err(_) => {
            let mut found = BTreeSet::new();
            walk(root, "", &mut found)?;
            found
        }
    };
    Ok(files
        .into_iter()
        .filter(|file| root.join(file).is_file())
        .collect())
}

fn walk(root: &Path, folder: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let path = root.join(folder);
    for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let relative = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        if !entry.file_type()?.is_dir() {
            found.insert(relative);
        } else if name != "target" && name != ".git" {
            walk(root, &relative, found)?;
        }
    }
    Ok(())
}

/// The content of `file` when it is text; `None` for other files, and for one that was removed meanwhile.
pub(super) fn read_text(root: &Path, file: &str) -> Result<Option<String>> {
    match fs::read(root.join(file)) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {file}")),
    }
}

pub(super) fn check(root: &Path, files: &[String]) -> Vec<Finding> {
    let mut findings = check_names(files);
    let in_git = process::succeeds(
        Command::new("git")
            .current_dir(root)
            .args(["rev-parse", "--git-dir"]),
    );
    let committed = process::succeeds(Command::new("git").current_dir(root).args([
        "ls-files",
        "--error-unmatch",
        "Cargo.lock",
    ]));
    if in_git && !committed {
        findings.push(Finding::new(
            "Cargo.lock",
            1,
            "the lock file is not committed",
            "run `git add Cargo.lock`: everybody builds the same versions",
        ));
    }
    findings
}

fn check_names(files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut strangers = BTreeSet::new();
    for file in files {
        let parts: Vec<&str> = file.split('/').collect();
        if let [top, _, ..] = parts[..]
            && !top.starts_with('.')
            && !FOLDERS.contains(&top)
            && strangers.insert(top)
        {
            findings.push(Finding::new(
                file,
                1,
                format!("`{top}/` is not one of the agreed top-level folders"),
                format!("move it into one of {}", FOLDERS.join(", ")),
            ));
        }
        let Some(stem) = file.strip_suffix(".rs") else {
            continue;
        };
        if let Some(name) = stem.split('/').find(|name| EMPTY_NAMES.contains(name)) {
            findings.push(Finding::new(
                file,
                1,
                format!("a module is called `{name}`"),
                "name it after the one thing that it holds",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> Vec<String> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        check_names(&files)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn agreed_places_pass() {
        let files = [
            "Cargo.toml",
            ".ci/run",
            "wire/src/zmtp/frame.rs",
            "session/tests/interop_req.rs",
        ];
        assert!(found(&files).is_empty());
    }

    #[test]
    fn a_stranger_is_found_once() {
        assert_eq!(
            found(&["docs/a.md", "docs/b.md", "wire/src/lib.rs"]),
            ["`docs/` is not one of the agreed top-level folders"]
        );
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(found(&["wire/src/utils.rs"]), ["a module is called `utils`"]);
        assert_eq!(
            found(&["wire/tests/common/mod.rs"]),
            ["a module is called `common`"]
        );
        assert_eq!(found(&["wire/src/type_names.rs"]), Vec::<String>::new());
    }

    #[test]
    fn a_folder_without_git_is_walked() {
        let root = tempfile::tempdir().unwrap();
        for file in ["wire/src/lib.rs", "target/debug/x", "Cargo.toml"] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let mut found = BTreeSet::new();
        walk(root.path(), "", &mut found).unwrap();
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["Cargo.toml", "wire/src/lib.rs"]
        );
    }

    #[test]
    fn binary_files_are_not_text() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), b"\xff\x00").unwrap();
        fs::write(root.path().join("b"), "text").unwrap();
        assert_eq!(read_text(root.path(), "a").unwrap(), None);
        assert_eq!(read_text(root.path(), "b").unwrap().as_deref(), Some("text"));
        assert_eq!(read_text(root.path(), "gone").unwrap(), None);
    }
}

//! Rules about the crates' manifests.

use toml::{Table, Value};

use super::Finding;
use crate::workspace::{METADATA, Workspace};

const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Whether a crate tells the reader of a registry what it is.
pub(super) fn check_packages(workspace: &Workspace, files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        if package.publishable {
            for field in METADATA
                .into_iter()
                .filter(|field| !package.metadata.contains(field))
            {
                findings.push(Finding::new(
                    &manifest,
                    1,
                    format!("`{field}` is not set"),
                    "fill it in under [package]; the registry shows it",
                ));
            }
        }
        let readme = format!("{}/README.md", package.folder);
        if !files.contains(&readme) {
            findings.push(Finding::new(
                &readme,
                1,
                format!("`{}` has no README.md", package.name),
                "write what it is, an example and the licence",
            ));
        }
    }
    findings
}

/// Versions and lints are said once, in the root manifest.
pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(file, 1, format!("not TOML: {error}"), "correct it")],
    };
    let mut findings = Vec::new();
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if lints != Some(&Value::Boolean(true)) {
        findings.push(Finding::new(
            file,
            1,
            "the workspace's lints are not used",
            "add `[lints]` with `workspace = true`",
        ));
    }
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table)
        .chain([&manifest]);
    for table in tables {
        for name in TABLES {
            let Some(dependencies) = table.get(name).and_then(Value::as_table) else {
                continue;
            };
            let belongs = |value| is_inherited(value) || name == "dev-dependencies" && is_only_a_path(value);
            let strays = dependencies.iter().filter(|(_, value)| !belongs(value));
            findings.extend(strays.map(|(name, _)| {
                Finding::new(
                    file,
                    line_of(text, name),
                    format!("`{name}` does not come from the workspace"),
                    "put its version into [workspace.dependencies] and say `workspace = true` here",
                )
            }));
        }
    }
    findings
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace") == Some(&Value::Boolean(true))
}

/// Cargo leaves such a dependency of tests out of what it publishes, so that a crate's tests may use one above it.
fn is_only_a_path(value: &Value) -> bool {
    value.get("path").is_some() && value.get("version").is_none()
}

fn line_of(text: &str, name: &str) -> usize {
    text.lines()
        .position(|line| line.trim_start().trim_start_matches('"').starts_with(name))
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Package;

    const GOOD: &str = "[package]\nname = \"a\"\n[lints]\nworkspace = true\n[dependencies]\n\
                        bytes.workspace = true\ntokio = { workspace = true, features = [\"rt\"] }\n";

    #[test]
    fn inherited_dependencies_pass() {
        assert_eq!(check("a/Cargo.toml", GOOD), []);
    }

    #[test]
    fn a_version_in_a_crate_is_found_in_every_table() {
        for table in [
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            for entry in [
                "serde = \"1\"",
                "serde = { version = \"1\" }",
                "serde = { path = \"../serde\", version = \"1\" }",
            ] {
                let findings = check("a/Cargo.toml", &format!("{GOOD}[{table}]\n{entry}\n"));
                assert_eq!(findings.len(), 1, "{table}: {entry}");
                assert_eq!(findings[0].line, 9);
            }
        }
    }

    #[test]
    fn a_path_alone_is_for_tests_only() {
        for (table, found) in [
            ("dependencies", 1),
            ("dev-dependencies", 0),
            ("build-dependencies", 1),
        ] {
            let text = format!("[lints]\nworkspace = true\n[{table}]\nserde = {{ path = \"../serde\" }}\n");
            assert_eq!(check("a/Cargo.toml", &text).len(), found, "{table}");
        }
    }

    #[test]
    fn missing_lints_are_found() {
        assert_eq!(check("a/Cargo.toml", "[package]\nname = \"a\"\n").len(), 1);
        assert_eq!(check("a/Cargo.toml", "[package\n").len(), 1);
    }

    #[test]
    fn missing_metadata_and_readme_are_found() {
        let package = Package {
            name: "a".to_owned(),
            folder: "a".to_owned(),
            publishable: true,
            metadata: vec![
                "description",
                "license",
                "keywords",
                "categories",
                "documentation",
            ],
            ..Package::default()
        };
        let mut workspace = Workspace {
            root: PathBuf::new(),
            target: PathBuf::new(),
            packages: vec![package],
        };
        let found = check_packages(&workspace, &[]);
        assert_eq!(
            found
                .iter()
                .map(|finding| finding.what.as_str())
                .collect::<Vec<_>>(),
            ["`readme` is not set", "`a` has no README.md"]
        );
        workspace.packages[0].publishable = false;
        assert_eq!(check_packages(&workspace, &["a/README.md".to_owned()]), []);
    }
}

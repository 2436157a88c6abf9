//! Which crate may depend on which: lower layers know nothing of upper ones, and nobody knows a sibling.

use super::Finding;
use crate::workspace::Workspace;

// Package, and the members that its normal and build dependencies may name.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("flexbond-transport", &[]),
    ("flexbond-wire", &["flexbond-transport"]),
    ("flexbond-session", &["flexbond-wire", "flexbond-transport"]),
    ("flexbond-collectives", BELOW_SIBLINGS),
    // Procedural macros have to be a crate of their own: it is a part of the one above it, and of nobody else.
    ("flexbond-rpc-macros", &[]),
    (
        "flexbond-rpc",
        &[
            "flexbond-rpc-macros",
            "flexbond-session",
            "flexbond-wire",
            "flexbond-transport",
        ],
    ),
    ("flexbond-stream", BELOW_SIBLINGS),
    (
        "flexbond",
        &[
            "flexbond-collectives",
            "flexbond-rpc",
            "flexbond-stream",
            "flexbond-session",
            "flexbond-wire",
            "flexbond-transport",
        ],
    ),
    ("xtask", &[]),
];

const BELOW_SIBLINGS: &[&str] = &["flexbond-session", "flexbond-wire", "flexbond-transport"];

const FACADE: &str = "flexbond";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let is_member = |name: &str| workspace.packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            findings.push(Finding::new(
                &manifest,
                1,
                format!("`{}` is not one of the agreed packages", package.name),
                "move its content into the crate whose layer it belongs to",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            // A crate that names itself (to turn on its own features in tests) crosses no layer.
            if !is_member(name) || name == package.name {
                continue;
            }
            let forbidden = if dependency.dev {
                name == FACADE
            } else {
                !allowed.contains(&name)
            };
            if forbidden {
                let kind = if dependency.dev { "in tests " } else { "" };
                findings.push(Finding::new(
                    &manifest,
                    1,
                    format!(
                        "`{}` depends {kind}on `{name}`, which is not below it",
                        package.name
                    ),
                    format!("remove the dependency; allowed are: {}", listed(allowed)),
                ));
            }
        }
    }
    findings
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        "none of the workspace's crates".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::{Dependency, Package};

    fn workspace(edges: &[(&str, &str, bool)]) -> Workspace {
        let package = |name: &str| Package {
            name: name.to_owned(),
            folder: name.trim_start_matches("flexbond-").to_owned(),
            dependencies: edges
                .iter()
                .filter(|(from, ..)| *from == name)
                .map(|(_, to, dev)| Dependency {
                    name: (*to).to_owned(),
                    dev: *dev,
                })
                .collect(),
            ..Package::default()
        };
        Workspace {
            root: PathBuf::new(),
            target: PathBuf::new(),
            packages: ALLOWED.iter().map(|(name, _)| package(name)).collect(),
        }
    }

    #[test]
    fn the_agreed_arrows_pass() {
        let arrows = ALLOWED
            .iter()
            .flat_map(|(from, allowed)| allowed.iter().map(|to| (*from, *to, false)))
            .chain([
                ("flexbond-wire", "bytes", false),
                ("flexbond-rpc", "flexbond-stream", true),
            ])
            .collect::<Vec<_>>();
        assert_eq!(check(&workspace(&arrows)), []);
    }

    #[test]
    fn upward_sideways_and_facade_arrows_are_found() {
        for (from, to, dev) in [
            ("flexbond-transport", "flexbond-wire", false),
            ("flexbond-session", "flexbond-rpc", false),
            ("flexbond-rpc", "flexbond-stream", false),
            ("flexbond-rpc-macros", "flexbond-wire", false),
            ("flexbond-stream", "flexbond-rpc-macros", false),
            ("flexbond-stream", "flexbond", false),
            ("flexbond-session", "flexbond", true),
            ("xtask", "flexbond-transport", false),
        ] {
            let findings = check(&workspace(&[(from, to, dev)]));
            assert_eq!(findings.len(), 1, "{from} -> {to}");
            assert!(
                findings[0].what.contains(&format!("on `{to}`")),
                "{}",
                findings[0]
            );
        }
    }

    #[test]
    fn a_package_too_many_is_found() {
        let mut workspace = workspace(&[]);
        workspace.packages.push(Package {
            name: "flexbond-utils".to_owned(),
            folder: "utils".to_owned(),
            ..Package::default()
        });
        let findings = check(&workspace);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].file, "utils/Cargo.toml");
    }
}

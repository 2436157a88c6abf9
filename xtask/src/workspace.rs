//! What cargo knows about the workspace: packages, features, targets, dependencies.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{interop, process};

/// The workspace: where it is, and its packages in the order of the manifest's `members`.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder of the root manifest.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// All members.
    pub packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its folder, relative to the workspace's root.
    pub folder: String,
    /// Whether it may be published.
    pub publishable: bool,
    /// All features, `default` included, sorted.
    pub features: Vec<String>,
    /// What the package depends on, members and others.
    pub dependencies: Vec<Dependency>,
    /// Everything that cargo builds from it.
    pub targets: Vec<Target>,
    /// The fields of the manifest that tell a reader of a registry what the crate is, as far as they are set.
    pub metadata: Vec<&'static str>,
}

/// One entry of a package's dependency tables.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The package's name (not a local rename).
    pub name: String,
    /// Whether only tests, examples and benches use it.
    pub dev: bool,
}

/// One thing that cargo builds.
#[derive(Clone, Debug)]
pub struct Target {
    /// As in `--test NAME`.
    pub name: String,
    /// `lib`, `bin`, `test`, `example`, …
    pub kind: String,
    /// Features without which the target is left out.
    pub required_features: Vec<String>,
}

/// The manifest fields that every published crate has.
pub const METADATA: [&str; 6] = [
    "description",
    "license",
    "readme",
    "keywords",
    "categories",
    "documentation",
];

impl Workspace {
    /// Asks cargo about the workspace that this program was built from.
    ///
    /// # Errors
    /// When cargo fails, for example on a manifest that does not parse.
    pub fn load() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let text = process::output(
            process::cargo()
                .args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"])
                .arg(manifest),
        )?;
        Self::from_metadata(&text)
    }

    /// Reads the output of `cargo metadata --no-deps`.
    ///
    /// # Errors
    /// When it is not such an output.
    pub fn from_metadata(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("`cargo metadata` did not print JSON")?;
        let root = PathBuf::from(string(&value["workspace_root"]));
        let packages = array(&value["packages"])
            .map(|package| Package::from_value(package, &root))
            .collect::<Result<_>>()?;
        Ok(Workspace {
            target: PathBuf::from(string(&value["target_directory"])),
            root,
            packages,
        })
    }

    /// The members that may be published.
    pub fn publishable(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.publishable)
    }

    /// All features but the defaults of all members that publish something, as cargo takes them: `a/x,a/y,b/x`.
    #[must_use]
    pub fn all_features(&self) -> String {
        let named = |package: &Package| -> Vec<String> {
            let features = package.features.iter();
            features
                .filter(|feature| *feature != "default")
                .map(|feature| format!("{}/{feature}", package.name))
                .collect()
        };
        let all: Vec<String> = self.publishable().flat_map(named).collect();
        all.join(",")
    }
}

impl Package {
    fn from_value(value: &Value, root: &Path) -> Result<Self> {
        let manifest = PathBuf::from(string(&value["manifest_path"]));
        let folder = manifest
            .parent()
            .and_then(|folder| folder.strip_prefix(root).ok())
            .with_context(|| format!("{} is outside the workspace", manifest.display()))?;
        let is_set = |field: &&str| match &value[*field] {
            Value::Array(list) => !list.is_empty(),
            Value::String(text) => !text.trim().is_empty(),
            _ => false,
        };
        let mut features: Vec<String> = value["features"]
            .as_object()
            .map(|features| features.keys().cloned().collect())
            .unwrap_or_default();
        features.sort();
        Ok(Package {
            name: string(&value["name"]),
            version: string(&value["version"]),
            folder: folder.to_string_lossy().into_owned(),
            // `publish = false` is an empty list of registries.
            publishable: value["publish"].as_array().is_none_or(|list| !list.is_empty()),
            features,
            dependencies: array(&value["dependencies"])
                .map(|dependency| Dependency {
                    name: string(&dependency["name"]),
                    dev: dependency["kind"] == "dev",
                })
                .collect(),
            targets: array(&value["targets"])
                .map(|target| Target {
                    name: string(&target["name"]),
                    kind: array(&target["kind"]).map(string).next().unwrap_or_default(),
                    required_features: array(&target["required-features"]).map(string).collect(),
                })
                .collect(),
            metadata: METADATA.into_iter().filter(is_set).collect(),
        })
    }

    /// The features but the default and those for tests that need more than the package.
    pub fn own_features(&self) -> impl Iterator<Item = &String> {
        let features = self.features.iter();
        features.filter(|feature| *feature != "default" && *feature != interop::FEATURE)
    }

    /// Its integration tests that need nothing that the workspace does not bring, and those against other programs.
    pub fn integration_tests(&self, interop: bool) -> impl Iterator<Item = &str> {
        let tests = self.targets.iter().filter(|target| target.kind == "test");
        let names = tests.map(|target| target.name.as_str());
        names.filter(move |name| name.starts_with("interop") == interop)
    }

    /// Whether there is a target of `kind`: `lib`, `bin`, `test`, `example`, …
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.targets.iter().any(|target| target.kind == kind)
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read() {
        let workspace = Workspace::from_metadata(
            r#"{"workspace_root": "/w", "target_directory": "/w/target", "packages": [{
                "name": "a", "manifest_path": "/w/a/Cargo.toml", "publish": null,
                "description": "x", "license": " ", "keywords": ["k"], "categories": [],
                "features": {"tcp": [], "default": ["tcp"], "interop-tests": []},
                "dependencies": [{"name": "bytes", "kind": null}, {"name": "b", "kind": "dev"}],
                "targets": [{"name": "interop_x", "kind": ["test"], "required-features": ["interop-tests"]}]
            }, {"name": "xtask", "manifest_path": "/w/xtask/Cargo.toml", "publish": []}]}"#,
        )
        .unwrap();
        assert_eq!(workspace.all_features(), "a/interop-tests,a/tcp");
        let package = &workspace.packages[0];
        assert_eq!((package.name.as_str(), package.folder.as_str()), ("a", "a"));
        assert_eq!(package.features, ["default", "interop-tests", "tcp"]);
        assert_eq!(package.own_features().collect::<Vec<_>>(), ["tcp"]);
        assert_eq!(package.integration_tests(true).collect::<Vec<_>>(), ["interop_x"]);
        assert_eq!(package.integration_tests(false).count(), 0);
        assert_eq!(package.metadata, ["description", "keywords"]);
        assert_eq!(
            package
                .dependencies
                .iter()
                .map(|d| (d.name.as_str(), d.dev))
                .collect::<Vec<_>>(),
            [("bytes", false), ("b", true)]
        );
        assert!(package.has("test") && !package.has("lib"));
        assert_eq!(package.targets[0].required_features, ["interop-tests"]);
        assert_eq!(workspace.publishable().count(), 1);
    }

    #[test]
    fn this_workspace_is_found() {
        let workspace = Workspace::load().unwrap();
        assert!(workspace.packages.iter().any(|package| package.name == "xtask"));
    }
}

//! `cargo xtask tidy` as a test: the source tree follows the project's rules.

use xtask::tidy;
use xtask::workspace::Workspace;

#[test]
fn the_source_tree_is_tidy() {
    let workspace = Workspace::load().expect("cargo describes the workspace");
    let (findings, files) = tidy::check(&workspace).expect("the tree can be read");
    assert!(files > 20, "only {files} files were looked at");
    let listed: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", listed.join("\n"));
}

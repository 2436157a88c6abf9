//! Development tasks of the flexbond workspace, one module per command; see `cargo xtask --help`.
//!
//! No crate of the workspace depends on this package, and it depends on none of them. The commands are a library so
//! that tests can call them: `xtask/tests/tidy.rs` is `cargo xtask tidy` as a test.

pub mod bench;
pub mod budget;
pub mod ci;
pub mod cli;
pub mod fuzz;
pub mod interop;
pub mod loom;
pub mod miri;
pub mod netlab;
pub mod process;
pub mod readme;
pub mod setup;
pub mod soak;
pub mod tidy;
pub mod tools;
pub mod workspace;

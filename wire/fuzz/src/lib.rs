//! What the fuzz targets have in common.

mod script;

pub use script::Script;

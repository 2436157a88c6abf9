//! stage.

//! The message server: it takes messages for parties that are not there, or cannot be reached, and hands them over.

mod config;
mod error;
mod parsed;

pub use self::config::{JobEntry, PartyEntry, ServerConfig, ServerEntry, ServerKeys};
pub use self::error::{ServeError, ServerConfigError};

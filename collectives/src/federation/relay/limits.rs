//! stand-in
use crate::federation::limits::LimitError;
use serde::{Deserialize, Serialize};

/// Limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RelayLimits {
    /// x
    pub memory_bytes: u64,
}

impl RelayLimits {
    /// x
    pub fn validate(&self) -> Result<(), LimitError> {
        Ok(())
    }
}

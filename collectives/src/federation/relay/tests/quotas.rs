//! quotas.

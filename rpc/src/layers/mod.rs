//! Layers of tower for calls, around a client or a server's service.

pub mod metrics;
pub mod trace;

pub use metrics::Metrics;
pub use trace::{ClientTrace, ServerTrace, Trace};

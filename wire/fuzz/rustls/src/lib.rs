//! Stands in for `rustls` in builds for fuzzing: what is fuzzed of TLS are certificates and keys in files, which need the
//! types of rustls and nothing else of it.

pub use rustls_pki_types as pki_types;

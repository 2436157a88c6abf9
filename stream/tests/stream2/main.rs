//! Dectris stream V2: what cbor2 has written, every form that CBOR allows, and messages that lie.

mod build;
mod forms;
mod hostile;
mod properties;
mod samples;

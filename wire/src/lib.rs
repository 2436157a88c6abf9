//! Bytes to meaning and back: ZMTP 3.1 and its ancestors, security mechanisms and payload codecs, without any I/O.

pub mod zmtp;

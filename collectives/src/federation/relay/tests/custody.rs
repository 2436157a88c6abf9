//! custody.

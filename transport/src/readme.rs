//! Runs the README's example with the other documentation tests.
#![doc = include_str!("../README.md")]

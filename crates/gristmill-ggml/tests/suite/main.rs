//! The integration tests of this crate, in one program, so that its dependencies are linked once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod adapter;
mod detect;
mod hostile;
mod oracle;
mod parts;
mod round_trip;

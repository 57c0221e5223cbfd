//! The integration tests of this crate, in one program: each would take longer to link than to compile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod adapter;
mod detect;
mod hostile;
mod oracle;
mod parts;
mod round_trip;

//! The integration tests of this crate, in one program, so that its dependencies are linked once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod golden;
mod hostile;
mod oracle;
mod round_trip;
mod split;
mod versions;

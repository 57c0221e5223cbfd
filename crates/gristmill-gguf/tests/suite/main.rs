//! The integration tests of this crate, in one program: each would take longer to link than to compile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod golden;
mod hostile;
mod oracle;
mod round_trip;
mod split;
mod versions;

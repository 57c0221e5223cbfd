//! The integration tests of this crate, in one program, so that its dependencies are linked once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod architectures;
mod common;
mod configs;
mod describe;
mod hostile;
mod oracle;
mod rope;

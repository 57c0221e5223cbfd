//! The integration tests of this crate, in one program: each would take longer to link than to compile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod architectures;
mod common;
mod configs;
mod describe;
mod hostile;
mod oracle;
mod rope;

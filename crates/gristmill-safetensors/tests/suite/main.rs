//! The integration tests of this crate, in one program, so that its dependencies are linked once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod hostile;
mod index;
mod oracle;
mod shards;
mod write;

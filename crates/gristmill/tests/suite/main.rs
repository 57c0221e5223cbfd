//! The integration tests of this crate, in one program, so that its dependencies are linked once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod convert;
mod determinism;
mod falcon;
mod folders;
mod legacy;
mod open;
mod oracle;
mod targets;

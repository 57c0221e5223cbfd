//! The integration tests of this crate, in one program: each would take longer to link than to compile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod convert;
mod determinism;
mod falcon;
mod folders;
mod legacy;
mod open;
mod oracle;
mod targets;

//! Checkpoint in, model file out: rename, reorder, quantize by policy, stream slabs in bounded memory.
//!
//! ```text
//! any checkpoint ─Canonical─▶ GGUF names and keys ─Plan─▶ a type per tensor ─convert─▶ slabs ─▶ model file
//! config.json, tokenizer ──────────┘
//! ```
//!
//! [`Canonical`] presents a checkpoint of any format under the house's names; a GGUF file needs none. [`convert`]
//! plans, then streams rows from reader to writer: each thread reads a slab, turns it to `f32`, quantizes and writes
//! it, and all slabs in work together fit [`ConvertOptions::memory`]. Blocks of layouts that ggml gave up are carried to
//! today's code by code, and what that costs is measured. [`Respelled`] presents a model in another dialect, for legacy
//! ggml files and folders for Transformers. The bytes written depend on the checkpoint, the [`OutType`], the [`Mixture`]
//! and the version of the block layouts alone.
//!
//! In GGUF, types are chosen as llama.cpp chooses them, and the bytes are the same. Vectors are F32; `policy` and `mix`
//! have the tables.
//!
//! A GGUF file to Q4_0:
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use std::path::Path;
//!
//! use gristmill_convert::{ConvertOptions, OutType, convert};
//! use gristmill_gguf::{Gguf, Reader};
//!
//! let source = Reader::open(Path::new("model-f16.gguf"))?;
//! let options = ConvertOptions { outtype: OutType::Q4_0, ..ConvertOptions::default() };
//! let report = convert(&source, &Gguf, Path::new("model-q4_0.gguf"), &options, &mut |_| {
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} bytes became {}", report.bytes_in, report.bytes_out);
//! # Ok::<(), gristmill_convert::Error>(())
//! ```
//!
//! Reading order: `canonical` and its reverse, `respelled`, then `translate` and `gather`, which serve them; `outtype`, `options`, `policy`, `mix`,
//! `name`, `plan`; `slab` and `pipeline`; `report` and `error`.
#![forbid(unsafe_code)]

mod canonical;
mod error;
mod gather;
mod mix;
mod name;
mod options;
mod outtype;
mod pipeline;
mod plan;
mod policy;
mod report;
mod respelled;
mod slab;
mod translate;
mod vocabulary;

pub use canonical::{Canonical, Description};
pub use error::{Error, Result};
pub use name::file_stem;
pub use options::{ConvertOptions, Mixture};
pub use outtype::OutType;
pub use pipeline::{Begin, convert, convert_into};
pub use plan::{Plan, PlannedTensor, Step};
pub use report::{Change, Event, Note, Report, Tally};
pub use respelled::Respelled;

//! Opens language-model weights of every format, converts, quantizes and runs them on the CPU.
//!
//! ```text
//!  checkpoint folder ┐                    ┌─ convert ─▶ model.gguf (f32 … q4_0), in bounded memory
//!  .safetensors      │                    ├─ convert_to ─▶ legacy ggml file, folder for Transformers
//!  .bin .pt .pth     ├─ open ─▶ Opened ───┤
//!  legacy ggml .bin  │                    └─ model, tokenizer ─▶ Session ─▶ logits, text
//!  .gguf             ┘
//! ```
//!
//! # Three verbs
//!
//! [`open`](open()) finds out by content what lies at a path, and answers in the same words whatever it is:
//!
//! ```no_run
//! let model = gristmill::open("gpt-j-6b")?; // a folder with config.json, tokenizer and weights
//! println!("{}", model.raw().format());
//! for info in model.checkpoint().tensors() {
//!     println!("{} {} {}", info.name, info.dtype, info.shape);
//! }
//! # Ok::<(), gristmill::Error>(())
//! ```
//!
//! [`convert`](convert()) writes GGUF, quantizing on the way, within a stated amount of memory:
//!
//! ```no_run
//! use gristmill::convert::{ConvertOptions, OutType};
//!
//! let options = ConvertOptions { outtype: OutType::Q4_0, ..ConvertOptions::default() };
//! let report = gristmill::convert("gpt-j-6b", ".", &options)?;
//! println!("wrote {}", report.output.display()); // named by convention, in this folder
//! # Ok::<(), gristmill::Error>(())
//! ```
//!
//! [`load`] gives a model that runs, from a GGUF file or a checkpoint alike, and its tokenizer:
//!
//! ```no_run
//! use gristmill::runtime::{Chain, SamplerOptions, Session, SessionOptions};
//! use gristmill::tokenizer::{EncodeOptions, TextStream};
//!
//! let (model, tokenizer) = gristmill::load("gpt-j-6B-Q4_0.gguf")?;
//! let mut session = Session::new(model, SessionOptions::default())?;
//! let mut sampler = Chain::new(SamplerOptions::default());
//! let prompt = tokenizer.encode("Once upon a time", EncodeOptions { add_special: true, ..Default::default() })?;
//! let mut text = TextStream::continuing(&*tokenizer, true);
//! for token in session.generate(&mut sampler, &prompt).take(100) {
//!     print!("{}", text.push(token?)); // whole characters, as they come
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`generate`](generate()) does that and knows when to stop. A whole run, on a model made for the occasion:
//!
//! ```
//! use gristmill::convert::{ConvertOptions, OutType};
//! use gristmill::runtime::{Session, SessionOptions};
//!
//! let folder = tempfile::tempdir()?;
//! gristmill_testkit::tiny("gptj", &Default::default()).save(folder.path())?;
//!
//! let options = ConvertOptions { outtype: OutType::Q8_0, ..ConvertOptions::default() };
//! let report = gristmill::convert(folder.path(), folder.path(), &options)?;
//! let (model, tokenizer) = gristmill::load(&report.output)?;
//! let mut session = Session::new(model, SessionOptions { n_ctx: 64, ..SessionOptions::default() })?;
//! let logits = session.feed(&tokenizer.encode("Hello", Default::default())?)?;
//! assert_eq!(logits.len(), 288);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The crates below
//!
//! Each is a module here, and can be used on its own:
//!
//! | module | what it knows |
//! |---|---|
//! | [`tensor`] | tensors at rest: types, shapes, byte sources, metadata, the traits of all readers and writers |
//! | [`gguf`], [`ggml`], `safetensors`, `torch` | one file format each |
//! | [`quant`] | block formats |
//! | [`tokenizer`] | text to token ids and back |
//! | [`graph`], [`arch`] | the vocabulary of a transformer; what GPT-J, LLaMA and the other architectures are |
//! | [`mod@convert`] | names, order, policy, the pipeline |
//! | [`kernels`], [`runtime`] | fast arithmetic; models, sessions, samplers |
//! | [`verify`] | comparison and measurement |
//!
//! Reading order of this crate: `formats` (the registry), `layout` (which files make a model), `open`, `verbs`,
//! `write` and `folder`, `generate`, `identify` and its table `magics`, `error`; `index` and `stop` serve them. The programs in `examples/` are the verbs with a few
//! lines around them.
#![forbid(unsafe_code)]

mod error;
mod folder;
mod formats;
mod generate;
mod identify;
mod index;
mod layout;
mod magics;
mod open;
mod stop;
mod target;
mod verbs;
mod write;

pub use error::{Error, Result};
pub use formats::FORMATS;
pub use generate::{FinishReason, GenerateOptions, Generation, Timings, generate};
pub use identify::{Identity, identify};
pub use open::{OpenOptions, Opened, open, open_raw, open_with};
pub use target::Target;
pub use verbs::{convert, load, quantize};

pub use gristmill_arch as arch;
pub use gristmill_convert as convert;
pub use gristmill_ggml as ggml;
pub use gristmill_gguf as gguf;
pub use gristmill_graph as graph;
pub use gristmill_kernels as kernels;
pub use gristmill_quant as quant;
pub use gristmill_runtime as runtime;
#[cfg(feature = "safetensors")]
pub use gristmill_safetensors as safetensors;
pub use gristmill_tensor as tensor;
pub use gristmill_tokenizer as tokenizer;
#[cfg(feature = "torch")]
pub use gristmill_torch as torch;
pub use gristmill_verify as verify;

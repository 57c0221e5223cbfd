//! Fast arithmetic on one CPU: SIMD levels, the thread team, products over block formats, attention, norms, rope.
//!
//! ```text
//!            Matrix (weights, as stored)      Activations (x: f32 rows, int8 blocks on demand)
//!                        └────────── matmul ──────────┘
//!   Team ── splits the result into tasks ──▶ level/{portable, avx2, avx512, neon}: gemv for one token, gemm for more
//! ```
//!
//! ```
//! use gristmill_kernels::{Activations, Matrix, Team, matmul};
//! use gristmill_tensor::{Bytes, DType, Tensor, TensorInfo};
//!
//! let team = Team::new(2);
//! let bytes: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|w| w.to_le_bytes()).collect();
//! let info = TensorInfo::new("w", DType::F32, [2, 2]);
//! let weight = Matrix::new(Tensor { info, bytes: Bytes::from(bytes) }).unwrap();
//! let mut x = Activations::new();
//! x.load(&team, &[1.0, 1.0], 2);
//! let mut y = [0.0; 2];
//! matmul(&team, &weight, &mut x, None, &mut y);
//! assert_eq!(y, [3.0, 7.0]);
//! ```
//!
//! Everything else works on rows of f32: [`Norm`], [`rope`], [`attend`] over a [`KvCache`], [`silu`] and so on.
//!
//! Reading order: [`level`](Level), [`team`](Team), `matmul`, then the levels' folders; `kv_cache` and `attention`;
//! `elementwise`, `math`, `activation`, `norm`, `rope`, each short, over the sixteen floats of `level/vector`.

mod activation;
mod attention;
mod elementwise;
mod kv_cache;
mod level;
mod math;
mod matmul;
mod norm;
pub mod roofline;
mod rope;
mod team;

pub use activation::{gelu, gelu_tanh, silu, silu_mul};
pub use attention::{Attention, alibi_slopes, attend};
pub use elementwise::{add, clamp, for_rows, mul, scale};
pub use kv_cache::{CacheType, KvCache};
pub use level::{Level, level};
pub use matmul::{Activations, Matrix, Product, look_ahead, matmul, matmul_joined};
pub use norm::Norm;
pub use rope::{RopePairs, RopeTable, rope};
pub use team::{Grid, JOINED, Team, Tile};

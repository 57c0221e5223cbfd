//! Block layouts that ggml gave up in May 2023.
//!
//! Three versions of the layouts stand in files, and the file's container says which (`docs/formats/ggml.md`):
//!
//! | version | until | scales of Q4 and Q8 | elements in a byte of nibbles |
//! |---|---|---|---|
//! | 0 | 11 May 2023 | `f32` | neighbors, `2j` and `2j + 1` |
//! | 1 | 19 May 2023 | `f32` | halves, `j` and `j + 16` |
//! | 2 | today | `f16` | halves |
//!
//! Q5 always had `f16` scales, so only the order of its nibbles changed; Q8_0 has no nibbles, so only its scale did.
//! Q4_2 and Q4_3 existed in version 0 alone.
//!
//! What a code stands for never changed. So a layout is two choices, the precision of the scales and the order of the
//! nibbles, over a family of formats that share their codes; and blocks of one layout become blocks of another without
//! touching a code ([`transcoding`](crate::transcoding)).

mod family;
mod layout;
mod narrow;
mod transcode;

pub(crate) use layout::{Q4_0_V0, Q4_0_V1, Q4_1_V0, Q4_1_V1, Q5_0_V0, Q5_1_V0, Q8_0_V1};
pub(crate) use narrow::{Q4_2, Q4_3};
pub use transcode::{Transcoding, transcoding};

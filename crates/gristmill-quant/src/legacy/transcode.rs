//! Blocks of one layout as blocks of another of the same family: every code stays what it is.
//!
//! Widening scales and reordering nibbles lose nothing. Narrowing scales to half precision rounds those that half
//! precision does not have, to the nearest, ties to even: Q4_0 made of F16 weights has scales that fit, since they are
//! an eighth of a weight; a 15th of a range or a 127th of a magnitude seldom fits.

use gristmill_tensor::DType;

use super::family::Family;
use super::layout::{self, Layout, put, take};

/// A way from one layout to another.
#[derive(Clone, Copy, Debug)]
pub struct Transcoding {
    /// The layout there is.
    pub from: DType,
    /// The layout that is wanted; its blocks hold as many elements.
    pub to: DType,
    /// Blocks of `from` into as many blocks of `to`. A scale too large for half precision becomes infinite.
    pub apply: fn(&[u8], &mut [u8]),
    /// Whether the numbers stay the same whatever they are.
    pub exact: bool,
}

impl Transcoding {
    const fn between<A: Layout<Family = F>, B: Layout<Family = F>, F: Family>() -> Transcoding {
        let exact = B::SINGLE || !A::SINGLE;
        Transcoding { from: A::TYPE, to: B::TYPE, apply: transcode::<A, B>, exact }
    }
}

/// The way from `from` to `to`; `None` when they are not of one family, or the same.
pub fn transcoding(from: DType, to: DType) -> Option<&'static Transcoding> {
    TRANSCODINGS.iter().find(|way| (way.from, way.to) == (from, to))
}

fn transcode<A: Layout, B: Layout>(from: &[u8], to: &mut [u8]) {
    let (from, to) =
        (from.chunks_exact(A::TYPE.block_bytes()), to.chunks_exact_mut(B::TYPE.block_bytes()));
    assert_eq!(from.len(), to.len(), "as many blocks as there are");
    for (old, new) in from.zip(to) {
        put::<B>(&take::<A>(old), new);
    }
}

macro_rules! both_ways {
    ($($a:ident $b:ident,)*) => {
        &[$(
            Transcoding::between::<layout::$a, layout::$b, _>(),
            Transcoding::between::<layout::$b, layout::$a, _>(),
        )*]
    };
}

static TRANSCODINGS: &[Transcoding] = both_ways! {
    Q4_0_V0 Q4_0_V1,
    Q4_0_V0 Q4_0,
    Q4_0_V1 Q4_0,
    Q4_1_V0 Q4_1_V1,
    Q4_1_V0 Q4_1,
    Q4_1_V1 Q4_1,
    Q5_0_V0 Q5_0,
    Q5_1_V0 Q5_1,
    Q8_0_V1 Q8_0,
};

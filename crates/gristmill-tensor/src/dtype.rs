//! The table of stored element types.
//!
//! One row per type: its name, its number in ggml's `enum ggml_type` (the number in the tensor records of GGUF and
//! of every older ggml container), how many elements a block holds and how many bytes it takes. Everything that must
//! know a size asks here.
//!
//! Block layouts that ggml gave up in May 2023 are types of their own, so that a file that holds them is described as
//! what it is, and whoever reads rows needs no other word than the type.
//!
//! Types that only checkpoints of other families use (PyTorch's and safetensors' unsigned integers, booleans and
//! 8-bit floats) have no ggml number.

use std::fmt;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $name:ident = $id:expr, $len:literal, $bytes:literal;)*) => {
        /// How the elements of a stored tensor are encoded.
        #[allow(non_camel_case_types, missing_docs)] // the field spells these names with underscores, and they say all
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum DType { $($(#[$doc])* $name,)* }

        impl DType {
            /// Every type, in the order of ggml's numbers.
            pub const ALL: &'static [DType] = &[$(DType::$name),*];

            /// The number in ggml's `enum ggml_type`, if ggml has the type.
            pub const fn ggml_id(self) -> Option<u32> {
                match self { $(DType::$name => $id,)* }
            }

            /// Elements per block; 1 for plain numbers.
            pub const fn block_len(self) -> usize {
                match self { $(DType::$name => $len,)* }
            }

            /// Bytes per block.
            pub const fn block_bytes(self) -> usize {
                match self { $(DType::$name => $bytes,)* }
            }

            /// The upper-case name, as ggml and safetensors print it.
            pub const fn name(self) -> &'static str {
                match self { $(DType::$name => stringify!($name),)* }
            }
        }
    };
}

dtypes! {
    // name = ggml id, elements per block, bytes per block
    F32 = Some(0), 1, 4;
    F16 = Some(1), 1, 2;
    Q4_0 = Some(2), 32, 18;
    Q4_1 = Some(3), 32, 20;
    Q5_0 = Some(6), 32, 22;
    Q5_1 = Some(7), 32, 24;
    Q8_0 = Some(8), 32, 34;
    /// An activation format of ggml; never a weight.
    Q8_1 = Some(9), 32, 36;
    Q2_K = Some(10), 256, 84;
    Q3_K = Some(11), 256, 110;
    Q4_K = Some(12), 256, 144;
    Q5_K = Some(13), 256, 176;
    Q6_K = Some(14), 256, 210;
    /// An activation format of ggml; never a weight.
    Q8_K = Some(15), 256, 292;
    IQ2_XXS = Some(16), 256, 66;
    IQ2_XS = Some(17), 256, 74;
    IQ3_XXS = Some(18), 256, 98;
    IQ1_S = Some(19), 256, 50;
    IQ4_NL = Some(20), 32, 18;
    IQ3_S = Some(21), 256, 110;
    IQ2_S = Some(22), 256, 82;
    IQ4_XS = Some(23), 256, 136;
    I8 = Some(24), 1, 1;
    I16 = Some(25), 1, 2;
    I32 = Some(26), 1, 4;
    I64 = Some(27), 1, 8;
    F64 = Some(28), 1, 8;
    IQ1_M = Some(29), 256, 56;
    BF16 = Some(30), 1, 2;
    TQ1_0 = Some(34), 256, 54;
    TQ2_0 = Some(35), 256, 66;
    MXFP4 = Some(39), 32, 17;
    NVFP4 = Some(40), 64, 36;
    Q1_0 = Some(41), 128, 18;
    Q2_0 = Some(42), 64, 18;
    /// One byte, 0 or 1.
    BOOL = None, 1, 1;
    U8 = None, 1, 1;
    U16 = None, 1, 2;
    U32 = None, 1, 4;
    U64 = None, 1, 8;
    F8_E4M3 = None, 1, 1;
    F8_E5M2 = None, 1, 1;
    // Layouts of ggml files from before 20 May 2023. The numbers in those files are those of today's types of the
    // same name (4 and 5 for Q4_2 and Q4_3, which have none today); the file's version tells which layout is meant.
    /// Before 12 May 2023: a scale of single precision, neighboring elements share a byte.
    Q4_0_V0 = None, 32, 20;
    /// 12 to 19 May 2023: a scale of single precision, today's order of elements.
    Q4_0_V1 = None, 32, 20;
    /// Before 12 May 2023: scale and minimum of single precision, neighboring elements share a byte.
    Q4_1_V0 = None, 32, 24;
    /// 12 to 19 May 2023: scale and minimum of single precision, today's order of elements.
    Q4_1_V1 = None, 32, 24;
    /// April and May 2023: 16 elements around zero, neighbors share a byte.
    Q4_2 = None, 16, 10;
    /// April 2023: 16 elements above a minimum, neighbors share a byte.
    Q4_3 = None, 16, 12;
    /// Before 12 May 2023: neighboring elements share a byte.
    Q5_0_V0 = None, 32, 22;
    /// Before 12 May 2023: neighboring elements share a byte.
    Q5_1_V0 = None, 32, 24;
    /// Before 20 May 2023: a scale of single precision.
    Q8_0_V1 = None, 32, 36;
}

impl DType {
    /// The type with this number in ggml's `enum ggml_type`; `None` for numbers never assigned and for layouts that
    /// ggml removed.
    pub fn from_ggml_id(id: u32) -> Option<DType> {
        DType::ALL.iter().copied().find(|dtype| dtype.ggml_id() == Some(id))
    }

    /// Today's type with the same codes, for a layout that ggml gave up and whose blocks hold as many elements as
    /// today's; `None` for today's types and for Q4_2 and Q4_3, which have no successor.
    pub const fn successor(self) -> Option<DType> {
        match self {
            DType::Q4_0_V0 | DType::Q4_0_V1 => Some(DType::Q4_0),
            DType::Q4_1_V0 | DType::Q4_1_V1 => Some(DType::Q4_1),
            DType::Q5_0_V0 => Some(DType::Q5_0),
            DType::Q5_1_V0 => Some(DType::Q5_1),
            DType::Q8_0_V1 => Some(DType::Q8_0),
            _ => None,
        }
    }

    /// The layout that this type, one of today's, had in a version of ggml's block layouts: 2 is today's, 1 that of
    /// 12 to 19 May 2023, 0 the one before. `None` where that version had no such type.
    pub const fn at_version(self, version: u32) -> Option<DType> {
        match (self, version) {
            (_, 2) | (DType::F32 | DType::F16, _) | (DType::Q5_0 | DType::Q5_1, 1) => Some(self),
            (DType::Q4_0, 0) => Some(DType::Q4_0_V0),
            (DType::Q4_0, 1) => Some(DType::Q4_0_V1),
            (DType::Q4_1, 0) => Some(DType::Q4_1_V0),
            (DType::Q4_1, 1) => Some(DType::Q4_1_V1),
            (DType::Q5_0, 0) => Some(DType::Q5_0_V0),
            (DType::Q5_1, 0) => Some(DType::Q5_1_V0),
            (DType::Q8_0, 0 | 1) => Some(DType::Q8_0_V1),
            _ => None,
        }
    }

    /// The type with this name, in any letter case (`q4_0`, `Q4_0`).
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.iter().copied().find(|dtype| dtype.name().eq_ignore_ascii_case(name))
    }

    /// Whether several elements share a block with common scales.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Whether an element is a plain floating-point number.
    pub const fn is_float(self) -> bool {
        matches!(
            self,
            DType::F32 | DType::F16 | DType::BF16 | DType::F64 | DType::F8_E4M3 | DType::F8_E5M2
        )
    }

    /// Bytes of one row of `row_len` elements; `None` when the row is not a whole number of blocks or the product
    /// overflows.
    pub fn row_bytes(self, row_len: usize) -> Option<usize> {
        if !row_len.is_multiple_of(self.block_len()) {
            return None;
        }
        (row_len / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_found_again() {
        for &dtype in DType::ALL {
            if let Some(id) = dtype.ggml_id() {
                assert_eq!(DType::from_ggml_id(id), Some(dtype));
            }
            assert_eq!(DType::from_name(&dtype.name().to_lowercase()), Some(dtype));
        }
    }

    #[test]
    fn removed_and_unassigned_numbers_are_unknown() {
        for id in [4, 5, 31, 32, 33, 36, 37, 38, 43, 255, u32::MAX] {
            assert_eq!(DType::from_ggml_id(id), None, "{id}");
        }
    }

    #[test]
    fn an_old_layout_holds_the_codes_of_its_successor() {
        for &dtype in DType::ALL {
            for old in [0, 1].into_iter().filter_map(|version| dtype.at_version(version)) {
                assert!(old == dtype || old.successor() == Some(dtype), "{old}");
                assert_eq!(old.block_len(), dtype.block_len());
            }
        }
        assert_eq!(DType::Q4_K.at_version(1), None);
        assert_eq!(DType::Q4_K.at_version(2), Some(DType::Q4_K));
    }

    #[test]
    fn a_row_is_whole_blocks() {
        assert_eq!(DType::Q4_0.row_bytes(64), Some(36));
        assert_eq!(DType::Q4_0.row_bytes(48), None);
        assert_eq!(DType::F32.row_bytes(usize::MAX), None);
    }
}

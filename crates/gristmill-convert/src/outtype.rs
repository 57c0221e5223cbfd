//! What the user asks for: one word for the whole file.
//!
//! An [`OutType`] is not the type of every tensor; `policy` decides that, tensor by tensor. It is what the file calls
//! itself in `general.file_type`, in the numbers of llama.cpp's `enum llama_ftype`.

use std::fmt;

use gristmill_tensor::DType;

macro_rules! outtypes {
    ($($name:ident = $file_type:literal, $dtype:ident;)*) => {
        /// How a file's weights are stored, spelled as llama.cpp's tools spell it.
        #[allow(non_camel_case_types, missing_docs)] // the field spells these names with underscores, and they say all
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum OutType {
            $($name,)*
            /// Each tensor in the type it has, brought up to today's layout where ggml gave the old one up.
            COPY,
        }

        impl OutType {
            /// Every one that names a type, from the most exact to the smallest of each family.
            pub const ALL: &'static [OutType] = &[$(OutType::$name),*];

            /// The number in `general.file_type`; `None` for [`COPY`](OutType::COPY).
            pub const fn file_type(self) -> Option<u32> {
                match self { $(OutType::$name => Some($file_type),)* OutType::COPY => None }
            }

            /// The type of the weights that are given no other; `None` for [`COPY`](OutType::COPY).
            pub const fn dtype(self) -> Option<DType> {
                match self { $(OutType::$name => Some(DType::$dtype),)* OutType::COPY => None }
            }

            /// The name in upper case, as file names carry it.
            pub const fn name(self) -> &'static str {
                match self { $(OutType::$name => stringify!($name),)* OutType::COPY => "COPY" }
            }
        }
    };
}

outtypes! {
    // name = number, the type of most matrices
    F32 = 0, F32;
    F16 = 1, F16;
    BF16 = 32, BF16;
    Q8_0 = 7, Q8_0;
    Q6_K = 18, Q6_K;
    Q5_1 = 9, Q5_1;
    Q5_0 = 8, Q5_0;
    Q5_K_M = 17, Q5_K;
    Q5_K_S = 16, Q5_K;
    Q4_1 = 3, Q4_1;
    Q4_0 = 2, Q4_0;
    Q4_K_M = 15, Q4_K;
    Q4_K_S = 14, Q4_K;
    IQ4_NL = 25, IQ4_NL;
    IQ4_XS = 30, IQ4_XS;
    Q3_K_L = 13, Q3_K;
    Q3_K_M = 12, Q3_K;
    Q3_K_S = 11, Q3_K;
    Q2_K = 10, Q2_K;
}

/// Words that mean another one.
const ALIASES: [(&str, OutType); 3] =
    [("Q5_K", OutType::Q5_K_M), ("Q4_K", OutType::Q4_K_M), ("Q3_K", OutType::Q3_K_M)];

impl OutType {
    /// The one with this name, in any letter case (`q4_0`, `Q4_K_M`, `copy`); `q3_k`, `q4_k` and `q5_k` are the usual
    /// mixes of these types, those whose names end in `_M`.
    pub fn from_name(name: &str) -> Option<OutType> {
        let all = OutType::ALL.iter().chain([&OutType::COPY]).map(|o| (o.name(), *o));
        all.chain(ALIASES).find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, o)| o)
    }

    /// What a file calls itself most of whose weights are of this type: `told`, if that can be, else the first that
    /// can.
    pub(crate) fn of(dtype: DType, told: Option<u32>) -> Option<OutType> {
        let possible = || OutType::ALL.iter().copied().filter(|o| o.dtype() == Some(dtype));
        possible().find(|o| o.file_type() == told).or_else(|| possible().next())
    }
}

impl Default for OutType {
    /// F16: what most checkpoints hold, and what every tool reads.
    fn default() -> OutType {
        OutType::F16
    }
}

impl fmt::Display for OutType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_in_any_case_and_numbers_are_unique() {
        for &outtype in OutType::ALL {
            assert_eq!(OutType::from_name(&outtype.name().to_lowercase()), Some(outtype));
            let same = OutType::ALL.iter().filter(|other| other.file_type() == outtype.file_type());
            assert_eq!(same.count(), 1, "{outtype}");
        }
        assert_eq!(OutType::from_name("q3_k"), Some(OutType::Q3_K_M));
        assert_eq!(OutType::from_name("q7_k"), None);
        assert_eq!(OutType::from_name("copy"), Some(OutType::COPY));
    }

    #[test]
    fn a_file_may_go_on_calling_itself_what_it_can_be() {
        assert_eq!(OutType::of(DType::Q4_K, Some(14)), Some(OutType::Q4_K_S));
        assert_eq!(OutType::of(DType::Q4_K, Some(7)), Some(OutType::Q4_K_M));
        assert_eq!(OutType::of(DType::Q8_0, None), Some(OutType::Q8_0));
        assert_eq!(OutType::of(DType::IQ1_S, Some(24)), None);
    }
}

//! What the user asks for: one word for the whole file.
//!
//! An [`OutType`] is not the type of every tensor; `policy` decides that, tensor by tensor. It is what the file calls
//! itself in `general.file_type`, in the numbers of llama.cpp's `enum llama_ftype`.

use std::fmt;

use gristmill_tensor::DType;

macro_rules! outtypes {
    ($($name:ident = $file_type:literal;)*) => {
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
                match self { $(OutType::$name => Some(DType::$name),)* OutType::COPY => None }
            }

            /// The name in upper case, as file names carry it.
            pub const fn name(self) -> &'static str {
                match self { $(OutType::$name => stringify!($name),)* OutType::COPY => "COPY" }
            }
        }
    };
}

outtypes! {
    F32 = 0;
    F16 = 1;
    BF16 = 32;
    Q8_0 = 7;
    Q5_1 = 9;
    Q5_0 = 8;
    Q4_1 = 3;
    Q4_0 = 2;
}

impl OutType {
    /// The one with this name, in any letter case (`q4_0`, `Q4_0`, `copy`).
    pub fn from_name(name: &str) -> Option<OutType> {
        let all = OutType::ALL.iter().chain([&OutType::COPY]);
        all.copied().find(|outtype| outtype.name().eq_ignore_ascii_case(name))
    }

    /// The one that names this type.
    pub fn from_dtype(dtype: DType) -> Option<OutType> {
        OutType::ALL.iter().copied().find(|outtype| outtype.dtype() == Some(dtype))
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
        assert_eq!(OutType::from_name("q3_k"), None);
        assert_eq!(OutType::from_name("copy"), Some(OutType::COPY));
    }
}

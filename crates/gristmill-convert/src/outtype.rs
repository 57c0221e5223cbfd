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
        pub enum OutType { $($name,)* }

        impl OutType {
            /// Every one, from the most exact to the smallest of each family.
            pub const ALL: &'static [OutType] = &[$(OutType::$name),*];

            /// The number in `general.file_type`.
            pub const fn file_type(self) -> u32 {
                match self { $(OutType::$name => $file_type,)* }
            }

            /// The type of the weights that are given no other.
            pub const fn dtype(self) -> DType {
                match self { $(OutType::$name => DType::$name,)* }
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
    /// The type with this name, in any letter case (`q4_0`, `Q4_0`).
    pub fn from_name(name: &str) -> Option<OutType> {
        OutType::ALL.iter().copied().find(|outtype| outtype.name().eq_ignore_ascii_case(name))
    }

    /// The name in upper case, as file names carry it.
    pub const fn name(self) -> &'static str {
        self.dtype().name()
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
    }
}

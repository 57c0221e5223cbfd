//! A shared, immutable run of bytes: a slice of a memory map, or a buffer of its own.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes that keep their owner alive. Cloning and slicing copy nothing.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of `owner`, which must give the same slice at every call.
    pub fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Bytes {
        let len = (*owner).as_ref().len();
        Bytes { owner, range: 0..len }
    }

    /// A part of these bytes.
    ///
    /// # Panics
    /// When the range is not inside; callers check ranges that come from files.
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end && range.end <= self.len(), "slice inside the bytes");
        let start = self.range.start + range.start;
        Bytes { owner: Arc::clone(&self.owner), range: start..start + range.len() }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes::new(Arc::new(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_a_slice_counts_from_its_own_start() {
        let bytes = Bytes::from((0u8..10).collect::<Vec<_>>());
        assert_eq!(&*bytes.slice(2..8).slice(1..3), &[3, 4]);
    }
}

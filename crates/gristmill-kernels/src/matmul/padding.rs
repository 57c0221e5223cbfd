//! What is missing at the end of a weight.

/// Bytes of the largest group of blocks that a kernel takes at once: sixteen of Q8_0.
const GROUP_BYTES: usize = 16 * 34;

/// Room for the blocks at the end of the last row, so that kernels only see whole groups of blocks.
pub(crate) struct Padding([u8; GROUP_BYTES]);

impl Padding {
    pub(crate) const fn new() -> Padding {
        Padding([0; GROUP_BYTES])
    }

    /// The first `n_bytes` of `bytes`, or of a copy with zeros behind if there are not so many.
    #[inline(always)]
    pub(crate) fn whole<'a>(&'a mut self, bytes: &'a [u8], n_bytes: usize) -> &'a [u8] {
        match bytes.get(..n_bytes) {
            Some(bytes) => bytes,
            None => self.filled(bytes, n_bytes),
        }
    }

    #[cold]
    fn filled(&mut self, bytes: &[u8], n_bytes: usize) -> &[u8] {
        let (to, zeros) = self.0[..n_bytes].split_at_mut(bytes.len());
        to.copy_from_slice(bytes);
        zeros.fill(0);
        &self.0[..n_bytes]
    }
}

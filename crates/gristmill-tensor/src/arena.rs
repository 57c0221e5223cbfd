//! Memory of large pages, for bytes that are read over and over.

use std::io;
use std::sync::Arc;

use memmap2::MmapMut;

use crate::Bytes;

/// Where each part starts: at a cache line, so that no row straddles one more than it must.
const ALIGN: usize = 64;

/// Zeros in a mapping of their own, which take neither time nor room until they are written to; from 2 MiB on in large
/// pages, where the system gives them: a page table of 4 KiB pages costs some of the bandwidth of reading.
///
/// # Errors
/// When the system has not the memory.
pub fn zeros_in_large_pages(len: usize) -> io::Result<MmapMut> {
    /// The smallest that can be one large page. Less would take more memory than was asked for.
    #[cfg(target_os = "linux")]
    const LARGE: usize = 2 << 20;
    let memory = MmapMut::map_anon(len.max(1))?;
    // A wish: other pages are as good, only slower to read.
    #[cfg(target_os = "linux")]
    if len >= LARGE {
        let _ = memory.advise(memmap2::Advice::HugePage);
    }
    Ok(memory)
}

/// Copies of `parts`, one after the other in one run of [`zeros_in_large_pages`].
///
/// # Errors
/// When the system has not the memory.
pub fn in_large_pages(parts: &[Bytes]) -> io::Result<Vec<Bytes>> {
    let mut len = 0usize;
    let mut ranges = Vec::with_capacity(parts.len());
    for part in parts {
        let end = len.checked_add(part.len()).ok_or(io::ErrorKind::OutOfMemory)?;
        ranges.push(len..end);
        len = end.checked_next_multiple_of(ALIGN).ok_or(io::ErrorKind::OutOfMemory)?;
    }
    let mut memory = zeros_in_large_pages(len)?;
    for (part, range) in parts.iter().zip(&ranges) {
        memory[range.clone()].copy_from_slice(part);
    }
    let all = Bytes::new(Arc::new(memory.make_read_only()?));
    Ok(ranges.into_iter().map(|range| all.slice(range)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_as_many_as_asked_for_or_an_error() {
        for len in [1, 4097, 3 << 20] {
            let zeros = zeros_in_large_pages(len).unwrap();
            assert!(zeros.len() == len && zeros.iter().all(|&byte| byte == 0));
        }
        assert!(zeros_in_large_pages(isize::MAX as usize / 2).is_err());
    }

    #[test]
    fn copies_are_the_same_and_aligned() {
        let parts: Vec<Bytes> =
            [0, 1, 64, 100].map(|n| Bytes::from((0..n).collect::<Vec<u8>>())).into();
        for (copy, part) in in_large_pages(&parts).unwrap().iter().zip(&parts) {
            assert_eq!(**copy, **part);
            assert!(copy.as_ptr().addr().is_multiple_of(ALIGN));
        }
        assert!(in_large_pages(&[]).unwrap().is_empty());
    }
}

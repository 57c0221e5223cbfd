//! Asking for memory before it is needed.
#![cfg_attr(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    expect(unsafe_code, reason = "a prefetch is an instruction")
)]

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// How far ahead of use bytes are asked for that are to come to the nearest cache. Compute between the loads shortens
/// the window in which the CPU looks ahead by itself.
const AHEAD: usize = 9216;

/// How far ahead for the second one.
#[cfg(target_arch = "x86_64")]
const FAR_AHEAD: usize = 7168;

/// How a CPU wants to be asked for what is read in one sequential stream per thread, as the rows of one token are.
///
/// An answer that is asked for into the nearest cache occupies one of its few buffers for misses until it comes, which
/// bounds the pace of the whole stream. Zen 5 has buffers enough: asked so, it reads 1.1 times as fast, and Zen 4 two
/// thirds as fast. Zen 4 wants to be asked for the next cache, and from far enough: at 4 KiB it is slower than unasked,
/// beyond 8 KiB two threads are that share what their memory delivers. Weights of eight bits or more, which are
/// multiplied faster than they come, it follows best by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    /// For the nearest cache: Zen 5 and its successors, and CPUs that are not x86-64.
    Nearest,
    /// For the second: Zen 4 and its predecessors, of which only Zen 4 was measured.
    #[cfg(target_arch = "x86_64")]
    Second,
    /// Not at all: weights of eight bits or more there, and CPUs by others.
    #[cfg(target_arch = "x86_64")]
    Unasked,
}

impl Stream {
    /// What suits this CPU and weights of so many bits.
    pub(crate) fn of_this_cpu(bits: u32) -> Stream {
        #[cfg(target_arch = "x86_64")]
        {
            static FAMILY: LazyLock<Option<u32>> = LazyLock::new(amd_family);
            match *FAMILY {
                Some(0x1a..) => Stream::Nearest,
                Some(0x17..) if bits < 8 => Stream::Second,
                _ => Stream::Unasked,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = bits;
            Stream::Nearest
        }
    }

    /// Asks for what comes after `n_bytes` from the start of `bytes`, in time. A number that the compiler knows leaves
    /// no loop between the products.
    #[inline(always)]
    pub(crate) fn ask(self, bytes: &[u8], n_bytes: usize) {
        let address = bytes.as_ptr().addr();
        match self {
            Stream::Nearest => lines::<{ hint::ONCE }>(address.wrapping_add(AHEAD), n_bytes),
            #[cfg(target_arch = "x86_64")]
            Stream::Second => lines::<{ hint::SECOND }>(address.wrapping_add(FAR_AHEAD), n_bytes),
            #[cfg(target_arch = "x86_64")]
            Stream::Unasked => {}
        }
    }
}

/// The family of a CPU by AMD: 0x17 and 0x19 are Zen to Zen 4, 0x1a is Zen 5.
#[cfg(target_arch = "x86_64")]
fn amd_family() -> Option<u32> {
    use std::arch::x86_64::__cpuid;
    #[allow(unused_unsafe, reason = "newer compilers know that it is safe")]
    // SAFETY: every x86-64 CPU has the instruction.
    let (maker, signature) = unsafe { (__cpuid(0), __cpuid(1).eax) };
    let is_amd =
        [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD";
    let (family, extended) = (signature >> 8 & 15, signature >> 20 & 255);
    is_amd.then_some(if family == 15 { family + extended } else { family })
}

/// Asks for the lines `distance` bytes after those of `bytes`. Past the end of what they are a part of this asks for
/// nothing useful, which does no harm.
#[inline(always)]
pub(crate) fn prefetch(bytes: &[u8], distance: usize) {
    lines::<{ hint::NEAR }>(bytes.as_ptr().addr().wrapping_add(distance), bytes.len());
}

/// Asks for the lines of an array, for the second cache.
#[inline(always)]
pub(crate) fn prefetch_second<T, const N: usize>(array: &[T; N]) {
    lines::<{ hint::SECOND }>(array.as_ptr().addr(), size_of_val(array));
}

/// Asks for the lines of `n_bytes` bytes at an address, which may be any.
#[inline(always)]
pub(crate) fn prefetch_address(address: usize, n_bytes: usize) {
    lines::<{ hint::NEAR }>(address, n_bytes);
}

/// Where what is asked for is to come.
#[cfg(target_arch = "x86_64")]
mod hint {
    use std::arch::x86_64::{_MM_HINT_NTA, _MM_HINT_T0, _MM_HINT_T1};

    /// To the nearest cache.
    pub(super) const NEAR: i32 = _MM_HINT_T0;
    /// The same, but it is read once: it need not displace what is read again from the larger caches.
    pub(super) const ONCE: i32 = _MM_HINT_NTA;
    /// To the second.
    pub(super) const SECOND: i32 = _MM_HINT_T1;
}

/// As on x86-64.
#[cfg(not(target_arch = "x86_64"))]
mod hint {
    pub(super) const NEAR: i32 = 0;
    pub(super) const ONCE: i32 = 1;
    pub(super) const SECOND: i32 = 2;
}

/// Asks for the lines of `n_bytes` bytes at an address, which may be any.
#[inline(always)]
fn lines<const HINT: i32>(address: usize, n_bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..n_bytes).step_by(64) {
        let line: *const i8 = std::ptr::without_provenance(address.wrapping_add(offset));
        #[allow(unused_unsafe, reason = "newer compilers know that it is safe")]
        // SAFETY: a prefetch touches nothing and never faults.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<HINT>(line);
        }
    }
    #[cfg(target_arch = "aarch64")]
    for offset in (0..n_bytes).step_by(64) {
        let line = address.wrapping_add(offset);
        macro_rules! ask {
            ($instruction:literal) => {
                // SAFETY: a prefetch touches nothing and never faults.
                unsafe {
                    std::arch::asm!(
                        $instruction,
                        line = in(reg) line,
                        options(readonly, nostack, preserves_flags),
                    );
                }
            };
        }
        match HINT {
            hint::ONCE => ask!("prfm pldl1strm, [{line}]"),
            hint::SECOND => ask!("prfm pldl2keep, [{line}]"),
            _ => ask!("prfm pldl1keep, [{line}]"),
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = (address, n_bytes);
}

/// Memory that is asked for bit by bit while something else is computed.
pub(crate) struct Ahead<'a> {
    left: &'a [u8],
    step: usize,
}

#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "only kernels for x86-64 ask between the blocks of a tile")
)]
impl<'a> Ahead<'a> {
    /// All of `bytes`, in at most `n_steps` steps.
    pub(crate) fn new(bytes: &'a [u8], n_steps: usize) -> Ahead<'a> {
        Ahead { left: bytes, step: bytes.len().div_ceil(n_steps.max(1)).next_multiple_of(64) }
    }

    /// Asks for a step.
    #[inline(always)]
    pub(crate) fn ask(&mut self) {
        let (now, later) = self.left.split_at(self.step.min(self.left.len()));
        prefetch(now, 0);
        self.left = later;
    }
}

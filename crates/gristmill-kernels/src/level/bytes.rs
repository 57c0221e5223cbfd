//! Float scratch seen as stored bytes, for weights that are dequantized before the product.
#![expect(unsafe_code, reason = "a slice of floats is seen as bytes")]

/// The little-endian bytes of `values`, made in place.
pub(crate) fn little_endian(values: &mut [f32]) -> &[u8] {
    if cfg!(target_endian = "big") {
        values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
    }
    // SAFETY: every byte of a float is initialized, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

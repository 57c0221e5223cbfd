//! Fast arithmetic on one CPU: SIMD levels, thread team, products over block formats, attention, norms, rope.

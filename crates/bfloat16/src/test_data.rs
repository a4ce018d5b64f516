//! What tests multiply.

use vedette_simd::{bf16_bits, bf16_value};

/// Values of both signs and many magnitudes.
pub(crate) fn numbers(seed: u32, n: usize) -> Vec<f32> {
    let mut x = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    (0..n).map(|_| (next() as i32 as f32 / 2e9) * (1 << (next() % 5)) as f32).collect()
}

/// What products multiply instead of a value.
pub(crate) fn rounded(x: f32) -> f64 {
    f64::from(bf16_value(bf16_bits(x)))
}

/// Whatever is in scratch must not matter: bits that are no numbers.
pub(crate) fn scratch(bytes: usize) -> Vec<u64> {
    vec![u64::MAX; bytes.div_ceil(8)]
}

/// The bytes of such scratch.
pub(crate) fn bytes(scratch: &mut [u64]) -> &mut [u8] {
    // SAFETY: the bytes of the slice.
    unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast::<u8>(), size_of_val(scratch)) }
}

//! Three planes of bytes as pixels.

use crate::at_level;
use vedette_simd::Isa;

/// Writes `count` pixels of a byte of each plane.
///
/// # Safety
/// The planes are readable for `count` bytes, `to` is writable for three times as many and lies apart.
pub(super) unsafe fn interleave(isa: Isa, planes: [*const u8; 3], to: *mut u8, count: usize) {
    // SAFETY: as granted by the caller.
    let ([first, second, third], to) = unsafe {
        (
            planes.map(|plane| std::slice::from_raw_parts(plane, count)),
            std::slice::from_raw_parts_mut(to, 3 * count),
        )
    };
    at_level!(isa, write(first, second, third, &mut *to));
}

#[inline(always)]
fn write(first: &[u8], second: &[u8], third: &[u8], to: &mut [u8]) {
    for (((pixel, a), b), c) in to.chunks_exact_mut(3).zip(first).zip(second).zip(third) {
        pixel[0] = *a;
        pixel[1] = *b;
        pixel[2] = *c;
    }
}

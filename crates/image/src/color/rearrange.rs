//! Channels in another order, as byte shuffles of whole registers.

/// For each byte of a pixel of the output the one of the input, or `None` for opaque alpha.
pub type Sources = [Option<u8>; 4];

/// Moves the channels of as many pixels of `A` bytes as registers hold; returns how many.
///
/// # Panics
/// Where the rows do not hold equally many pixels.
pub fn rearrange<const A: usize, const B: usize>(
    isa: vedette_simd::Isa,
    sources: Sources,
    row: &[u8],
    out: &mut [u8],
) -> usize {
    assert!(row.len() / A == out.len() / B);
    if isa.level() < vedette_simd::Level::Avx2 {
        return 0;
    }
    // SAFETY: the level is there.
    unsafe { shuffled::<A, B>(sources, row, out) }
}

/// # Safety
/// Needs AVX2; both rows hold equally many pixels.
#[target_feature(enable = "avx2")]
unsafe fn shuffled<const A: usize, const B: usize>(sources: Sources, row: &[u8], out: &mut [u8]) -> usize {
    use std::arch::x86_64::*;
    // As many pixels as a register holds on either side; what is stored past them is still to come.
    let step = const { if A > B { 16 / A } else { 16 / B } };
    let (mut mask, mut opaque) = ([-1i8; 16], [0u8; 16]);
    for (byte, (place, alpha)) in mask.iter_mut().zip(&mut opaque).enumerate().take(step * B) {
        match sources[byte % B] {
            Some(channel) => *place = (byte / B * A) as i8 + channel as i8,
            None => *alpha = 255,
        }
    }
    let (from, to) = (row.as_ptr(), out.as_mut_ptr());
    // SAFETY: 16 bytes each.
    let (mask, opaque) =
        unsafe { (_mm_loadu_si128(mask.as_ptr().cast()), _mm_loadu_si128(opaque.as_ptr().cast())) };
    let mut done = 0;
    while done * A + 16 <= row.len() && done * B + 16 <= out.len() {
        // SAFETY: just checked.
        unsafe {
            let bytes = _mm_shuffle_epi8(_mm_loadu_si128(from.add(done * A).cast()), mask);
            _mm_storeu_si128(to.add(done * B).cast(), _mm_or_si128(bytes, opaque));
        }
        done += step;
    }
    done
}

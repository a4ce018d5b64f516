//! Sums in the order that interleaving leaves them in: 64 channels in four vectors, vector `i` with channels
//! `4 i..4 i + 4` of each sixteen. Packing them brings the channels in order, so nothing is permuted.

use super::{BOUND, Bytes, Epilogue, Target, channel_at, interleaved_channel};
use std::arch::x86_64::*;
use vedette_memory::AlignedBuffer;

/// Channels of a block.
const CHANNELS: usize = 64;

/// The parameters of an epilogue to bytes without a residual, in the order of the sums.
pub(crate) struct Quarters {
    /// For every block of channels the multipliers, then the biases.
    parameters: AlignedBuffer,
}

impl Quarters {
    /// The parameters in this order, if the epilogue is of that kind; `pixels` share a block of channels.
    pub(crate) fn new(epilogue: &Epilogue, pixels: usize) -> Option<Quarters> {
        if epilogue.residual.is_some() || matches!(epilogue.target, Target::Float { .. }) {
            return None;
        }
        let blocks = epilogue.channels.div_ceil(CHANNELS);
        let mut parameters = AlignedBuffer::new(blocks * 2 * CHANNELS * size_of::<f32>());
        for (i, to) in parameters.as_mut_slice().chunks_exact_mut(size_of::<f32>()).enumerate() {
            let (block, part, at) = (i / (2 * CHANNELS), i / CHANNELS % 2, i % CHANNELS);
            let place = interleaved_channel(at / 16, at % 16);
            if let Some(channel) = channel_at(epilogue.channels, pixels, block, place) {
                let from = if part == 0 { epilogue.multiplier() } else { epilogue.bias() };
                // SAFETY: a parameter for each channel.
                to.copy_from_slice(&unsafe { from.add(channel).read() }.to_ne_bytes());
            }
        }
        Some(Quarters { parameters })
    }

    /// Writes the outputs of `rows` rows of [`CHANNELS`] sums of a block of channels.
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ and VL; the epilogue is the one these parameters were made of; the sums are
    /// readable and aligned to 64 bytes; `count` bytes are writable at every `stride` from `out` on.
    pub(crate) unsafe fn run(
        &self,
        epilogue: &Epilogue,
        (block, count): (usize, usize),
        (sums, rows): (*const i32, usize),
        (out, stride): (*mut u8, usize),
    ) {
        let Target::Bytes(bytes) = &epilogue.target else { return };
        let parameters = self.parameters.as_ptr().cast::<f32>().wrapping_add(block * 2 * CHANNELS);
        // SAFETY: as granted by the caller.
        unsafe {
            if epilogue.bounded {
                to_bytes::<true>(bytes, parameters, count, (sums, rows), (out, stride));
            } else {
                to_bytes::<false>(bytes, parameters, count, (sums, rows), (out, stride));
            }
            if let Some(table) = &bytes.table {
                for row in 0..rows {
                    let out = out.add(row * stride);
                    table.apply(out, out, count);
                }
            }
        }
    }
}

/// # Safety
/// As for [`Quarters::run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn to_bytes<const BOUNDED: bool>(
    bytes: &Bytes,
    parameters: *const f32,
    count: usize,
    (sums, rows): (*const i32, usize),
    (out, stride): (*mut u8, usize),
) {
    let lanes = if count == CHANNELS { u64::MAX } else { (1 << count) - 1 };
    // SAFETY: parameters of a whole block; the rest is granted by the caller.
    unsafe {
        let multiplier: [__m512; 4] = std::array::from_fn(|i| _mm512_load_ps(parameters.add(i * 16)));
        let bias: [__m512; 4] = std::array::from_fn(|i| _mm512_load_ps(parameters.add(CHANNELS + i * 16)));
        let inverse = _mm512_set1_ps(bytes.inverse);
        let zero = _mm512_set1_epi16(i16::from(bytes.zero_point));
        let (low, high) = (_mm512_set1_epi8(bytes.low as i8), _mm512_set1_epi8(bytes.high as i8));
        for row in 0..rows {
            let sums = sums.add(row * CHANNELS);
            let part = |i: usize| {
                let sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums.add(i * 16).cast()));
                let f = _mm512_add_ps(_mm512_mul_ps(sum, multiplier[i]), bias[i]);
                let mut v = _mm512_mul_ps(f, inverse);
                if !BOUNDED {
                    // The first operand is taken only where it is greater or less: NaN gives the bound.
                    v = _mm512_max_ps(v, _mm512_set1_ps(-BOUND));
                    v = _mm512_min_ps(v, _mm512_set1_ps(BOUND));
                }
                _mm512_cvtps_epi32(v)
            };
            let first = _mm512_adds_epi16(_mm512_packs_epi32(part(0), part(1)), zero);
            let second = _mm512_adds_epi16(_mm512_packs_epi32(part(2), part(3)), zero);
            let packed = _mm512_packus_epi16(first, second);
            let packed = _mm512_min_epu8(_mm512_max_epu8(packed, low), high);
            _mm512_mask_storeu_epi8(out.add(row * stride).cast(), lanes, packed);
        }
    }
}

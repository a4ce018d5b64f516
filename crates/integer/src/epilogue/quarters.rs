//! Sums in the order that interleaving leaves them in: 64 channels in four vectors, vector `i` with channels
//! `4 i..4 i + 4` of each sixteen. Packing them brings the channels in order, so nothing is permuted.

use super::{BOUND, Bytes, Epilogue, Target, channel_at, interleaved_channel};
use crate::table::Table;
use crate::table::x86::InRegisters;
use std::arch::x86_64::*;
use vedette_memory::AlignedBuffer;

/// Channels of a block.
const CHANNELS: usize = 64;

/// The parameters of an epilogue to bytes without a residual, in the order of the sums.
pub(crate) struct Quarters {
    /// For every block of channels the multipliers, then the biases.
    parameters: AlignedBuffer,
    /// Whether results fit an i32 before they are bounded.
    bounded: bool,
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
        Some(Quarters { parameters, bounded: epilogue.bounded })
    }

    /// Makes the outputs of rows of a block of channels whose sums `sums` gives, and hands them to `store`; those that a
    /// table is yet to be applied to, as [`look_up`](Self::look_up) does.
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ, VL and VNNI; the epilogue is the one these parameters were made of, the block below
    /// its channels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(crate) unsafe fn write(
        &self,
        epilogue: &Epilogue,
        (block, rows): (usize, usize),
        sums: impl Fn(usize) -> [__m512i; 4],
        store: impl Fn(usize, __m512i),
    ) {
        let Target::Bytes(bytes) = &epilogue.target else { return };
        let parameters = self.parameters.as_ptr().cast::<f32>().wrapping_add(block * 2 * CHANNELS);
        // Packing has these bounds by itself.
        let plain = (bytes.zero_point, bytes.low, bytes.high) == (0, 0, 255);
        // SAFETY: as granted by the caller.
        unsafe {
            let in_registers = bytes.table.as_ref().is_some_and(Table::fits_registers);
            match (self.bounded, in_registers, plain) {
                (true, false, true) => to_bytes::<true, false, true>(bytes, parameters, rows, sums, store),
                (true, false, false) => to_bytes::<true, false, false>(bytes, parameters, rows, sums, store),
                (true, true, _) => to_bytes::<true, true, false>(bytes, parameters, rows, sums, store),
                (false, false, _) => to_bytes::<false, false, false>(bytes, parameters, rows, sums, store),
                (false, true, _) => to_bytes::<false, true, false>(bytes, parameters, rows, sums, store),
            }
        }
    }

    /// Replaces `count` outputs at every `stride` from `out` on by the table's, where there is one that does not fit
    /// registers.
    ///
    /// # Safety
    /// They are readable and writable.
    pub(crate) unsafe fn look_up(
        &self,
        epilogue: &Epilogue,
        (out, stride): (*mut u8, usize),
        (rows, count): (usize, usize),
    ) {
        let Target::Bytes(bytes) = &epilogue.target else { return };
        let Some(table) = bytes.table.as_ref().filter(|table| !table.fits_registers()) else { return };
        for row in 0..rows {
            // SAFETY: as granted by the caller.
            unsafe {
                let out = out.add(row * stride);
                table.apply(out, out, count);
            }
        }
    }
}

/// Outputs of 8 bits, looked up in registers where `TABLE`.
///
/// # Safety
/// As for [`Quarters::write`], and where `TABLE` there is a table that fits registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn to_bytes<const BOUNDED: bool, const TABLE: bool, const PLAIN: bool>(
    bytes: &Bytes,
    parameters: *const f32,
    rows: usize,
    sums: impl Fn(usize) -> [__m512i; 4],
    store: impl Fn(usize, __m512i),
) {
    // SAFETY: parameters of a whole block; the rest is granted by the caller.
    unsafe {
        let multiplier: [__m512; 4] = std::array::from_fn(|i| _mm512_load_ps(parameters.add(i * 16)));
        let bias: [__m512; 4] = std::array::from_fn(|i| _mm512_load_ps(parameters.add(CHANNELS + i * 16)));
        let zero = _mm512_set1_epi16(i16::from(bytes.zero_point));
        let (low, high) = (_mm512_set1_epi8(bytes.low as i8), _mm512_set1_epi8(bytes.high as i8));
        let table = InRegisters::of(bytes.table.as_ref());
        for row in 0..rows {
            let sums = sums(row);
            let part = |i: usize| {
                let sum = _mm512_cvtepi32_ps(sums[i]);
                let mut v = _mm512_fmadd_ps(sum, multiplier[i], bias[i]);
                if !BOUNDED {
                    // The first operand is taken only where it is greater or less: NaN gives the bound.
                    v = _mm512_max_ps(v, _mm512_set1_ps(-BOUND));
                    v = _mm512_min_ps(v, _mm512_set1_ps(BOUND));
                }
                _mm512_cvtps_epi32(v)
            };
            let (mut first, mut second) =
                (_mm512_packs_epi32(part(0), part(1)), _mm512_packs_epi32(part(2), part(3)));
            if !PLAIN {
                first = _mm512_adds_epi16(first, zero);
                second = _mm512_adds_epi16(second, zero);
            }
            let mut packed = _mm512_packus_epi16(first, second);
            if !PLAIN {
                packed = _mm512_min_epu8(_mm512_max_epu8(packed, low), high);
            }
            if TABLE {
                packed = table.take(packed);
            }
            store(row, packed);
        }
    }
}

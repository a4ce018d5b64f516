//! Both passes at once where every output is made of two pixels in each of two rows that lie far apart: from memory to
//! registers to planes.
//!
//! The two pixels of an output are kept with each channel's samples side by side (`r0 r1 g0 g1 b0 b1 a0 a1`, 128 bits), so
//! that one multiplication and addition of neighbours gives all channels.

use super::rounding_shift;
use crate::registers::Registers;
use vedette_simd::prefetch;

/// Fraction bits of the columns' weights.
const BITS: u32 = super::super::plan::HORIZONTAL_BITS;
/// Bytes taken for an output: two pixels of up to four.
const LOAD: usize = 8;

/// Two rows of which few pixels count, and the places of those in them.
#[derive(Clone, Copy)]
pub struct Sparse<'a> {
    /// The upper and the lower row.
    pub rows: [*const u8; 2],
    /// Bytes that can be read from each.
    pub readable: usize,
    /// The rows that come next.
    pub next: [*const u8; 2],
    /// First pixel of each output.
    pub starts: &'a [u32],
    /// Bytes from pixel to pixel.
    pub step: usize,
    /// High and low bytes of the rows' weights, twice, and how far their sums are shifted.
    pub vertical: ([i32; 2], u32),
    /// The weights of each output's two samples in 32 bits, padded to a whole register.
    pub horizontal: &'a [i32],
}

/// Both passes for the outputs of one row, those of channel `c` to plane `planes[c]` of `out`, whose planes are so far apart.
///
/// # Safety
/// Reached at the level of `R`; two pixels from each start on lie within the readable bytes of both rows; planes writable
/// for as many values as there are weights, which are as many as there are starts, padded to whole registers.
#[inline(always)]
pub unsafe fn sparse<R: Registers>(input: &Sparse<'_>, planes: &[Option<usize>; 4], out: (*mut i16, usize)) {
    let block = R::BYTES / 4;
    let order = sample_order(input.step);
    for (starts, x) in input.starts.chunks(block).zip((0..).step_by(block)) {
        let offset = |i: usize| starts[i] as usize * input.step;
        let last = starts.len() - 1;
        // Columns may be stored back to front.
        let (from, to) = (offset(0).min(offset(last)), offset(0).max(offset(last)) + LOAD);
        for line in (from..to).step_by(64) {
            prefetch(input.next[0].wrapping_add(line));
            prefetch(input.next[1].wrapping_add(line));
        }
        if last + 1 == block && to <= input.readable {
            // SAFETY: eight bytes from each start on are readable, as just checked.
            unsafe { block_of_two::<R>(input, input.rows, offset, &order, planes, out, x) }
            continue;
        }
        // At the end of a row eight bytes may be more than there are.
        let mut ends = [[0u8; 16 * LOAD]; 2];
        for i in 0..=last {
            let count = LOAD.min(input.readable - offset(i));
            for (end, row) in ends.iter_mut().zip(input.rows) {
                let target = &mut end[i * LOAD..][..count];
                // SAFETY: the bytes lie within the row.
                unsafe {
                    std::ptr::copy_nonoverlapping(row.add(offset(i)), target.as_mut_ptr(), target.len());
                }
            }
        }
        let rows = [ends[0].as_ptr(), ends[1].as_ptr()];
        // SAFETY: eight bytes an output of a block.
        unsafe { block_of_two::<R>(input, rows, |i| i * LOAD, &order, planes, out, x) }
    }
}

/// Where the bytes of two pixels of an upper row, in the first half of a lane, and of a lower row go: upper beside lower,
/// the two samples of a channel next to each other.
fn sample_order(step: usize) -> [i8; 16] {
    std::array::from_fn(|byte| {
        let (channel, sample, row) = (byte / 4, byte / 2 % 2, byte % 2);
        if channel < step { (row * LOAD + sample * step + channel) as i8 } else { -1 }
    })
}

/// A register of outputs of [`sparse`], whose two pixels start at `offset`.
///
/// # Safety
/// As [`sparse`], and eight bytes must be readable in both rows from each offset on.
#[inline(always)]
unsafe fn block_of_two<R: Registers>(
    input: &Sparse<'_>,
    rows: [*const u8; 2],
    offset: impl Fn(usize) -> usize,
    order: &[i8; 16],
    planes: &[Option<usize>; 4],
    (out, stride): (*mut i16, usize),
    x: usize,
) {
    let order = R::lanes(order);
    let (bytes, shift) = input.vertical;
    let (high, low) = (R::splat32(bytes[0]), R::splat32(bytes[1]));
    let shift = R::splat16(rounding_shift(shift));
    // SAFETY: indices are a register, weights are padded to whole ones; the rest is the caller's promise.
    unsafe {
        let weights = R::load(input.horizontal.as_ptr().add(x).cast());
        let mut products = [R::splat32(0); 4];
        for (j, product) in products.iter_mut().enumerate() {
            // Lane k has the upper and the lower pixels of output 4 k + j.
            let bytes = R::load_groups(
                #[inline(always)]
                |i| rows[i % 2].add(offset(i / 2 * 4 + j)),
            );
            let columns = R::shuffle(bytes, order);
            let rest = R::multiply_high16(R::maddubs(columns, low), shift);
            let values = R::add16(R::maddubs(columns, high), rest);
            let indices =
                R::load(const { &[repeated(0), repeated(1), repeated(2), repeated(3)] }[j].as_ptr().cast());
            *product = R::madd(values, R::permute32(weights, indices));
        }
        let half = R::splat32(1 << (BITS - 1));
        for (channel, plane) in transposed::<R>(products).into_iter().zip(planes) {
            if let &Some(plane) = plane {
                R::store_narrow32(out.add(plane * stride + x), R::shift32(R::add32(channel, half), BITS));
            }
        }
    }
}

/// Lanes of all channels of an output as one register a channel: lane `k` has lanes `k` of the four in turn.
#[inline(always)]
fn transposed<R: Registers>([a, b, c, d]: [R::V; 4]) -> [R::V; 4] {
    let (low, high) = (R::unpack_low32(a, b), R::unpack_high32(a, b));
    let (low_2, high_2) = (R::unpack_low32(c, d), R::unpack_high32(c, d));
    [
        R::unpack_low64(low, low_2),
        R::unpack_high64(low, low_2),
        R::unpack_low64(high, high_2),
        R::unpack_high64(high, high_2),
    ]
}

/// In each lane the group of 32 bits of number `first + 4 * lane`, four times.
const fn repeated(first: i32) -> [i32; 16] {
    let mut indices = [0; 16];
    let mut place = 0;
    while place < 16 {
        indices[place] = first + place as i32 / 4 * 4;
        place += 1;
    }
    indices
}

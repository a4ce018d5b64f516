use super::BlockWeights;
use crate::at_level;
use crate::requantize::{ROUNDING, clamp};
use vedette_simd::Isa;

/// Rows quantised to i8 by groups, in scratch memory.
pub(super) struct Activations {
    group: usize,
    groups: usize,
    /// `[rows, groups]`: what a step of each group is worth.
    steps: *mut f32,
    /// `[rows, groups]`: the sum of each group.
    sums: *mut i32,
    /// `[rows][stride]`
    values: *mut i8,
    /// Values from one row to the next.
    stride: usize,
}

// SAFETY: while rows are quantised, each is one thread's own; afterwards they are only read.
unsafe impl Sync for Activations {}

impl Activations {
    /// Bytes of memory for so many rows.
    pub(super) fn bytes(rows: usize, weights: &BlockWeights) -> usize {
        rows * (weights.groups() * 8 + Activations::stride(weights))
    }

    /// A cache line more than the depth, as rows a power of two apart would share few lines of the cache.
    fn stride(weights: &BlockWeights) -> usize {
        weights.depth() + 64
    }

    /// Lays the parts out in scratch memory.
    pub(super) fn new(rows: usize, weights: &BlockWeights, scratch: &mut [u8]) -> Activations {
        let groups = weights.groups();
        assert!(scratch.len() >= Activations::bytes(rows, weights));
        let steps = scratch.as_mut_ptr().cast::<f32>();
        let sums = steps.wrapping_add(rows * groups).cast::<i32>();
        let values = sums.wrapping_add(rows * groups).cast::<i8>();
        Activations {
            group: weights.group(),
            groups,
            steps,
            sums,
            values,
            stride: Activations::stride(weights),
        }
    }

    /// What a step of each group of a row is worth.
    pub(super) fn steps(&self, row: usize) -> *const f32 {
        self.steps.wrapping_add(row * self.groups)
    }

    /// The sum of each group of a row.
    pub(super) fn sums(&self, row: usize) -> *const i32 {
        self.sums.wrapping_add(row * self.groups)
    }

    /// The values of a row.
    pub(super) fn values(&self, row: usize) -> *const i8 {
        self.values.wrapping_add(row * self.stride)
    }

    /// Quantises a row.
    ///
    /// # Safety
    /// `a` is the row; no other thread uses this row meanwhile.
    pub(super) unsafe fn quantize(&self, isa: Isa, row: usize, a: *const f32) {
        for g in 0..self.groups {
            let at = row * self.groups + g;
            // SAFETY: a group of the row, and its place in the scratch memory, which is aligned for f32.
            unsafe {
                let a = std::slice::from_raw_parts(a.add(g * self.group), self.group);
                let values = self.values.add(row * self.stride + g * self.group);
                let to = std::slice::from_raw_parts_mut(values, self.group);
                let (step, sum) = at_level!(isa, quantize_group(a, &mut *to));
                self.steps.add(at).write(step);
                self.sums.add(at).write(sum);
            }
        }
    }
}

/// Quantises a group, a multiple of 8 values; its step and the sum of its bytes.
#[inline(always)]
fn quantize_group(a: &[f32], to: &mut [i8]) -> (f32, i32) {
    const LANES: usize = 8;
    let mut largest = [0.0f32; LANES];
    for eight in a.chunks_exact(LANES) {
        for (largest, x) in largest.iter_mut().zip(eight) {
            *largest = if x.abs() > *largest { x.abs() } else { *largest };
        }
    }
    let largest = largest.into_iter().fold(0.0f32, |a, b| if b > a { b } else { a });
    let step = largest / 127.0;
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    let mut sums = [0i32; LANES];
    for (eight, to) in a.chunks_exact(LANES).zip(to.chunks_exact_mut(LANES)) {
        for lane in 0..LANES {
            let q = (clamp(eight[lane] * inverse, -127.0, 127.0) + ROUNDING).to_bits() as i8;
            to[lane] = q;
            sums[lane] += i32::from(q);
        }
    }
    (step, sums.iter().sum())
}

//! What becomes of scores while they are in L1.

use crate::powers::exp2;
use crate::product::{Finish, SumBlock};
use std::f32::consts::LOG2_E;
use vedette_simd::{Isa, Simd, dispatch};

/// Lanes of the widest vector.
pub(super) const LANES: usize = 16;

/// Largest exponents, either way, that sums of powers of two are exact enough with.
const FARTHEST: f32 = 100.0;

/// What the scores of a row have come to, column by column of a vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct RowState {
    largest: [f32; LANES],
    /// First column of the vector that the largest was found in.
    holder: [f32; LANES],
    sum: [f32; LANES],
    /// What is subtracted from scores, in units of ln 2, before they become powers of two.
    shift: f32,
}

impl RowState {
    pub(super) fn new(shift: f32) -> RowState {
        RowState { largest: [f32::NEG_INFINITY; LANES], holder: [0.0; LANES], sum: [0.0; LANES], shift }
    }

    fn largest(&self) -> f32 {
        self.largest.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    fn total(&self) -> f32 {
        self.sum.iter().sum()
    }

    /// A better shift, where this one was too far from the largest score.
    pub(super) fn better_shift(&self) -> Option<f32> {
        let largest = self.largest() * LOG2_E;
        ((largest - self.shift).abs() > FARTHEST).then_some(largest)
    }

    /// What powers of two are shifted by to be shares.
    pub(super) fn shift_of_shares(&self) -> f32 {
        self.shift + self.total().log2()
    }

    /// The first column with the largest score, and its share.
    pub(super) fn best(&self) -> (usize, f32) {
        let largest = self.largest();
        let columns = (0..LANES).filter(|&i| self.largest[i] == largest).map(|i| self.holder[i] as usize + i);
        (columns.min().unwrap_or(0), (largest * LOG2_E - self.shift).exp2() / self.total())
    }
}

/// Sums up the powers of the scores of each row, and finds the largest.
#[derive(Clone, Copy)]
pub(super) struct Summing {
    pub rows: *mut RowState,
    /// Added to the sums of each column; of whole vectors, those behind the last column are minus infinity.
    pub bias: *const f32,
}

// SAFETY: the rows are those of one thread.
unsafe impl Sync for Summing {}

impl Finish for Summing {
    const WRITES: bool = false;

    #[inline(never)]
    unsafe fn finish(&self, isa: Isa, block: &SumBlock) {
        // SAFETY: as granted by the caller.
        dispatch!(isa, S => unsafe { self.sum::<S>(block) });
    }
}

impl Summing {
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn sum<S: Simd>(&self, block: &SumBlock) {
        // SAFETY: the states of these rows; sums and biases are there for whole vectors.
        unsafe {
            for row in 0..block.rows {
                let state = self.rows.add(block.row + row);
                let shift = S::splat(-(*state).shift);
                let sums = block.sums.add(row * block.sums_stride);
                for column in (0..block.columns).step_by(LANES) {
                    for lane in (0..LANES).step_by(S::LANES) {
                        let at = block.column + column + lane;
                        let x = S::add(S::load(sums.add(column + lane)), S::load(self.bias.add(at)));
                        let largest = (&raw mut (*state).largest).cast::<f32>().add(lane);
                        let holder = (&raw mut (*state).holder).cast::<f32>().add(lane);
                        let sum = (&raw mut (*state).sum).cast::<f32>().add(lane);
                        let known = S::load(largest);
                        let here = S::splat((at - lane) as f32);
                        S::store(holder, S::select_lt(known, x, here, S::load(holder)));
                        // The first operand is passed over where it is no number; its power is none either.
                        S::store(largest, S::max(x, known));
                        let power = exp2::<S>(S::mul_add(x, S::splat(LOG2_E), shift));
                        S::store(sum, S::add(S::load(sum), power));
                    }
                }
            }
        }
    }
}

/// Writes the share of each score in its row.
#[derive(Clone, Copy)]
pub(super) struct Sharing {
    /// What the scores of each row are shifted by, in units of ln 2.
    pub shifts: *const f32,
    /// As for [`Summing`].
    pub bias: *const f32,
}

// SAFETY: the shifts are those of one thread.
unsafe impl Sync for Sharing {}

impl Finish for Sharing {
    const WRITES: bool = true;

    #[inline(never)]
    unsafe fn finish(&self, isa: Isa, block: &SumBlock) {
        // SAFETY: as granted by the caller.
        dispatch!(isa, S => unsafe { self.share::<S>(block) });
    }
}

impl Sharing {
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn share<S: Simd>(&self, block: &SumBlock) {
        // SAFETY: rows and columns of the block; sums and biases are there for whole vectors.
        unsafe {
            for row in 0..block.rows {
                let shift = S::splat(-*self.shifts.add(block.row + row));
                let sums = block.sums.add(row * block.sums_stride);
                let out = block.out.add(row * block.out_stride);
                for column in (0..block.columns).step_by(S::LANES) {
                    let bias = S::load(self.bias.add(block.column + column));
                    let x = S::add(S::load(sums.add(column)), bias);
                    let share = exp2::<S>(S::mul_add(x, S::splat(LOG2_E), shift));
                    match block.columns - column {
                        left if left < S::LANES => S::store_partial(out.add(column), share, left),
                        _ => S::store(out.add(column), share),
                    }
                }
            }
        }
    }
}

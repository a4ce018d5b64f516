//! What becomes of scores while they are in L1.

use crate::powers::exp2;
use crate::product::{Finish, SumBlock};
use std::f32::consts::LOG2_E;
use vedette_simd::{Isa, Simd, dispatch};

/// Lanes of the widest vector.
pub(super) const LANES: usize = 16;

/// Powers of two that all the powers passed over may be of the others together: less than the error of powers.
const PASSED_OVER: f32 = -18.0;

/// What the scores of a row have come to.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct RowState {
    /// Of the powers, lane by lane of a vector.
    sum: [f32; LANES],
    largest: f32,
    /// The first column with it.
    class: usize,
}

impl RowState {
    pub(super) const EMPTY: RowState = RowState { sum: [0.0; LANES], largest: f32::NEG_INFINITY, class: 0 };

    /// What is subtracted from scores, in units of ln 2, before they become powers of two.
    #[inline(always)]
    fn shift(&self) -> f32 {
        if self.largest == f32::NEG_INFINITY { 0.0 } else { self.largest * LOG2_E }
    }

    fn total(&self) -> f32 {
        self.sum.iter().sum()
    }

    /// What powers of two are shifted by to be shares.
    fn shift_of_shares(&self) -> f32 {
        self.shift() + self.total().log2()
    }

    /// The first column with the largest score, and its share.
    pub(super) fn best(&self) -> (usize, f32) {
        (self.class, (self.largest * LOG2_E - self.shift()).exp2() / self.total())
    }

    /// Takes note of scores, some of which are larger than any before, and brings the sum to the new largest.
    #[cold]
    #[inline(never)]
    fn climb(&mut self, scores: &[f32], column: usize) {
        let (none, before) = (self.largest == f32::NEG_INFINITY, self.shift());
        for (i, &score) in scores.iter().enumerate() {
            if score > self.largest {
                (self.largest, self.class) = (score, column + i);
            }
        }
        let factor = if none { 0.0 } else { (before - self.shift()).exp2() };
        self.sum.iter_mut().for_each(|sum| *sum *= factor);
    }
}

/// Sums up the powers of the scores of each row, and finds the largest; where `WRITE` the scores are written, too.
#[derive(Clone, Copy)]
pub(super) struct Summing<const WRITE: bool> {
    pub rows: *mut RowState,
    /// Added to the sums of each column; of whole vectors, those behind the last column are minus infinity.
    pub bias: *const f32,
    /// How far below the largest score powers are passed over.
    pub reach: f32,
}

/// How far below the largest of so many scores powers are passed over.
pub(super) fn reach(classes: usize) -> f32 {
    ((classes as f32).log2() - PASSED_OVER) / LOG2_E
}

// SAFETY: the rows are those of one thread.
unsafe impl<const WRITE: bool> Sync for Summing<WRITE> {}

impl<const WRITE: bool> Finish for Summing<WRITE> {
    type Output = f32;

    const WRITES: bool = WRITE;

    #[inline(never)]
    unsafe fn finish(&self, isa: Isa, block: &SumBlock) {
        // SAFETY: as granted by the caller.
        dispatch!(isa, S => unsafe { self.sum::<S>(block) });
    }
}

impl<const WRITE: bool> Summing<WRITE> {
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn sum<S: Simd>(&self, block: &SumBlock) {
        // SAFETY: the states of these rows; sums and biases are there for whole vectors.
        unsafe {
            for row in 0..block.rows {
                let state = &mut *self.rows.add(block.row + row);
                let mut bound = S::splat(state.largest - self.reach);
                let sums = block.sums.add(row * block.sums_stride);
                for column in (0..block.columns).step_by(S::LANES) {
                    let at = block.column + column;
                    let x = S::add(S::load(sums.add(column)), S::load(self.bias.add(at)));
                    if WRITE {
                        let out = block.out.add(row * block.out_stride + column);
                        match block.columns - column {
                            left if left < S::LANES => S::store_partial(out, x, left),
                            _ => S::store(out, x),
                        }
                    }
                    // Of thousands of classes most are far below the best. What is no number is not below.
                    if S::all_lt(x, bound) {
                        continue;
                    }
                    if !S::all_lt(x, S::splat(state.largest)) {
                        let mut scores = [0.0; LANES];
                        S::store(scores.as_mut_ptr(), x);
                        state.climb(&scores[..S::LANES], at);
                        bound = S::splat(state.largest - self.reach);
                    }
                    let power = exp2::<S>(S::mul_add(x, S::splat(LOG2_E), S::splat(-state.shift())));
                    let sum = state.sum.as_mut_ptr();
                    S::store(sum, S::add(S::load(sum), power));
                }
            }
        }
    }
}

/// Turns the scores of a row into their shares.
///
/// # Safety
/// There are `n` scores.
pub(super) unsafe fn share(isa: Isa, scores: *mut f32, n: usize, state: &RowState) {
    let shift = state.shift_of_shares();
    // SAFETY: as granted by the caller.
    dispatch!(isa, S => unsafe { share_at::<S>(scores, n, shift) });
}

/// # Safety
/// As for [`share`].
#[inline(always)]
unsafe fn share_at<S: Simd>(scores: *mut f32, n: usize, shift: f32) {
    let shift = S::splat(-shift);
    let whole = n / S::LANES * S::LANES;
    // SAFETY: scores below n.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            let x = S::load(scores.add(at));
            S::store(scores.add(at), exp2::<S>(S::mul_add(x, S::splat(LOG2_E), shift)));
        }
        if whole < n {
            let x = S::load_partial(scores.add(whole), n - whole);
            let power = exp2::<S>(S::mul_add(x, S::splat(LOG2_E), shift));
            S::store_partial(scores.add(whole), power, n - whole);
        }
    }
}

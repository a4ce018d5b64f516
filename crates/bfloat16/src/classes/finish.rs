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

/// Sums up the powers of the scores of each row, and finds the largest; where `WRITE` the scores are written, too, in whole
/// vectors.
#[derive(Clone, Copy)]
pub(super) struct Summing<const WRITE: bool> {
    pub rows: *mut RowState,
    /// For each row the score below which powers are passed over: all that most scores need.
    pub bounds: *mut f32,
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

    // Scores are written where earlier ones were, in cache.
    const WRITES: bool = false;

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
        // SAFETY: as granted by the caller.
        unsafe {
            if block.columns > S::LANES && block.columns <= 2 * S::LANES {
                return self.sum_columns::<S, 2>(block, 0);
            }
            for column in (0..block.columns).step_by(S::LANES) {
                self.sum_columns::<S, 1>(block, column);
            }
        }
    }

    /// Sums up `N` vectors of columns.
    ///
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn sum_columns<S: Simd, const N: usize>(&self, block: &SumBlock, first: usize) {
        // SAFETY: the states of these rows; sums, biases and room for scores are there for whole vectors.
        unsafe {
            let column = block.column + first;
            let mut bias = [S::splat(0.0); N];
            for (i, bias) in bias.iter_mut().enumerate() {
                *bias = S::load(self.bias.add(column + i * S::LANES));
            }
            for row in 0..block.rows {
                let sums = block.sums.add(row * block.sums_stride + first);
                let out = block.out.wrapping_add(row * block.out_stride + first);
                let number = block.row + row;
                let bound = S::splat(*self.bounds.add(number));
                let (mut x, mut far) = (bias, true);
                for (i, x) in x.iter_mut().enumerate() {
                    *x = S::add(S::load(sums.add(i * S::LANES)), *x);
                    far &= S::all_lt(*x, bound);
                    if WRITE {
                        S::store(out.add(i * S::LANES), *x);
                    }
                }
                // Of thousands of classes most are far below the best. What is no number is not below.
                if far {
                    continue;
                }
                for (i, &x) in x.iter().enumerate() {
                    self.add::<S>(number, column + i * S::LANES, x);
                }
            }
        }
    }

    /// Adds the powers of scores from a column on to those of a row.
    ///
    /// # Safety
    /// There is such a row.
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, row: usize, column: usize, x: S::V) {
        // SAFETY: as granted by the caller.
        unsafe {
            let state = &mut *self.rows.add(row);
            if !S::all_lt(x, S::splat(state.largest)) {
                let mut scores = [0.0; LANES];
                S::store(scores.as_mut_ptr(), x);
                state.climb(&scores[..S::LANES], column);
                *self.bounds.add(row) = state.largest - self.reach;
            }
            let power = power::<S>(x, S::splat(-state.shift()));
            let sum = state.sum.as_mut_ptr();
            S::store(sum, S::add(S::load(sum), power));
        }
    }
}

/// Writes the shares of a row's scores; where `PAST`, past the caches.
///
/// # Safety
/// There are `n` scores and room for as many shares.
pub(super) unsafe fn share<const PAST: bool>(
    isa: Isa,
    scores: *const f32,
    shares: *mut f32,
    n: usize,
    state: &RowState,
) {
    let shift = state.shift_of_shares();
    // SAFETY: as granted by the caller.
    dispatch!(isa, S => unsafe { share_at::<S, PAST>(scores, shares, n, shift) });
}

/// # Safety
/// As for [`share`].
#[inline(always)]
unsafe fn share_at<S: Simd, const PAST: bool>(scores: *const f32, shares: *mut f32, n: usize, shift: f32) {
    let shift = S::splat(-shift);
    // Stores past the caches write whole lines.
    let first = if PAST { shares.align_offset(S::LANES * size_of::<f32>()).min(n) } else { 0 };
    let end = first + (n - first) / S::LANES * S::LANES;
    // SAFETY: scores below n.
    unsafe {
        for (at, count) in [(0, first), (end, n - end)] {
            if count > 0 {
                let x = S::load_partial(scores.add(at), count);
                S::store_partial(shares.add(at), power::<S>(x, shift), count);
            }
        }
        for at in (first..end).step_by(S::LANES) {
            let share = power::<S>(S::load(scores.add(at)), shift);
            match PAST {
                true => S::stream(shares.add(at), share),
                false => S::store(shares.add(at), share),
            }
        }
    }
}

/// `2^(x log2(e) + shift)`
#[inline(always)]
fn power<S: Simd>(x: S::V, shift: S::V) -> S::V {
    exp2::<S>(S::mul_add(x, S::splat(LOG2_E), shift))
}

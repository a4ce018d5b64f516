//! What follows the sums, while they are in L1: `activation(sum + bias + residual)`.

use vedette_simd::{Isa, Simd, dispatch};
use vedette_tensor::activation::{Activation, approximate_gelu};
use vedette_tensor::matmul::Epilogue;

/// What becomes of the sums of a product.
pub(crate) trait Finish: Copy + Sync {
    /// Whether every sum becomes an output.
    const WRITES: bool;

    /// Takes a block of sums.
    ///
    /// # Safety
    /// The block describes memory that is readable and, where there are outputs, writable as its fields say.
    unsafe fn finish(&self, isa: Isa, block: &SumBlock);
}

impl Finish for Epilogue {
    const WRITES: bool = true;

    // Not inlined: it is called from many places, and has a copy for every level and activation.
    #[inline(never)]
    unsafe fn finish(&self, isa: Isa, block: &SumBlock) {
        // SAFETY: as granted by the caller.
        dispatch!(isa, S => unsafe { block.finish_at::<S>(*self) });
    }
}

/// A block of sums and where its results go. Strides count values.
pub(crate) struct SumBlock {
    /// The first pixel of the product, and its first column.
    pub row: usize,
    pub column: usize,
    /// `[rows][stride]`; whole vectors are readable and writable.
    pub sums: *mut f32,
    pub sums_stride: usize,
    pub rows: usize,
    pub columns: usize,
    /// A value a column, or null.
    pub bias: *const f32,
    /// As the output, or null; may be the output.
    pub residual: *const f32,
    pub out: *mut f32,
    pub out_stride: usize,
}

impl SumBlock {
    /// Writes the outputs.
    ///
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn finish_at<S: Simd>(&self, epilogue: Epilogue) {
        // SAFETY: as granted by the caller.
        unsafe {
            match epilogue.split() {
                (None, None) => self.add::<S>(
                    #[inline(always)]
                    |x| x,
                ),
                (Some((low, high)), _) => {
                    let (low, high) = (S::splat(low), S::splat(high));
                    self.add::<S>(
                        // The value is the second operand, which is what a NaN passes through.
                        #[inline(always)]
                        |x| S::min(high, S::max(low, x)),
                    );
                }
                (None, Some(Activation::Gelu)) => self.add::<S>(
                    #[inline(always)]
                    |x| approximate_gelu::<S>(x),
                ),
                (None, Some(activation)) => {
                    // On the sums where they lie, which is without gaps.
                    let inside = SumBlock { residual: std::ptr::null(), out: self.sums, ..*self };
                    let inside = SumBlock { out_stride: self.sums_stride, ..inside };
                    inside.add_with::<S>(
                        self.residual,
                        self.out_stride,
                        #[inline(always)]
                        |x| x,
                    );
                    self.activate::<S>(activation);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, last: impl Fn(S::V) -> S::V) {
        // SAFETY: as granted by the caller.
        unsafe { self.add_with::<S>(self.residual, self.out_stride, last) };
    }

    /// # Safety
    /// As for [`Finish::finish`], with the residual given apart.
    #[inline(always)]
    unsafe fn add_with<S: Simd>(
        &self,
        residual: *const f32,
        residual_stride: usize,
        last: impl Fn(S::V) -> S::V,
    ) {
        // SAFETY: as granted by the caller.
        unsafe {
            match (self.bias.is_null(), residual.is_null()) {
                (true, true) => self.write::<S, false, false>(residual, residual_stride, last),
                (false, true) => self.write::<S, true, false>(residual, residual_stride, last),
                (true, false) => self.write::<S, false, true>(residual, residual_stride, last),
                (false, false) => self.write::<S, true, true>(residual, residual_stride, last),
            }
        }
    }

    /// # Safety
    /// As for [`add_with`](Self::add_with).
    #[inline(always)]
    unsafe fn write<S: Simd, const BIAS: bool, const RESIDUAL: bool>(
        &self,
        residual: *const f32,
        residual_stride: usize,
        last: impl Fn(S::V) -> S::V,
    ) {
        let whole = self.columns / S::LANES * S::LANES;
        let rest = self.columns - whole;
        // SAFETY: rows and columns of the block.
        unsafe {
            for row in 0..self.rows {
                let sums = self.sums.add(row * self.sums_stride);
                let residual = residual.wrapping_add(row * residual_stride);
                let out = self.out.add(row * self.out_stride);
                for column in (0..whole).step_by(S::LANES) {
                    let mut x = S::load(sums.add(column));
                    if BIAS {
                        x = S::add(x, S::load(self.bias.add(column)));
                    }
                    if RESIDUAL {
                        x = S::add(x, S::load(residual.add(column)));
                    }
                    S::store(out.add(column), last(x));
                }
                if rest > 0 {
                    let mut x = S::load(sums.add(whole));
                    if BIAS {
                        x = S::add(x, S::load_partial(self.bias.add(whole), rest));
                    }
                    if RESIDUAL {
                        x = S::add(x, S::load_partial(residual.add(whole), rest));
                    }
                    S::store_partial(out.add(whole), last(x), rest);
                }
            }
        }
    }

    /// Writes the activation of the sums.
    ///
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn activate<S: Simd>(&self, activation: Activation) {
        // SAFETY: rows and columns of the block.
        unsafe {
            if self.columns == self.sums_stride {
                activation.map_raw::<S>(self.sums, self.sums, self.rows * self.columns);
            } else {
                for row in 0..self.rows {
                    let sums = self.sums.add(row * self.sums_stride);
                    activation.map_raw::<S>(sums, sums, self.columns);
                }
            }
            for row in 0..self.rows {
                let from = self.sums.add(row * self.sums_stride);
                std::ptr::copy_nonoverlapping(from, self.out.add(row * self.out_stride), self.columns);
            }
        }
    }
}

//! What follows the sums, while they are in L1: `activation(sum + bias + residual)`.

use vedette_simd::{Isa, Runs, Simd, dispatch, round_runs_to_bf16};
use vedette_tensor::activation::{Activation, approximate_gelu};
use vedette_tensor::matmul::Epilogue;

/// What becomes of the sums of a product.
pub(crate) trait Finish: Copy + Sync {
    /// An output.
    type Output: Copy;

    /// Whether every sum becomes an output.
    const WRITES: bool;

    /// Takes a block of sums.
    ///
    /// # Safety
    /// The block describes memory that is readable and, where there are outputs, writable as its fields say.
    unsafe fn finish(&self, isa: Isa, block: &SumBlock<Self::Output>);
}

impl Finish for Epilogue {
    type Output = f32;

    const WRITES: bool = true;

    // Not inlined: it is called from many places, and has a copy for every level and activation.
    #[inline(never)]
    unsafe fn finish(&self, isa: Isa, block: &SumBlock) {
        // SAFETY: as granted by the caller.
        dispatch!(isa, S => unsafe { block.finish_at::<S>(*self) });
    }
}

/// An epilogue whose outputs are rounded to bfloat16, as those who read them would do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounded(pub Epilogue);

impl Finish for Rounded {
    /// The bits of a bfloat16.
    type Output = u16;

    const WRITES: bool = true;

    unsafe fn finish(&self, isa: Isa, block: &SumBlock<u16>) {
        let inside = block.inside();
        let &SumBlock { rows, columns, sums, sums_stride, out, out_stride, .. } = block;
        let runs =
            Runs { count: rows, len: columns, from_step: sums_stride as isize, to_step: out_stride as isize };
        // SAFETY: as granted by the caller.
        unsafe {
            self.0.finish(isa, &inside);
            round_runs_to_bf16(isa, sums, out, runs);
        }
    }
}

/// A block of sums and where its results go. Strides count values.
pub(crate) struct SumBlock<O = f32> {
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
    /// Null, or a value for each output; may be the outputs.
    pub residual: *const f32,
    pub residual_stride: usize,
    pub out: *mut O,
    pub out_stride: usize,
}

impl<O> SumBlock<O> {
    /// The block with its sums as outputs.
    fn inside(&self) -> SumBlock {
        let &SumBlock { row, column, sums, sums_stride, rows, columns, bias, .. } = self;
        let &SumBlock { residual, residual_stride, .. } = self;
        let (out, out_stride) = (sums, sums_stride);
        SumBlock {
            row,
            column,
            sums,
            sums_stride,
            rows,
            columns,
            bias,
            residual,
            residual_stride,
            out,
            out_stride,
        }
    }
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
                    self.inside().add::<S>(
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
        unsafe {
            match (self.bias.is_null(), self.residual.is_null()) {
                (true, true) => self.write::<S, false, false>(last),
                (false, true) => self.write::<S, true, false>(last),
                (true, false) => self.write::<S, false, true>(last),
                (false, false) => self.write::<S, true, true>(last),
            }
        }
    }

    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn write<S: Simd, const BIAS: bool, const RESIDUAL: bool>(&self, last: impl Fn(S::V) -> S::V) {
        let whole = self.columns / S::LANES * S::LANES;
        let rest = self.columns - whole;
        // SAFETY: rows and columns of the block.
        unsafe {
            for row in 0..self.rows {
                let sums = self.sums.add(row * self.sums_stride);
                let residual = self.residual.wrapping_add(row * self.residual_stride);
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
            if self.out == self.sums {
                return;
            }
            for row in 0..self.rows {
                let from = self.sums.add(row * self.sums_stride);
                std::ptr::copy_nonoverlapping(from, self.out.add(row * self.out_stride), self.columns);
            }
        }
    }
}

//! What follows the sums, while they are in L1: `activation(sum + bias + residual)`.

use vedette_simd::{AsFloat32, Isa, Simd, Store, dispatch, dispatch_rounding};
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
        dispatch!(isa, S => unsafe { block.finish_at::<S, AsFloat32>(*self) });
    }
}

/// An epilogue whose outputs are rounded to bfloat16, as those who read them would do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounded(pub Epilogue);

impl Finish for Rounded {
    /// The bits of a bfloat16.
    type Output = u16;

    const WRITES: bool = true;

    #[inline(never)]
    unsafe fn finish(&self, isa: Isa, block: &SumBlock<u16>) {
        // SAFETY: as granted by the caller.
        dispatch_rounding!(isa, S, O => unsafe { block.finish_at::<S, O>(self.0) });
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

    /// Writes the outputs, which are what is stored this way.
    ///
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn finish_at<S: Simd, W: Store>(&self, epilogue: Epilogue) {
        // SAFETY: as granted by the caller.
        unsafe {
            match epilogue.split() {
                (None, None) => self.add::<S, W>(
                    #[inline(always)]
                    |x| x,
                ),
                (Some((low, high)), _) => {
                    let (low, high) = (S::splat(low), S::splat(high));
                    self.add::<S, W>(
                        // The value is the second operand, which is what a NaN passes through.
                        #[inline(always)]
                        |x| S::min(high, S::max(low, x)),
                    );
                }
                (None, Some(Activation::Gelu)) => self.add::<S, W>(
                    #[inline(always)]
                    |x| approximate_gelu::<S>(x),
                ),
                (None, Some(activation)) => {
                    // On the sums where they lie, which is without gaps.
                    self.inside().add::<S, AsFloat32>(
                        #[inline(always)]
                        |x| x,
                    );
                    self.activate::<S, W>(activation);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn add<S: Simd, W: Store>(&self, last: impl Fn(S::V) -> S::V) {
        // SAFETY: as granted by the caller.
        unsafe {
            match (self.bias.is_null(), self.residual.is_null()) {
                (true, true) => self.write::<S, W, false, false>(last),
                (false, true) => self.write::<S, W, true, false>(last),
                (true, false) => self.write::<S, W, false, true>(last),
                (false, false) => self.write::<S, W, true, true>(last),
            }
        }
    }

    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn write<S: Simd, W: Store, const BIAS: bool, const RESIDUAL: bool>(
        &self,
        last: impl Fn(S::V) -> S::V,
    ) {
        let pairs = self.columns / (2 * S::LANES) * (2 * S::LANES);
        // SAFETY: rows and columns of the block.
        unsafe {
            for row in 0..self.rows {
                let sums = self.sums.add(row * self.sums_stride);
                let residual = self.residual.wrapping_add(row * self.residual_stride);
                let out = self.out.add(row * self.out_stride).cast::<u8>();
                // Compiled apart it would lack the level's instructions.
                let result = std::convert::identity(
                    #[inline(always)]
                    |column: usize| {
                        let mut x = S::load(sums.add(column));
                        if BIAS {
                            x = S::add(x, S::load(self.bias.add(column)));
                        }
                        if RESIDUAL {
                            x = S::add(x, S::load(residual.add(column)));
                        }
                        last(x)
                    },
                );
                for column in (0..pairs).step_by(2 * S::LANES) {
                    W::store_pair::<S>(out, column, [result(column), result(column + S::LANES)]);
                }
                for column in (pairs..self.columns).step_by(S::LANES) {
                    let rest = self.columns - column;
                    if rest >= S::LANES {
                        W::store::<S>(out, column, result(column), S::LANES);
                        continue;
                    }
                    let mut x = S::load(sums.add(column));
                    if BIAS {
                        x = S::add(x, S::load_partial(self.bias.add(column), rest));
                    }
                    if RESIDUAL {
                        x = S::add(x, S::load_partial(residual.add(column), rest));
                    }
                    W::store::<S>(out, column, last(x), rest);
                }
            }
        }
    }

    /// Writes the activation of the sums.
    ///
    /// # Safety
    /// As for [`Finish::finish`].
    #[inline(always)]
    unsafe fn activate<S: Simd, W: Store>(&self, activation: Activation) {
        // SAFETY: rows and columns of the block; sums are there for whole vectors.
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
                let to = self.out.add(row * self.out_stride).cast();
                for column in (0..self.columns).step_by(S::LANES) {
                    let lanes = S::LANES.min(self.columns - column);
                    W::store::<S>(to, column, S::load(from.add(column)), lanes);
                }
            }
        }
    }
}

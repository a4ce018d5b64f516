//! Activations of float32 outputs, while they are in L1.

use super::SumBlock;
use vedette_simd::{Isa, Simd, dispatch};
use vedette_tensor::Activation;
use vedette_tensor::activation::approximate_gelu;

/// Replaces the outputs of a block by their activations.
///
/// # Safety
/// As for [`super::Epilogue::run`], whose outputs are float32 and written.
pub(super) unsafe fn run(isa: Isa, activation: Activation, block: &SumBlock) {
    // SAFETY: as granted by the caller.
    dispatch!(isa, S => unsafe { run_at::<S>(activation, block) });
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn run_at<S: Simd>(activation: Activation, block: &SumBlock) {
    // Rows that follow one another are as good as one: narrow ones would not fill vectors.
    let (rows, columns) = match block.out_stride == block.columns {
        true => (1, block.rows * block.columns),
        false => (block.rows, block.columns),
    };
    for row in 0..rows {
        let out = block.out.cast::<f32>().wrapping_add(row * block.out_stride);
        // SAFETY: a row of the outputs.
        unsafe {
            match activation {
                Activation::Gelu => gelu::<S>(out, columns),
                _ => activation.map_raw::<S>(out, out, columns),
            }
        }
    }
}

/// # Safety
/// `n` values are readable and writable at `out`.
#[inline(always)]
unsafe fn gelu<S: Simd>(out: *mut f32, n: usize) {
    let whole = n / S::LANES * S::LANES;
    // SAFETY: whole vectors of the values, then those that are left.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(out.add(i), approximate_gelu::<S>(S::load(out.add(i))));
        }
        if whole < n {
            let rest = S::load_partial(out.add(whole), n - whole);
            S::store_partial(out.add(whole), approximate_gelu::<S>(rest), n - whole);
        }
    }
}

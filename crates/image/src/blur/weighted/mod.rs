//! Weighted sums along columns, then along the row that comes of it.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::kernel::BITS;
use super::{Kernel, Pass, Rows};
use crate::Sample;
use std::ops::Range;
use vedette_simd::{Isa, dispatch};

/// Half of what is shifted away in the end.
const HALF: u32 = 1 << (2 * BITS - 1);
/// Sums along columns are kept less this, so that multiplications of signed numbers take them.
const SIGN: u16 = 1 << 15;

/// Calls `each` with a padded row of sums along the columns for every row of `range`.
///
/// # Safety
/// No other thread writes these rows.
unsafe fn pass_rows<T: Sample, A: Copy + Default>(
    pass: &Pass<'_, T>,
    down: usize,
    range: Range<usize>,
    mut sum: impl FnMut(&[&[T]], &mut [A]),
    mut finish: impl FnMut(&[A], &mut [T]),
) {
    let (len, half) = (pass.image.row_len(), down as isize / 2);
    let mut source = Rows::new(pass.image, down);
    let mut padded = vec![A::default(); pass.padded()];
    let mut target = Vec::new();
    for y in range {
        let row = |k| pass.border.resolve(y as isize + k, pass.image.height());
        (-half..=half).for_each(|k| source.hold(row(k)));
        let rows: Vec<&[T]> = (-half..=half).map(|k| source.get(row(k))).collect();
        sum(&rows, &mut padded[pass.margin()..][..len]);
        pass.extend(&mut padded);
        // SAFETY: this thread's row.
        unsafe { pass.out.write_row(y, &mut target, |out| finish(&padded, out)) }
    }
}

/// Blurs the rows `range` in integers.
///
/// # Safety
/// No other thread writes these rows.
pub(super) unsafe fn fixed(isa: Isa, pass: &Pass<'_, u8>, kernels: &[Kernel; 2], range: Range<usize>) {
    let [down, along] = kernels.each_ref().map(Kernel::fixed);
    let step = pass.image.channels();
    #[cfg(target_arch = "x86_64")]
    let pairs = x86::pairs(down);
    let _ = isa;
    // SAFETY: granted by the caller; the rows are as long as the sums, which are padded by all windows.
    unsafe {
        pass_rows(
            pass,
            down.len(),
            range,
            |rows, sums: &mut [u16]| {
                #[cfg(target_arch = "x86_64")]
                let done = x86::columns(isa, rows, &pairs, sums);
                #[cfg(not(target_arch = "x86_64"))]
                let done = 0;
                columns(rows, down, done, &mut sums[done..]);
            },
            |padded, out| {
                #[cfg(target_arch = "x86_64")]
                let done = x86::row(isa, padded, step, along, out);
                #[cfg(not(target_arch = "x86_64"))]
                let done = 0;
                row(&padded[done..], step, along, &mut out[done..]);
            },
        );
    }
}

fn columns(rows: &[&[u8]], weights: &[u16], from: usize, out: &mut [u16]) {
    out.fill(SIGN);
    for (row, &weight) in rows.iter().zip(weights) {
        for (sum, &value) in out.iter_mut().zip(&row[from..]) {
            *sum = sum.wrapping_add(u16::from(value) * weight);
        }
    }
}

/// Elements whose sums stay in the nearest cache.
const BLOCK: usize = 1024;

fn row(padded: &[u16], step: usize, weights: &[u16], out: &mut [u8]) {
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut sums = [HALF; BLOCK];
        for (k, &weight) in weights.iter().enumerate() {
            let values = &padded[block * BLOCK + k * step..][..out.len()];
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += u32::from(value ^ SIGN) * u32::from(weight);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum >> (2 * BITS)) as u8;
        }
    }
}

/// Blurs the rows `range` in `f32`; sums are multiplied by `scale` in the end.
///
/// # Safety
/// No other thread writes these rows.
pub(super) unsafe fn float<T: Sample>(
    isa: Isa,
    pass: &Pass<'_, T>,
    [down, along]: [&[f32]; 2],
    scale: f32,
    range: Range<usize>,
) {
    let step = pass.image.channels();
    let mut results = vec![0.0; pass.image.row_len()];
    // SAFETY: granted by the caller.
    unsafe {
        pass_rows(
            pass,
            down.len(),
            range,
            |rows, sums: &mut [f32]| {
                sums.fill(0.0);
                for (row, &weight) in rows.iter().zip(down) {
                    dispatch!(isa, S => add::<S, T>(row, weight, sums));
                }
            },
            |padded, out| {
                results.fill(0.0);
                for (k, &weight) in along.iter().enumerate() {
                    let shifted = &padded[k * step..][..out.len()];
                    dispatch!(isa, S => add::<S, f32>(shifted, weight, &mut results));
                }
                for (out, &sum) in out.iter_mut().zip(&results) {
                    *out = T::from_f32(sum * scale);
                }
            },
        );
    }
}

#[inline(always)]
fn add<S, T: Sample>(values: &[T], weight: f32, sums: &mut [f32]) {
    let _level = std::marker::PhantomData::<S>;
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += value.to_f32() * weight;
    }
}

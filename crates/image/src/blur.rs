//! Box and Gaussian blur: separable sums in fixed point, the same bits at every level.

use crate::{Frame, FrameMut};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};

/// How the image goes on outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Mirrored at the outermost pixel, which is not repeated (OpenCV's default).
    Reflect,
    /// The outermost pixel repeats.
    Replicate,
}

impl Border {
    /// The index inside that stands for `index`.
    fn resolve(self, index: isize, len: usize) -> usize {
        let last = len as isize - 1;
        if self == Border::Replicate || last == 0 {
            return index.clamp(0, last) as usize;
        }
        let period = 2 * last;
        let at = index.rem_euclid(period);
        at.min(period - at) as usize
    }
}

/// Weights of an odd number of neighbours, in fixed point with 16 fraction bits together over both axes.
#[derive(Clone, Debug)]
pub struct Kernel {
    weights: Vec<u32>,
    bits: u32,
}

/// Fraction bits of one axis's weights: the sum of 255 times such weights fits 16 bits.
const BITS: u32 = 8;
/// Fraction bits of a box's weights, which are all alike and often no multiple of 1/256.
const BOX_BITS: u32 = 12;

impl Kernel {
    /// A Gaussian of `size` (odd) neighbours; `sigma` is 0.3 ((size - 1) / 2 - 1) + 0.8 where it is not positive, as in
    /// OpenCV, and sizes up to 7 then have the binomial weights OpenCV gives them.
    pub fn gaussian(size: usize, sigma: f64) -> Kernel {
        let half = (size / 2) as f64;
        let fixed: Option<&[f64]> = match (sigma <= 0.0, size) {
            (true, 1) => Some(&[1.0]),
            (true, 3) => Some(&[0.25, 0.5, 0.25]),
            (true, 5) => Some(&[0.0625, 0.25, 0.375, 0.25, 0.0625]),
            (true, 7) => Some(&[0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125]),
            _ => None,
        };
        let sigma = if sigma > 0.0 { sigma } else { 0.3 * (half - 1.0) + 0.8 };
        let exact: Vec<f64> = match fixed {
            Some(weights) => weights.to_vec(),
            None => {
                let bell = |i: usize| (-(i as f64 - half).powi(2) / (2.0 * sigma * sigma)).exp();
                let sum: f64 = (0..size).map(bell).sum();
                (0..size).map(|i| bell(i) / sum).collect()
            }
        };
        // What rounding leaves over goes on to the next weight towards the middle, as in OpenCV.
        let mut weights = vec![0u32; size];
        let (mut left, mut sum) = (0.0, 0);
        for i in 0..size / 2 {
            let wanted = exact[i] * f64::from(1 << BITS) + left;
            let weight = wanted.round_ties_even().max(0.0);
            left = wanted - weight;
            weights[i] = weight as u32;
            weights[size - 1 - i] = weight as u32;
            sum += 2 * weight as u32;
        }
        weights[size / 2] = (1 << BITS) - sum;
        Kernel { weights, bits: BITS }
    }

    /// The mean of `size` (odd) neighbours.
    pub fn mean(size: usize) -> Kernel {
        // Running sums are rounded, so that the weights together are exactly one.
        let at = |i: usize| (i << BOX_BITS).div_ceil(size) as u32;
        Kernel { weights: (0..size).map(|i| at(i + 1) - at(i)).collect(), bits: BOX_BITS }
    }
}

/// Rows below which another thread costs more than it saves.
const ROWS_PER_PART: usize = 64;

/// Blurs each channel.
///
/// # Panics
/// Where shapes differ.
pub fn blur(
    isa: Isa,
    image: Frame<'_, u8>,
    out: FrameMut<'_, u8>,
    vertical: &Kernel,
    horizontal: &Kernel,
    border: Border,
    pool: &ThreadPool,
) {
    assert!(
        image.height() == out.height() && image.width() == out.width() && image.channels() == out.channels()
    );
    if out.is_empty() {
        return;
    }
    pool.run_ranges(out.height(), ROWS_PER_PART, 1, |range| {
        blur_rows(isa, &image, &out, vertical, horizontal, border, range);
    });
}

fn blur_rows(
    isa: Isa,
    image: &Frame<'_, u8>,
    out: &FrameMut<'_, u8>,
    vertical: &Kernel,
    horizontal: &Kernel,
    border: Border,
    range: std::ops::Range<usize>,
) {
    let (len, channels) = (image.row_len(), image.channels());
    let reach = horizontal.weights.len() / 2;
    let mut scratch = Vec::new();
    let mut target = Vec::new();
    let mut sums = vec![0u32; len];
    let mut padded = vec![0u32; len + 2 * reach * channels];
    let half = vertical.weights.len() as isize / 2;
    for y in range {
        sums.fill(0);
        for (k, &weight) in vertical.weights.iter().enumerate() {
            let row = border.resolve(y as isize + k as isize - half, image.height());
            let row = image.row(row, &mut scratch);
            dispatch!(isa, S => add_scaled::<S>(row, weight, &mut sums));
        }
        padded[reach * channels..][..len].copy_from_slice(&sums);
        for x in 0..reach {
            for (at, index) in [
                (x, x as isize - reach as isize),
                (reach + len / channels + x, (len / channels + x) as isize),
            ] {
                let from = border.resolve(index, len / channels);
                padded[at * channels..][..channels].copy_from_slice(&sums[from * channels..][..channels]);
            }
        }
        let bits = vertical.bits + horizontal.bits;
        // SAFETY: the ranges are disjoint, so this row is this thread's alone.
        unsafe {
            out.write_row(y, &mut target, |row| {
                sums.fill(1 << (bits - 1));
                for (k, &weight) in horizontal.weights.iter().enumerate() {
                    let shifted = &padded[k * channels..][..len];
                    dispatch!(isa, S => add_products::<S>(shifted, weight, &mut sums));
                }
                dispatch!(isa, S => narrow::<S>(&sums, bits, row));
            });
        }
    }
}

#[inline(always)]
fn add_scaled<S>(row: &[u8], weight: u32, sums: &mut [u32]) {
    let _level = std::marker::PhantomData::<S>;
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum += u32::from(value) * weight;
    }
}

#[inline(always)]
fn add_products<S>(row: &[u32], weight: u32, sums: &mut [u32]) {
    let _level = std::marker::PhantomData::<S>;
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum += value * weight;
    }
}

#[inline(always)]
fn narrow<S>(sums: &[u32], bits: u32, out: &mut [u8]) {
    let _level = std::marker::PhantomData::<S>;
    for (value, &sum) in out.iter_mut().zip(sums) {
        *value = (sum >> bits) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_weighted_mean_at_every_level_and_keeps_flat_images() {
        let (height, width, channels) = (13, 29, 3);
        let pixels: Vec<u8> =
            (0..height * width * channels).map(|i: usize| (i.wrapping_mul(2654435761) >> 12) as u8).collect();
        let image = Frame::packed(&pixels, [height, width, channels]);
        for kernel in [Kernel::gaussian(5, 0.0), Kernel::gaussian(9, 1.7), Kernel::mean(3), Kernel::mean(7)] {
            for border in [Border::Reflect, Border::Replicate] {
                let one = f64::from(1u32 << kernel.bits);
                assert_eq!(kernel.weights.iter().sum::<u32>(), 1 << kernel.bits);
                let reach = kernel.weights.len() as isize / 2;
                let mut first = None;
                for isa in Isa::available() {
                    let mut out = vec![0; pixels.len()];
                    let target = FrameMut::packed(&mut out, [height, width, channels]);
                    blur(isa, image, target, &kernel, &kernel, border, &ThreadPool::new(2));
                    for (i, &value) in out.iter().enumerate() {
                        let (y, x, c) = (i / channels / width, i / channels % width, i % channels);
                        let mut sum = 0.0;
                        for (j, wy) in kernel.weights.iter().enumerate() {
                            for (k, wx) in kernel.weights.iter().enumerate() {
                                let row = border.resolve(y as isize + j as isize - reach, height);
                                let column = border.resolve(x as isize + k as isize - reach, width);
                                let weight = f64::from(*wy) * f64::from(*wx) / (one * one);
                                sum += weight * f64::from(image.get(row, column, c));
                            }
                        }
                        assert!((f64::from(value) - sum).abs() <= 0.5 + 1e-6, "{value} for {sum}");
                    }
                    assert_eq!(first.get_or_insert_with(|| out.clone()), &out);
                    let flat = vec![255; pixels.len()];
                    let source = Frame::packed(&flat, [height, width, channels]);
                    let target = FrameMut::packed(&mut out, [height, width, channels]);
                    blur(isa, source, target, &kernel, &kernel, border, &ThreadPool::new(1));
                    assert_eq!(out, flat);
                }
            }
        }
    }
}

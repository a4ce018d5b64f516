//! Operations on each element alone: threshold, normalisation, difference. Plain loops that the compiler turns into
//! vector code, compiled once a level; their integer arithmetic gives the same bits at each, and so does their float
//! arithmetic, which is never fused.

use crate::Sample;
use vedette_simd::{Isa, dispatch};

/// Writes `maximum` where an element is greater than `value`, else zero (OpenCV's `THRESH_BINARY`).
pub fn threshold<T: Sample + PartialOrd>(isa: Isa, input: &[T], value: T, maximum: T, out: &mut [T]) {
    assert_eq!(input.len(), out.len());
    dispatch!(isa, S => cut::<S, T>(input, value, maximum, out));
}

#[inline(always)]
fn cut<S, T: Sample + PartialOrd>(input: &[T], value: T, maximum: T, out: &mut [T]) {
    let _level = std::marker::PhantomData::<S>;
    for (result, &element) in out.iter_mut().zip(input) {
        *result = if element > value { maximum } else { T::default() };
    }
}

/// An element type with a distance that fits it.
pub trait Distance: Sample {
    /// `|self - other|`
    #[must_use]
    fn distance(self, other: Self) -> Self;
}

impl Distance for u8 {
    #[inline(always)]
    fn distance(self, other: u8) -> u8 {
        self.abs_diff(other)
    }
}

impl Distance for u16 {
    #[inline(always)]
    fn distance(self, other: u16) -> u16 {
        self.abs_diff(other)
    }
}

impl Distance for f32 {
    #[inline(always)]
    fn distance(self, other: f32) -> f32 {
        (self - other).abs()
    }
}

/// Writes the absolute difference of each pair of elements.
pub fn absolute_difference<T: Distance>(isa: Isa, first: &[T], second: &[T], out: &mut [T]) {
    assert!(first.len() == out.len() && second.len() == out.len());
    dispatch!(isa, S => distances::<S, T>(first, second, out));
}

#[inline(always)]
fn distances<S, T: Distance>(first: &[T], second: &[T], out: &mut [T]) {
    let _level = std::marker::PhantomData::<S>;
    for ((result, &a), &b) in out.iter_mut().zip(first).zip(second) {
        *result = a.distance(b);
    }
}

/// Mean and reciprocal deviation of each channel, repeated until whole registers fit.
#[derive(Clone, Debug)]
pub struct ChannelScale {
    means: Vec<f32>,
    factors: Vec<f32>,
}

/// Elements after which any register's lanes stand at the first channel again.
const REPEATS: usize = 16;

impl ChannelScale {
    /// `(value - mean) / deviation` for each channel.
    pub fn new(means: &[f32], deviations: &[f32]) -> ChannelScale {
        assert!(means.len() == deviations.len() && !means.is_empty());
        let factors: Vec<f32> = deviations.iter().map(|deviation| 1.0 / deviation).collect();
        ChannelScale { means: means.repeat(REPEATS), factors: factors.repeat(REPEATS) }
    }

    /// Normalises elements whose first belongs to the first channel.
    pub fn apply<T: Sample>(&self, isa: Isa, input: &[T], out: &mut [f32]) {
        assert_eq!(input.len(), out.len());
        dispatch!(isa, S => match self.means.len() / REPEATS {
            1 => normalize_blocks::<S, T, REPEATS>(self, input, out),
            2 => normalize_blocks::<S, T, { 2 * REPEATS }>(self, input, out),
            3 => normalize_blocks::<S, T, { 3 * REPEATS }>(self, input, out),
            4 => normalize_blocks::<S, T, { 4 * REPEATS }>(self, input, out),
            _ => normalize_any(self, input, out),
        });
    }
}

#[inline(always)]
fn normalize_blocks<S, T: Sample, const N: usize>(scale: &ChannelScale, input: &[T], out: &mut [f32]) {
    let _level = std::marker::PhantomData::<S>;
    let (Some(means), Some(factors)) = (scale.means.first_chunk::<N>(), scale.factors.first_chunk::<N>())
    else {
        return;
    };
    let (blocks, rest) = input.as_chunks::<N>();
    let (targets, last) = out.as_chunks_mut::<N>();
    for (target, block) in targets.iter_mut().zip(blocks) {
        for i in 0..N {
            target[i] = (block[i].to_f32() - means[i]) * factors[i];
        }
    }
    for (i, (target, value)) in last.iter_mut().zip(rest).enumerate() {
        *target = (value.to_f32() - means[i]) * factors[i];
    }
}

#[inline(always)]
fn normalize_any<T: Sample>(scale: &ChannelScale, input: &[T], out: &mut [f32]) {
    for (i, (target, value)) in out.iter_mut().zip(input).enumerate() {
        let lane = i % scale.means.len();
        *target = (value.to_f32() - scale.means[lane]) * scale.factors[lane];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_the_same_bits() {
        for len in [0, 1, 3, 63, 64, 100, 997] {
            let bytes: Vec<u8> = (0..len).map(|i: usize| (i.wrapping_mul(2654435761) >> 9) as u8).collect();
            let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 7.0).collect();
            for isa in Isa::available() {
                let mut out = vec![0; len];
                threshold(isa, &bytes, 100, 200, &mut out);
                assert!(out.iter().zip(&bytes).all(|(&o, &b)| o == if b > 100 { 200 } else { 0 }));
                let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
                absolute_difference(isa, &bytes, &reversed, &mut out);
                assert!((0..len).all(|i| out[i] == bytes[i].abs_diff(reversed[i])));
                for channels in [1, 2, 3, 4, 5] {
                    let means: Vec<f32> = (0..channels).map(|c| c as f32 + 0.3).collect();
                    let deviations: Vec<f32> = (0..channels).map(|c| c as f32 * 0.7 + 0.9).collect();
                    let scale = ChannelScale::new(&means, &deviations);
                    let mut results = vec![0.0; len];
                    scale.apply(isa, &floats, &mut results);
                    for (i, &result) in results.iter().enumerate() {
                        let channel = i % channels;
                        let expected = (floats[i] - means[channel]) * (1.0 / deviations[channel]);
                        assert_eq!(result.to_bits(), expected.to_bits());
                    }
                }
            }
        }
    }
}

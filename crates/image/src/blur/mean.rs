//! Means of windows: sums along the columns that run from row to row, and along the rows of powers of two.

use super::{Pass, Rows};
use crate::Sample;
use std::ops::Range;
use vedette_simd::{Isa, dispatch};

/// An integer that sums fit.
pub(super) trait Sum: Copy + Default {
    fn plus(self, other: Self) -> Self;
    /// What is left without a part of it.
    fn minus(self, part: Self) -> Self;
}

macro_rules! sum {
    ($type:ty) => {
        impl Sum for $type {
            #[inline(always)]
            fn plus(self, other: $type) -> $type {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn minus(self, part: $type) -> $type {
                self.wrapping_sub(part)
            }
        }
    };
}

sum!(u16);
sum!(u32);

/// An element, as a part of sums of type `A`.
pub(super) trait Part<A>: Sample {
    fn widen(self) -> A;
    /// From a value that fits.
    fn narrow(value: A) -> Self;
}

macro_rules! part {
    ($type:ty, $sum:ty) => {
        impl Part<$sum> for $type {
            #[inline(always)]
            fn widen(self) -> $sum {
                <$sum>::from(self)
            }
            #[inline(always)]
            fn narrow(value: $sum) -> $type {
                value as $type
            }
        }
    };
}

part!(u8, u16);
part!(u8, u32);
part!(u16, u32);

/// Exact division of sums by an odd number, which leaves no halves, to the nearest.
pub(super) trait Division<A>: Copy + Sync {
    fn divide(self, sum: A) -> A;
}

/// Division of 16-bit numbers by multiplication: `(sum + half) * factor >> (16 + shift)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    half: u16,
    factor: u16,
    shift: u32,
}

impl Short {
    /// Where 16 bits hold all sums of bytes, and such a factor exists.
    pub fn new(divisor: usize) -> Option<Short> {
        let divisor = divisor as u64;
        let largest = 255 * divisor + divisor / 2;
        let shift = 16 + divisor.ilog2();
        let factor = (1u64 << shift).div_ceil(divisor);
        // The factor is too large by `excess / divisor`, and must not lift a sum over the next whole number.
        let excess = factor * divisor - (1 << shift);
        let exact = largest * excess < 1 << shift;
        (exact && largest <= u64::from(u16::MAX)).then_some(Short {
            half: (divisor / 2) as u16,
            factor: u16::try_from(factor).ok()?,
            shift: shift - 16,
        })
    }
}

impl Division<u16> for Short {
    #[inline(always)]
    fn divide(self, sum: u16) -> u16 {
        let high = (u32::from(sum.wrapping_add(self.half)) * u32::from(self.factor)) >> 16;
        high as u16 >> self.shift
    }
}

/// Multiplication by a reciprocal: quotients of 32-bit sums are further from a half than what it is off by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long(f64);

impl Long {
    pub fn new(divisor: usize) -> Long {
        Long(1.0 / divisor as f64)
    }
}

impl Division<u32> for Long {
    #[inline(always)]
    fn divide(self, sum: u32) -> u32 {
        // SAFETY: a mean of elements of 16 bits at most.
        unsafe { (f64::from(sum) * self.0 + 0.5).to_int_unchecked() }
    }
}

/// Blurs the rows `range`.
///
/// # Safety
/// No other thread writes these rows.
pub(super) unsafe fn rows<T: Part<A>, A: Sum, D: Division<A>>(
    isa: Isa,
    pass: &Pass<'_, T>,
    [down, along]: [usize; 2],
    division: D,
    range: Range<usize>,
) {
    let (image, len) = (&pass.image, pass.image.row_len());
    let half = down as isize / 2;
    // The row that leaves was summed `down` rows ago.
    let mut source = Rows::new(*image, down + 1);
    let mut window = Window::new(along, image.channels(), pass.padded(), len);
    let mut padded = vec![A::default(); pass.padded()];
    let mut target = Vec::new();
    let row = |y: usize, k: isize| pass.border.resolve(y as isize + k, image.height());
    for k in -half..=half {
        let first = row(range.start, k);
        source.hold(first);
        let sums = &mut padded[pass.margin()..][..len];
        dispatch!(isa, S => add::<S, T, A>(source.get(first), sums));
    }
    for y in range.clone() {
        if y > range.start {
            let (gone, come) = (row(y - 1, -half), row(y, half));
            source.hold(gone);
            source.hold(come);
            let sums = &mut padded[pass.margin()..][..len];
            dispatch!(isa, S => shift::<S, T, A>(source.get(gone), source.get(come), sums));
        }
        pass.extend(&mut padded);
        // SAFETY: this thread's row.
        unsafe {
            pass.out.write_row(y, &mut target, |out| {
                dispatch!(isa, S => window.means::<S, T, D>(&padded, division, out));
            });
        }
    }
}

#[inline(always)]
fn add<S, T: Part<A>, A: Sum>(row: &[T], sums: &mut [A]) {
    let _level = std::marker::PhantomData::<S>;
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum = sum.plus(value.widen());
    }
}

#[inline(always)]
fn shift<S, T: Part<A>, A: Sum>(gone: &[T], come: &[T], sums: &mut [A]) {
    let _level = std::marker::PhantomData::<S>;
    for ((sum, old), new) in sums.iter_mut().zip(gone).zip(come) {
        *sum = sum.plus(new.widen()).minus(old.widen());
    }
}

/// Sums of `count` elements `step` apart.
struct Window<A> {
    count: usize,
    step: usize,
    powers: Vec<A>,
    sums: Vec<A>,
}

/// Most elements that are summed one by one.
const FEW: usize = 9;

impl<A: Sum> Window<A> {
    fn new(count: usize, step: usize, padded: usize, len: usize) -> Window<A> {
        let places = if count > FEW { [padded, len] } else { [0, 0] };
        let [powers, sums] = places.map(|len| vec![A::default(); len]);
        Window { count, step, powers, sums }
    }

    /// The means of the windows from each element of a padded row on.
    #[inline(always)]
    fn means<S, T: Part<A>, D: Division<A>>(&mut self, padded: &[A], division: D, out: &mut [T]) {
        match self.count {
            1 => self.few::<T, D, 1>(padded, division, out),
            3 => self.few::<T, D, 3>(padded, division, out),
            5 => self.few::<T, D, 5>(padded, division, out),
            7 => self.few::<T, D, 7>(padded, division, out),
            FEW => self.few::<T, D, FEW>(padded, division, out),
            _ => self.many::<S, T, D>(padded, division, out),
        }
    }

    #[inline(always)]
    fn few<T: Part<A>, D: Division<A>, const N: usize>(&self, padded: &[A], division: D, out: &mut [T]) {
        let len = out.len();
        let parts: [&[A]; N] = std::array::from_fn(|k| &padded[k * self.step..][..len]);
        for i in 0..len {
            let mut sum = parts[0][i];
            for part in &parts[1..] {
                sum = sum.plus(part[i]);
            }
            out[i] = T::narrow(division.divide(sum));
        }
    }

    /// Sums of 1, 2, 4, ... elements in turn, of which those that the count is made of are added up.
    #[inline(always)]
    fn many<S, T: Part<A>, D: Division<A>>(&mut self, padded: &[A], division: D, out: &mut [T]) {
        let len = out.len();
        self.powers.copy_from_slice(padded);
        self.sums.fill(A::default());
        let (mut power, mut done, mut valid) = (1, 0, padded.len());
        loop {
            if self.count & power != 0 {
                let part = &self.powers[done * self.step..][..len];
                for (sum, &part) in self.sums.iter_mut().zip(part) {
                    *sum = sum.plus(part);
                }
                done += power;
            }
            if 2 * power > self.count {
                break;
            }
            // In place: every element is read before the one in front of it is written.
            valid -= power * self.step;
            for i in 0..valid {
                self.powers[i] = self.powers[i].plus(self.powers[i + power * self.step]);
            }
            power *= 2;
        }
        for (out, &sum) in out.iter_mut().zip(&self.sums) {
            *out = T::narrow(division.divide(sum));
        }
        let _level = std::marker::PhantomData::<S>;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quotient_is_the_nearest() {
        let mut short = 0;
        for side in (1..=255).step_by(2) {
            for other in [1, 3, 5, 9, 15, 255] {
                let divisor = side * other;
                let long = Long::new(divisor);
                let nearest = |sum: usize| ((sum + divisor / 2) / divisor) as u32;
                for level in 0..=255 {
                    let middle = level * divisor + divisor / 2;
                    for sum in [level * divisor, middle, (middle + 1).min(255 * divisor)] {
                        assert_eq!(long.divide(sum as u32), nearest(sum), "{sum} / {divisor}");
                    }
                }
                let largest = 65535 * divisor;
                assert_eq!(long.divide(largest as u32), 65535);
                if let Some(division) = Short::new(divisor) {
                    short += 1;
                    for sum in 0..=255 * divisor {
                        assert_eq!(u32::from(division.divide(sum as u16)), nearest(sum), "{sum} / {divisor}");
                    }
                }
            }
        }
        assert!(short > 50);
    }
}

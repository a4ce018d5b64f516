use crate::{Quantization, TensorError};
use vedette_tensor::Activation;

/// Real numbers to bytes: `clamp(rint(f / scale) + zero_point, 0, 255)`, the division as a product with the
/// reciprocal, after an activation that only clamps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requantize {
    inverse: f32,
    low: f32,
    high: f32,
    zero_point: u8,
}

/// 1.5 times 2^23: added to a number of less than 2^22, it leaves the number rounded, halves to even, in the low bits.
pub(crate) const ROUNDING: f32 = 12_582_912.0;

/// `x` brought between `low` and `high`; NaN becomes `low`, and `high` wins where they contradict. At every level the
/// same, as these are the semantics of the vector instructions.
#[inline(always)]
pub(crate) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

impl Quantization {
    /// The real number of a byte.
    #[inline(always)]
    pub fn real(&self, q: u8) -> f32 {
        (f32::from(q) - f32::from(self.zero_point())) * self.scale()
    }

    /// The table that takes bytes of this quantisation to those of another, through a function of the real number.
    pub fn table(&self, to: &Requantize, f: impl Fn(f32) -> f32) -> [u8; 256] {
        std::array::from_fn(|q| to.apply(f(self.real(q as u8))))
    }
}

impl Requantize {
    /// To bytes of this quantisation; an error where the activation does more than clamp.
    pub fn new(to: Quantization, activation: Option<Activation>) -> Result<Requantize, TensorError> {
        let inverse = 1.0 / to.scale();
        let zero = f32::from(to.zero_point());
        let (low, high) = (-zero, 255.0 - zero);
        // Rounding is monotonic, so clamping the rounded number does the same as clamping before.
        let bound = |real: f32| clamp((real * inverse).round_ties_even(), low, high);
        let (low, high) = match activation {
            None => (low, high),
            Some(Activation::Relu) => (bound(0.0), high),
            Some(Activation::Clip { min, max }) => (bound(min), bound(max)),
            Some(other) => {
                return Err(TensorError(format!("{other:?} in a step that only clamps; make it a table")));
            }
        };
        Ok(Requantize { inverse, low, high, zero_point: to.zero_point() })
    }

    /// The byte of a real number.
    #[inline(always)]
    pub fn apply(&self, f: f32) -> u8 {
        let steps = clamp(f * self.inverse, self.low, self.high);
        ((steps + ROUNDING).to_bits() as u8).wrapping_add(self.zero_point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula as it is written.
    fn plain(f: f32, to: Quantization) -> u8 {
        let steps = f64::from((f * (1.0 / to.scale())).round_ties_even());
        (steps + f64::from(to.zero_point())).clamp(0.0, 255.0) as u8
    }

    #[test]
    fn bytes_follow_the_formula() {
        for (scale, zero_point) in [(0.1, 0), (0.037, 128), (1.0, 255), (1e-30, 3), (1e30, 77), (0.5, 127)] {
            let to = Quantization::new(scale, zero_point).unwrap();
            let requantize = Requantize::new(to, None).unwrap();
            for i in -3000..3000 {
                for f in [i as f32 * 0.1 * scale, i as f32 * 0.25 * scale, i as f32, i as f32 * 1e35] {
                    assert_eq!(requantize.apply(f), plain(f, to), "{f} {to:?}");
                }
            }
            assert_eq!(requantize.apply(f32::NAN), 0);
        }
    }

    #[test]
    fn clamping_activations_are_bounds_of_the_bytes() {
        let to = Quantization::new(0.1, 20).unwrap();
        let clips = [(-0.55f32, 3.05f32), (f32::NEG_INFINITY, 1e30), (2.0, 1.0), (-1e9, -1e9), (1e9, 1e9)];
        for (min, max) in clips {
            let clip = Requantize::new(to, Some(Activation::Clip { min, max })).unwrap();
            let relu = Requantize::new(to, Some(Activation::Relu)).unwrap();
            for i in -400..4000 {
                let f = i as f32 * 0.013;
                assert_eq!(clip.apply(f), plain(clamp(f, min, max), to), "{f} {min} {max}");
                assert_eq!(relu.apply(f), plain(f.max(0.0), to));
            }
        }
        assert!(Requantize::new(to, Some(Activation::Tanh)).is_err());
    }
}

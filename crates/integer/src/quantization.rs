use vedette_tensor::TensorError;

/// The scale and the zero point of a u8 tensor: `real = (q - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    scale: f32,
    zero_point: u8,
}

impl Quantization {
    /// A quantization, or an error where the scale is not a positive number with a finite inverse.
    pub fn new(scale: f32, zero_point: i64) -> Result<Quantization, TensorError> {
        if !(scale.is_finite() && scale > 0.0 && (1.0 / scale).is_finite()) {
            return Err(TensorError(format!("a scale of {scale}, expected a positive number")));
        }
        match u8::try_from(zero_point) {
            Ok(zero_point) => Ok(Quantization { scale, zero_point }),
            Err(_) => Err(TensorError(format!("a zero point of {zero_point}, expected 0 to 255"))),
        }
    }

    /// The distance of neighbouring values.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// What stands for zero.
    pub fn zero_point(&self) -> u8 {
        self.zero_point
    }

    /// The nearest u8 to `x`, ties to even, NaN as the smallest.
    pub fn quantize(&self, x: f32) -> u8 {
        let scaled = x * (1.0 / self.scale);
        // A float of this size is an integer in i32 with room for the zero point.
        let bounded = if scaled > -BOUND { scaled } else { -BOUND };
        let bounded = if bounded < BOUND { bounded } else { BOUND };
        (bounded.round_ties_even() as i32 + i32::from(self.zero_point)).clamp(0, 255) as u8
    }
}

/// Beyond this every value saturates, whatever the zero point.
pub(crate) const BOUND: f32 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_that_cannot_be_divided_by_are_refused() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45] {
            assert!(Quantization::new(scale, 0).is_err());
        }
        assert!(Quantization::new(1.0, 256).is_err() && Quantization::new(1.0, -1).is_err());
    }

    #[test]
    fn values_round_to_even_and_saturate() {
        let q = Quantization::new(0.5, 10).unwrap();
        let cases = [(0.0, 10), (0.25, 10), (0.75, 12), (-0.25, 10), (1e30, 255), (-1e30, 0), (f32::NAN, 0)];
        for (x, expected) in cases {
            assert_eq!(q.quantize(x), expected, "{x}");
        }
    }
}

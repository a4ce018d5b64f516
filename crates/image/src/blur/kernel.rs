/// Fraction bits of one axis's fixed weights: the sum of 255 times such weights fits 16 bits.
pub(super) const BITS: u32 = 8;

/// Weights of an odd number of neighbours, together one.
#[derive(Clone, Debug)]
pub struct Kernel {
    exact: Vec<f64>,
    fixed: Vec<u16>,
}

impl Kernel {
    /// A Gaussian of `size` (odd) neighbours; `sigma` is 0.3 ((size - 1) / 2 - 1) + 0.8 where it is not positive, as in
    /// OpenCV, and sizes up to 9 then have the rounded weights OpenCV gives them.
    pub fn gaussian(size: usize, sigma: f64) -> Kernel {
        let half = (size / 2) as f64;
        let known: Option<&[f64]> = match (sigma > 0.0, size) {
            (false, 1) => Some(&[1.0]),
            (false, 3) => Some(&[0.25, 0.5, 0.25]),
            (false, 5) => Some(&[0.0625, 0.25, 0.375, 0.25, 0.0625]),
            (false, 7) => Some(&[0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125]),
            (false, 9) => Some(&[
                0.015625, 0.05078125, 0.1171875, 0.19921875, 0.234375, 0.19921875, 0.1171875, 0.05078125,
                0.015625,
            ]),
            _ => None,
        };
        let sigma = if sigma > 0.0 { sigma } else { 0.3 * (half - 1.0) + 0.8 };
        let exact: Vec<f64> = match known {
            Some(weights) => weights.to_vec(),
            None => {
                let bell = |i: usize| (-(i as f64 - half).powi(2) / (2.0 * sigma * sigma)).exp();
                let sum: f64 = (0..size).map(bell).sum();
                (0..size).map(|i| bell(i) / sum).collect()
            }
        };
        // What rounding leaves over goes on to the next weight towards the middle, as in OpenCV.
        let mut fixed = vec![0u16; size];
        let (mut left, mut sum) = (0.0, 0);
        for i in 0..size / 2 {
            let wanted = exact[i] * f64::from(1 << BITS) + left;
            let weight = wanted.round_ties_even().max(0.0);
            left = wanted - weight;
            fixed[i] = weight as u16;
            fixed[size - 1 - i] = weight as u16;
            sum += 2 * weight as u16;
        }
        fixed[size / 2] = (1 << BITS) - sum;
        Kernel { exact, fixed }
    }

    pub(super) fn len(&self) -> usize {
        self.exact.len()
    }

    /// In fixed point.
    pub(super) fn fixed(&self) -> &[u16] {
        &self.fixed
    }

    pub(super) fn floats(&self) -> Vec<f32> {
        self.exact.iter().map(|&weight| weight as f32).collect()
    }
}

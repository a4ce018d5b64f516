use std::fmt;

/// Where an output index lies in the input, named as in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    /// The output is laid over the region of interest; what is outside of the input is extrapolated.
    CropAndResize,
}

/// Which neighbour is the nearest, named as in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// How a value between input elements is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interpolation {
    /// The nearest element.
    Nearest(Nearest),
    /// The line between two neighbours.
    Linear,
    /// A cubic convolution of four neighbours with this coefficient.
    Cubic(f64),
}

/// How an axis is resampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Where output indices lie.
    pub coordinates: Coordinates,
    /// What is made of the neighbours.
    pub interpolation: Interpolation,
    /// Widens the kernel where the output is smaller.
    pub antialias: bool,
    /// Gives no weight to what would be outside of the input.
    pub exclude_outside: bool,
}

/// Resampling of one axis: input indices and weights for every output index.
#[derive(Clone, PartialEq)]
pub struct AxisMap {
    /// Elements that one output is made of.
    pub taps: usize,
    /// `taps` input indices for each output.
    pub indices: Vec<usize>,
    /// `taps` weights for each output.
    pub weights: Vec<f32>,
    /// Outputs that lie outside of the input and are to be extrapolated.
    pub outside: Vec<usize>,
}

impl fmt::Debug for AxisMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AxisMap({} outputs of {} taps)", self.len(), self.taps)
    }
}

impl AxisMap {
    /// Outputs.
    pub fn len(&self) -> usize {
        self.indices.len() / self.taps
    }

    /// Whether there are no outputs.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

impl Sampling {
    /// The map of an axis from `input` (at least 1) to `output` elements; `roi` is used by
    /// [`Coordinates::CropAndResize`] alone.
    pub fn map(&self, input: usize, output: usize, scale: f64, roi: (f64, f64)) -> AxisMap {
        let kernel = self.kernel(scale);
        let taps = match &self.interpolation {
            Interpolation::Nearest(_) => 1,
            _ => kernel(0.5).len(),
        };
        let mut map = AxisMap { taps, indices: Vec::new(), weights: Vec::new(), outside: Vec::new() };
        let last = input as f64 - 1.0;
        let clamped = |index: f64| index.clamp(0.0, last) as usize;
        for i in 0..output {
            let x = self.coordinate(i as f64, input as f64, output as f64, scale, roi);
            if self.coordinates == Coordinates::CropAndResize && !(0.0..=last).contains(&x) {
                map.outside.push(i);
            }
            let floor = x.floor();
            if let Interpolation::Nearest(nearest) = self.interpolation {
                let ratio = x - floor;
                let up = match nearest {
                    _ if ratio == 0.0 => false,
                    Nearest::RoundPreferFloor => ratio > 0.5,
                    Nearest::RoundPreferCeil => ratio >= 0.5,
                    Nearest::Floor => false,
                    Nearest::Ceil => true,
                };
                map.indices.push(clamped(if up { floor + 1.0 } else { floor }));
                map.weights.push(1.0);
                continue;
            }
            // The element left of x is preferred, so an x on an element is at the right end of its interval.
            let (ratio, left) = if x == floor { (1.0, floor - 1.0) } else { (x - floor, floor) };
            let mut weights = kernel(ratio);
            let first = left - (taps / 2 - 1) as f64;
            if self.exclude_outside {
                for (k, weight) in weights.iter_mut().enumerate() {
                    if !(0.0..=last).contains(&(first + k as f64)) {
                        *weight = 0.0;
                    }
                }
                let sum: f64 = weights.iter().sum();
                if sum != 0.0 {
                    weights.iter_mut().for_each(|weight| *weight /= sum);
                }
            }
            map.indices.extend((0..taps).map(|k| clamped(first + k as f64)));
            map.weights.extend(weights.iter().map(|&weight| weight as f32));
        }
        map
    }

    fn coordinate(&self, i: f64, input: f64, output: f64, scale: f64, roi: (f64, f64)) -> f64 {
        let exact = scale * input;
        let centre = (i + 0.5) / scale - 0.5;
        match self.coordinates {
            Coordinates::HalfPixel => centre,
            Coordinates::PytorchHalfPixel if exact == 1.0 => -0.5,
            Coordinates::PytorchHalfPixel => centre,
            Coordinates::HalfPixelSymmetric => input / 2.0 * (1.0 - output / exact) + centre,
            Coordinates::AlignCorners if exact == 1.0 => 0.0,
            Coordinates::AlignCorners => i * (input - 1.0) / (exact - 1.0),
            Coordinates::Asymmetric => i / scale,
            Coordinates::CropAndResize => {
                let length = (roi.1 - roi.0) * (input - 1.0);
                let along = if exact == 1.0 { length / 2.0 } else { i * length / (exact - 1.0) };
                roi.0 * (input - 1.0) + along
            }
        }
    }

    /// The weights of the neighbours of a point at a ratio in (0, 1] from its left neighbour; an even number of them.
    fn kernel(&self, scale: f64) -> impl Fn(f64) -> Vec<f64> {
        let stretch = if self.antialias { scale.min(1.0) } else { 1.0 };
        let (radius, a) = match self.interpolation {
            Interpolation::Cubic(a) => (2.0, a),
            _ => (1.0, f64::NAN),
        };
        let start = (-radius / stretch).floor() as i64 + 1;
        move |ratio| {
            let shape = |x: f64| {
                let x = x.abs();
                match () {
                    () if a.is_nan() => (1.0 - x).clamp(0.0, 1.0),
                    () if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
                    () if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
                    () => 0.0,
                }
            };
            let mut weights: Vec<f64> =
                (start..2 - start).map(|k| shape(stretch * (k as f64 - ratio))).collect();
            if stretch < 1.0 {
                let sum: f64 = weights.iter().sum();
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            weights
        }
    }
}

//! Where each output position of one axis samples its input, and with which weights.

/// How a value between samples is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// One sample: the one the position falls into.
    Nearest,
    /// Triangle of half-width 1.
    Bilinear,
    /// Keys' cubic of half-width 2.
    Bicubic,
    /// Sinc windowed by a sinc, half-width 3.
    Lanczos3,
    /// Every sample by the share of it that the output position covers.
    Area,
}

/// What stands outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// Nothing: the weights inside are scaled to sum to one (Pillow, torchvision with antialiasing).
    Renormalize,
    /// The outermost sample, again and again (OpenCV).
    Repeat,
}

/// The convention of one resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sampling {
    /// The filter.
    pub filter: Filter,
    /// Whether the filter widens with the scale, so that every input sample counts when shrinking.
    pub antialias: bool,
    /// What stands outside.
    pub edge: Edge,
    /// Whether the cubic's parameter is -0.75 (OpenCV) instead of -0.5 (Pillow).
    pub sharp_cubic: bool,
    /// Whether nearest takes the sample at the position's start (OpenCV) instead of its centre (Pillow).
    pub nearest_floor: bool,
}

impl Sampling {
    /// Pillow's convention, which is torchvision's too.
    pub fn new(filter: Filter, antialias: bool) -> Sampling {
        Sampling { filter, antialias, edge: Edge::Renormalize, sharp_cubic: false, nearest_floor: false }
    }

    /// Whether a result can leave the range of its inputs.
    pub fn overshoots(&self) -> bool {
        matches!(self.filter, Filter::Bicubic | Filter::Lanczos3)
    }

    fn half_width(&self) -> f64 {
        match self.filter {
            Filter::Nearest | Filter::Area => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos3 => 3.0,
        }
    }

    fn kernel(&self, x: f64) -> f64 {
        let x = x.abs();
        match self.filter {
            Filter::Nearest | Filter::Area => f64::from(x <= 0.5),
            Filter::Bilinear => (1.0 - x).max(0.0),
            Filter::Bicubic => {
                let a = if self.sharp_cubic { -0.75 } else { -0.5 };
                if x < 1.0 {
                    ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * a
                } else {
                    0.0
                }
            }
            Filter::Lanczos3 => {
                let sinc = |x: f64| {
                    let x = x * std::f64::consts::PI;
                    if x == 0.0 { 1.0 } else { x.sin() / x }
                };
                if x < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 }
            }
        }
    }
}

/// The samples and weights of every output position.
#[derive(Clone, Debug)]
pub struct Taps {
    input: usize,
    positions: Vec<Position>,
    weights: Vec<f64>,
    mirrored: bool,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    start: usize,
    first: usize,
    count: usize,
}

impl Taps {
    /// `output` positions spread evenly over the interval `origin..origin + length` of `input` samples, sample `i`
    /// filling `i..i + 1`.
    ///
    /// # Panics
    /// Where `input` is 0.
    pub fn new(input: usize, output: usize, origin: f64, length: f64, sampling: Sampling) -> Taps {
        assert!(input > 0, "an axis without samples cannot be resampled");
        let step = length / output as f64;
        let mut taps = Taps {
            input,
            positions: Vec::with_capacity(output),
            weights: Vec::with_capacity(output),
            mirrored: false,
        };
        let mut weights = Vec::new();
        // Pillow finds nearest positions by adding up, which tells where one falls between two samples.
        let mut centre = origin + 0.5 * step;
        for i in 0..output {
            let start = if sampling.filter == Filter::Nearest && !sampling.nearest_floor {
                weights.clear();
                weights.push(1.0);
                centre.floor().clamp(0.0, input as f64 - 1.0) as usize
            } else {
                position_weights(input, i, origin, step, sampling, &mut weights)
            };
            taps.push(start, &weights);
            centre += step;
        }
        taps
    }

    fn push(&mut self, start: usize, weights: &[f64]) {
        let sum: f64 = weights.iter().sum();
        // A sinc at whole numbers is zero but for rounding.
        let keep = |weight: &f64| weight.abs() > 1e-9;
        let leading = weights.iter().position(keep).unwrap_or(0);
        let end = weights.iter().rposition(keep).map_or(leading + 1, |last| last + 1);
        let position = Position { start: start + leading, first: self.weights.len(), count: end - leading };
        self.positions.push(position);
        self.weights.extend(weights[leading..end].iter().map(|weight| weight / sum));
    }

    /// Samples of the input.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Positions of the output.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are no positions.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Most samples of one position.
    pub fn widest(&self) -> usize {
        self.positions.iter().map(|position| position.count).max().unwrap_or(0)
    }

    /// First sample and weights of a position.
    pub fn position(&self, i: usize) -> (usize, &[f64]) {
        let Position { start, first, count } = self.positions[i];
        (start, &self.weights[first..first + count])
    }

    /// The weights of a position in fixed point with `bits` fraction bits, which sum to exactly one.
    pub fn quantized(&self, i: usize, bits: u32) -> (usize, Vec<i16>) {
        let (start, weights) = self.position(i);
        let one = f64::from(1i32 << bits);
        // Running sums are rounded, not weights, so that many small weights lose nothing together.
        let (mut sum, mut rounded) = (0.0, 0);
        let mut quantize = |weight: &f64| {
            sum += weight * one;
            let next = f64::round(sum) as i32;
            (next - std::mem::replace(&mut rounded, next)) as i16
        };
        if !self.mirrored {
            return (start, weights.iter().map(quantize).collect());
        }
        // A mirrored axis rounds in the order of the axis it mirrors, so that both have the same weights.
        let mut exact: Vec<i16> = weights.iter().rev().map(&mut quantize).collect();
        exact.reverse();
        (start, exact)
    }

    /// The samples that have any weight.
    pub fn used(&self) -> std::ops::Range<usize> {
        let start = self.positions.iter().map(|position| position.start).min().unwrap_or(0);
        let end = self.positions.iter().map(|position| position.start + position.count).max().unwrap_or(0);
        start..end
    }

    /// The same sampling of an axis stored back to front.
    #[must_use]
    pub fn mirrored(&self) -> Taps {
        let mut taps =
            Taps { input: self.input, positions: Vec::new(), weights: Vec::new(), mirrored: !self.mirrored };
        for i in 0..self.len() {
            let (start, weights) = self.position(i);
            let reversed: Vec<f64> = weights.iter().rev().copied().collect();
            taps.push(self.input - start - weights.len(), &reversed);
        }
        taps
    }

    /// The same weights over only the samples that count: position `i` has samples `i * widest()` and on for its own,
    /// which are those of this axis from the `i`th start returned.
    ///
    /// # Panics
    /// Where the input has fewer samples than the widest position.
    pub fn compacted(&self) -> (Vec<u32>, Taps) {
        let widest = self.widest();
        assert!(widest <= self.input);
        let mut taps = Taps { input: self.len() * widest, positions: Vec::new(), ..self.clone() };
        let mut starts = Vec::with_capacity(self.len());
        for (i, position) in self.positions.iter().enumerate() {
            let start = position.start.min(self.input - widest);
            starts.push(start as u32);
            taps.positions.push(Position { start: i * widest + position.start - start, ..*position });
        }
        (starts, taps)
    }

    /// Whether position `i` is sample `i` alone.
    pub fn is_identity(&self) -> bool {
        self.len() == self.input
            && self
                .positions
                .iter()
                .enumerate()
                .all(|(i, position)| position.start == i && position.count == 1)
    }
}

/// Fills `weights` for position `i` and returns its first sample.
fn position_weights(
    input: usize,
    i: usize,
    origin: f64,
    step: f64,
    sampling: Sampling,
    weights: &mut Vec<f64>,
) -> usize {
    weights.clear();
    let last = input as f64 - 1.0;
    let (from, to) = (origin + i as f64 * step, origin + (i + 1) as f64 * step);
    let centre = origin + (i as f64 + 0.5) * step;
    let single = |at: f64, weights: &mut Vec<f64>| {
        weights.push(1.0);
        at.floor().clamp(0.0, last) as usize
    };
    match sampling.filter {
        Filter::Nearest => return single(from, weights),
        Filter::Area => {
            let (from, to) = (from.max(0.0), to.min(input as f64));
            // Bounds that differ from a whole number by rounding alone must not reach into the next sample.
            let snap = |at: f64| if (at - at.round()).abs() < 1e-6 { at.round() } else { at };
            let (from, to) = (snap(from), snap(to));
            if to <= from {
                return single(centre, weights);
            }
            let start = from.floor();
            let end = to.ceil() as usize;
            for k in start as usize..end {
                weights.push(to.min(k as f64 + 1.0) - from.max(k as f64));
            }
            return start as usize;
        }
        _ => {}
    }
    let widening = if sampling.antialias { step.max(1.0) } else { 1.0 };
    let reach = sampling.half_width() * widening;
    let start = (centre - reach + 0.5).floor();
    let end = (centre + reach + 0.5).floor();
    let weight = |k: f64| sampling.kernel((k + 0.5 - centre) / widening);
    match sampling.edge {
        Edge::Renormalize => {
            let (start, end) = (start.max(0.0), end.min(input as f64));
            if end <= start {
                return single(centre, weights);
            }
            weights.extend((start as usize..end as usize).map(|k| weight(k as f64)));
            if weights.iter().sum::<f64>().abs() < 1e-9 {
                weights.clear();
                return single(centre, weights);
            }
            start as usize
        }
        Edge::Repeat => {
            let (first, final_) = (start.clamp(0.0, last), (end - 1.0).clamp(0.0, last));
            weights.resize((final_ - first) as usize + 1, 0.0);
            let mut k = start;
            while k < end {
                weights[(k.clamp(0.0, last) - first) as usize] += weight(k);
                k += 1.0;
            }
            first as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_inside() {
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3, Filter::Area] {
            for (input, output) in [(1, 1), (1, 7), (7, 1), (5, 5), (9, 4), (1920, 224), (100, 640)] {
                for antialias in [false, true] {
                    for edge in [Edge::Renormalize, Edge::Repeat] {
                        let sampling = Sampling { edge, ..Sampling::new(filter, antialias) };
                        let taps = Taps::new(input, output, 0.0, input as f64, sampling);
                        assert_eq!(taps.len(), output);
                        let mirrored = taps.mirrored();
                        for i in 0..output {
                            let reversed: Vec<i16> = taps.quantized(i, 13).1.into_iter().rev().collect();
                            assert_eq!(mirrored.quantized(i, 13).1, reversed);
                        }
                        for taps in [&taps, &mirrored] {
                            for i in 0..output {
                                let (start, weights) = taps.position(i);
                                assert!(start + weights.len() <= input);
                                assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                                assert_eq!(
                                    taps.quantized(i, 13)
                                        .1
                                        .iter()
                                        .map(|&weight| i32::from(weight))
                                        .sum::<i32>(),
                                    1 << 13
                                );
                            }
                        }
                        if input == output {
                            assert!(taps.is_identity(), "{filter:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn bilinear_halves_and_area_thirds() {
        let taps = Taps::new(4, 2, 0.0, 4.0, Sampling::new(Filter::Bilinear, false));
        assert_eq!(taps.position(1), (2, &[0.5, 0.5][..]));
        let taps = Taps::new(3, 2, 0.0, 3.0, Sampling::new(Filter::Area, true));
        assert_eq!(taps.position(0).0, 0);
        assert!((taps.position(0).1[1] - 1.0 / 3.0).abs() < 1e-12);
    }
}

//! Weights in the fixed point and order the row kernels take, made once for a pair of sizes.

use super::Taps;

/// Fraction bits of the vertical weights of plans with more than [`NARROW_TAPS`] rows a row.
const WIDE_BITS: u32 = 13;
/// Most rows a row whose weights are split into signed bytes, `weight = (high << shift) + low`: the sums of high parts
/// and of low parts then fit 16 bits, and twice as many columns fit a register.
const NARROW_TAPS: usize = 16;
/// Fraction bits of the horizontal weights.
pub const HORIZONTAL_BITS: u32 = 14;
/// Outputs the horizontal kernel makes at once.
pub const GROUP: usize = 8;
/// Outputs the windowed horizontal kernel makes at once, and the samples it takes them from: two registers.
pub const WINDOW_GROUP: usize = 16;
/// See [`WINDOW_GROUP`].
pub const WINDOW: usize = 64;
/// Order of a group's outputs in its weights: the two 128-bit lanes of a register hold outputs four apart.
const LANE_ORDER: [usize; GROUP] = [0, 4, 1, 5, 2, 6, 3, 7];
/// The same where a lane holds two outputs of four weights.
const SHORT_ORDER: [usize; GROUP] = [0, 1, 4, 5, 2, 3, 6, 7];

/// The vertical pass: which rows make each output row, and with which weights.
#[derive(Debug)]
pub struct VerticalPlan {
    starts: Vec<u32>,
    counts: Vec<u32>,
    offsets: Vec<u32>,
    weights: Vec<i16>,
    pairs: Vec<i32>,
    bytes: Vec<[i32; 2]>,
    widest: usize,
    shift: u32,
    narrow: bool,
}

/// The weights of one output row in every form a level wants.
#[derive(Clone, Copy, Debug)]
pub struct RowWeights<'a> {
    /// One weight a row.
    pub single: &'a [i16],
    /// Two neighbouring weights in a 32-bit lane, for `vpmaddwd`. A missing second has weight 0.
    pub pairs: &'a [i32],
    /// The high bytes and the low bytes of two neighbouring weights, twice each, for `vpmaddubsw`, if the plan is narrow:
    /// 32 bits are spread over a register as they are loaded, 16 bits are not.
    pub bytes: Option<&'a [[i32; 2]]>,
    /// How far sums are shifted to the right.
    pub shift: u32,
}

impl VerticalPlan {
    /// From the taps of the rows, for results with `fraction` fraction bits.
    pub fn new(taps: &Taps, fraction: u32) -> VerticalPlan {
        let widest = taps.widest();
        let narrow = widest <= NARROW_TAPS;
        // Half of the low parts, at most `1 << shift` each, must sum to at most 128: 129 * 255 does not fit 16 bits.
        let low_bits = 8 - widest.max(4).next_power_of_two().trailing_zeros().min(8);
        let shift = if narrow { low_bits } else { WIDE_BITS - fraction };
        let mut plan = VerticalPlan {
            starts: Vec::new(),
            counts: Vec::new(),
            offsets: Vec::new(),
            weights: Vec::new(),
            pairs: Vec::new(),
            bytes: Vec::new(),
            widest,
            shift,
            narrow,
        };
        for y in 0..taps.len() {
            let offset = plan.weights.len();
            let (start, weights) = taps.quantized(y, fraction + shift);
            plan.starts.push(start as u32);
            plan.offsets.push(offset as u32);
            plan.weights.extend(weights);
            plan.counts.push((plan.weights.len() - offset) as u32);
            plan.weights.resize(plan.weights.len().next_multiple_of(2), 0);
            let (mut sum, mut rounded) = (0, 0);
            for two in plan.weights[offset..].as_chunks::<2>().0 {
                plan.pairs.push(i32::from(two[0] as u16) | i32::from(two[1]) << 16);
                if narrow {
                    // High parts are differences of rounded running sums: together they are one exactly, as 255 times
                    // anything more would not fit, and low parts cancel out.
                    let high = two.map(|weight| {
                        sum += i32::from(weight);
                        let next = (sum + (1 << (shift - 1))) >> shift;
                        // A high part of 128 fits no byte; its low part takes the rest.
                        (next - std::mem::replace(&mut rounded, next)).min(127) as i16
                    });
                    let low = [0, 1].map(|i| two[i] - (high[i] << shift));
                    plan.bytes.push([high, low].map(|[first, second]| {
                        let [first, second] = [first as u8, second as u8];
                        i32::from_le_bytes([first, second, first, second])
                    }));
                }
            }
        }
        plan
    }

    /// Output rows.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Most rows that make one output row.
    pub fn widest(&self) -> usize {
        self.widest
    }

    /// Most rows that so many neighbouring output rows are made of together.
    pub fn span(&self, rows: usize) -> usize {
        let start = |y: usize| self.starts[y];
        let end = |y: usize| self.starts[y] + self.counts[y];
        let last = |y: usize| (y + rows).min(self.len()) - 1;
        (0..self.len()).map(|y| end(last(y)) - start(y)).max().unwrap_or(0) as usize
    }

    /// The first row and the number of rows that make output row `y`.
    #[inline]
    pub fn rows(&self, y: usize) -> (usize, usize) {
        (self.starts[y] as usize, self.counts[y] as usize)
    }

    /// The weights of output row `y`.
    #[inline]
    pub fn weights(&self, y: usize) -> RowWeights<'_> {
        let (offset, count) = (self.offsets[y] as usize, self.counts[y] as usize);
        let pairs = offset / 2..offset / 2 + count.div_ceil(2);
        RowWeights {
            single: &self.weights[offset..offset + count],
            pairs: &self.pairs[pairs.clone()],
            bytes: self.narrow.then(|| &self.bytes[pairs]),
            shift: self.shift,
        }
    }
}

/// The horizontal pass over one plane.
#[derive(Debug)]
pub struct HorizontalPlan {
    /// First sample of each output, padded to whole groups.
    pub starts: Vec<u32>,
    /// Weights of each group: pair of outputs by pair in lane order, within it chunk by chunk, output by output, tap by
    /// tap.
    pub weights: Vec<i16>,
    /// The same weights output by output, `chunk * chunks` of each, for the oracle.
    pub plain: Vec<i16>,
    /// The same for the windowed kernel, where every group of outputs lies close enough together.
    pub windows: Option<Windows>,
    /// The same for the kernel of several rows at once.
    pub pairs: Pairs,
    /// Taps in a chunk: 4 or 8.
    pub chunk: usize,
    /// Chunks of each output.
    pub chunks: usize,
    /// Outputs.
    pub output: usize,
    /// Samples a row must have readable: the kernels read whole chunks.
    pub padded_input: usize,
    /// Whether every output is the sample of its own number.
    pub identity: bool,
}

impl HorizontalPlan {
    /// From the taps of the columns, the first `skip` of which are not in the rows.
    pub fn new(taps: &Taps, skip: usize) -> HorizontalPlan {
        let widest = taps.widest();
        let chunk = if widest <= 4 { 4 } else { 8 };
        let chunks = widest.div_ceil(chunk).max(1);
        let groups = taps.len().div_ceil(GROUP);
        let mut plan = HorizontalPlan {
            starts: vec![0; groups * GROUP],
            weights: vec![0; groups * GROUP * chunks * chunk],
            plain: vec![0; taps.len() * chunks * chunk],
            windows: None,
            pairs: Pairs::new(taps, skip),
            chunk,
            chunks,
            output: taps.len(),
            padded_input: taps.used().end - skip + (chunks * chunk).max(WINDOW),
            identity: taps.is_identity(),
        };
        for x in 0..taps.len() {
            let (start, weights) = taps.quantized(x, HORIZONTAL_BITS);
            plan.starts[x] = (start - skip) as u32;
            for (tap, weight) in weights.into_iter().enumerate() {
                let place = plan.weight_place(x, tap);
                plan.weights[place] = weight;
                plan.plain[x * chunks * chunk + tap] = weight;
            }
        }
        plan.windows = Windows::new(&plan, widest);
        plan
    }

    /// Outputs a row of results must have writable.
    pub fn padded_output(&self) -> usize {
        self.starts.len().next_multiple_of(WINDOW_GROUP)
    }

    /// Where the weight of a tap of an output stands.
    fn weight_place(&self, x: usize, tap: usize) -> usize {
        let order = if self.chunk == 4 { SHORT_ORDER } else { LANE_ORDER };
        let slot = order.iter().position(|&output| output == x % GROUP).unwrap_or(0);
        let chunk = (x / GROUP * (GROUP / 2) + slot / 2) * self.chunks + tap / self.chunk;
        (chunk * 2 + slot % 2) * self.chunk + tap % self.chunk
    }
}

/// The horizontal pass over pairs of neighbouring samples.
#[derive(Debug)]
pub struct Pairs {
    /// First pair of each output, padded to whole groups by repeating the last.
    pub starts: Vec<usize>,
    /// The two weights of each pair in 32 bits, `count` of them an output.
    pub weights: Vec<i32>,
    /// Pairs of each output.
    pub count: usize,
    /// Pairs that a group of outputs spans, at most.
    pub span: usize,
}

impl Pairs {
    fn new(taps: &Taps, skip: usize) -> Pairs {
        let outputs: Vec<(usize, Vec<i16>)> = (0..taps.len())
            .map(|x| {
                let (start, mut weights) = taps.quantized(x, HORIZONTAL_BITS);
                let start = start - skip;
                if start % 2 == 1 {
                    weights.insert(0, 0);
                }
                (start / 2, weights)
            })
            .collect();
        let count = outputs.iter().map(|(_, weights)| weights.len().div_ceil(2)).max().unwrap_or(0);
        let padded = taps.len().next_multiple_of(GROUP);
        let mut pairs = Pairs { starts: Vec::new(), weights: vec![0; padded * count], count, span: 0 };
        for (x, (start, weights)) in outputs.iter().enumerate() {
            pairs.starts.push(*start);
            for (pair, two) in pairs.weights[x * count..].iter_mut().zip(weights.chunks(2)) {
                let second = two.get(1).copied().unwrap_or(0);
                *pair = i32::from(two[0] as u16) | i32::from(second) << 16;
            }
        }
        let last = pairs.starts.last().copied().unwrap_or(0);
        pairs.starts.resize(padded, last);
        let groups = pairs.starts.as_chunks::<GROUP>().0;
        let span = groups.iter().map(|starts| starts[0].abs_diff(starts[GROUP - 1])).max();
        pairs.span = span.unwrap_or(0) + count;
        pairs
    }
}

/// The horizontal pass as permutations of a window of the row: no sums across lanes are needed.
#[derive(Debug)]
pub struct Windows {
    /// First sample of each group's window.
    pub starts: Vec<u32>,
    /// For each output of a group, the places of its first two samples in the window.
    pub places: Vec<[i16; 2 * WINDOW_GROUP]>,
    /// The weights of two neighbouring taps of each output, `pairs` of them a group.
    pub weights: Vec<[i16; 2 * WINDOW_GROUP]>,
    /// Pairs of taps of each output.
    pub pairs: usize,
}

impl Windows {
    fn new(plan: &HorizontalPlan, widest: usize) -> Option<Windows> {
        let taps = plan.chunk * plan.chunks;
        let pairs = widest.div_ceil(2);
        let mut windows = Windows { starts: Vec::new(), places: Vec::new(), weights: Vec::new(), pairs };
        for group in (0..plan.output).step_by(WINDOW_GROUP) {
            let outputs = group..(group + WINDOW_GROUP).min(plan.output);
            let start = plan.starts[outputs.clone()].iter().copied().min()?;
            let mut places = [0; 2 * WINDOW_GROUP];
            for x in outputs.clone() {
                let place = (plan.starts[x] - start) as usize;
                if place + 2 * pairs > WINDOW {
                    return None;
                }
                places[2 * (x - group)..][..2].copy_from_slice(&[place as i16, place as i16 + 1]);
            }
            windows.starts.push(start);
            windows.places.push(places);
            for pair in 0..pairs {
                let mut weights = [0; 2 * WINDOW_GROUP];
                for x in outputs.clone() {
                    weights[2 * (x - group)..][..2].copy_from_slice(&plan.plain[x * taps + 2 * pair..][..2]);
                }
                windows.weights.push(weights);
            }
        }
        Some(windows)
    }
}

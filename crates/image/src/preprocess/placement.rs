/// How a frame of another shape is fitted to the size asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Each axis is scaled by itself.
    Stretch,
    /// Both axes are scaled alike until all of the frame fits; the rest is filled.
    Letterbox,
    /// Both axes are scaled alike until the frame fills the size; what stands over is cut off, as much on either side.
    Crop,
}

/// Which part of a frame lands where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Start and length of the frame's rows that are seen.
    pub rows: [f64; 2],
    /// Start and length of the frame's columns that are seen.
    pub columns: [f64; 2],
    /// Height and width of what becomes of them.
    pub inner: [usize; 2],
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
}

impl Placement {
    /// For an input and an output of these heights and widths. A letterbox rounds as Ultralytics does.
    pub fn new(input: [usize; 2], output: [usize; 2], fit: Fit) -> Placement {
        let [rows, columns] = input.map(|len| [0.0, len as f64]);
        let whole = Placement { rows, columns, inner: output, top: 0, left: 0 };
        let ratio = |axis: usize| output[axis] as f64 / input[axis] as f64;
        match fit {
            Fit::Stretch => whole,
            Fit::Letterbox => {
                let scale = ratio(0).min(ratio(1));
                let scaled = |axis: usize| (input[axis] as f64 * scale).round_ties_even() as usize;
                let inner = [0, 1].map(|axis| scaled(axis).clamp(1, output[axis].max(1)));
                // The odd pixel goes below and to the right.
                let before = |axis: usize| {
                    let free = output[axis].saturating_sub(inner[axis]) as f64 / 2.0;
                    (free - 0.1).round_ties_even().max(0.0) as usize
                };
                Placement { inner, top: before(0), left: before(1), ..whole }
            }
            Fit::Crop => {
                let scale = ratio(0).max(ratio(1));
                let seen = |axis: usize| {
                    let len = (output[axis] as f64 / scale).min(input[axis] as f64);
                    [(input[axis] as f64 - len) / 2.0, len]
                };
                Placement { rows: seen(0), columns: seen(1), ..whole }
            }
        }
    }

    /// Scale and shift of each axis, vertical first: a point at `p` of the frame lands at `p * scale + shift`, pixel
    /// `i` filling `i..i + 1`.
    pub fn transform(&self) -> [[f64; 2]; 2] {
        let axis = |[start, len]: [f64; 2], inner: usize, before: usize| {
            let scale = inner as f64 / len;
            [scale, before as f64 - start * scale]
        };
        [axis(self.rows, self.inner[0], self.top), axis(self.columns, self.inner[1], self.left)]
    }
}

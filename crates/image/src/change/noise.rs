//! How much a still scene differs from itself.

/// Means of tiles are counted in 1/64 of a level, up to this.
const BINS: usize = 1024;
/// What stands out has at least this mean difference, in 1/64 of a level.
const FLOOR: u16 = 64;

/// The noise of a source: the median over tiles of their mean differences, which holds while less than half of the
/// picture moves, and rises slowly, so that a change of all of the light counts as change.
#[derive(Debug)]
pub struct Noise {
    counts: [u32; BINS],
    total: u32,
    level: Option<f32>,
}

impl Default for Noise {
    fn default() -> Noise {
        Noise { counts: [0; BINS], total: 0, level: None }
    }
}

impl Noise {
    /// The estimate in levels of luma.
    pub fn level(&self) -> f32 {
        self.level.unwrap_or(0.0) / 64.0
    }

    /// Starts a frame.
    pub fn begin(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// Counts a tile's mean difference.
    pub fn add(&mut self, mean: u16) {
        self.counts[usize::from(mean).min(BINS - 1)] += 1;
        self.total += 1;
    }

    /// Takes the frame into the estimate; the mean difference above which a tile has changed.
    pub fn finish(&mut self) -> u16 {
        let mut seen = 0;
        let median = self.counts.iter().position(|&count| {
            seen += count;
            2 * seen >= self.total
        });
        let median = median.unwrap_or(0) as f32;
        let most = self.level.map_or(4.0 * 64.0, |level| 1.25 * level + 16.0);
        let level = median.min(most);
        self.level = Some(level);
        // The mean of a tile of 256 pixels strays by a few hundredths of the noise; textures and compression by more.
        (1.75 * level) as u16 + FLOOR
    }
}

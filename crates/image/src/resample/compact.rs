//! Rows of which few samples count, as when a picture shrinks without antialiasing: the samples of each output are
//! brought together first, and the passes run over them alone.

use super::layer::Layer;
use super::plan::HORIZONTAL_BITS;
use super::taps::Taps;
use vedette_simd::prefetch;

/// Bytes a gathered row may be written past its end.
pub const SLACK: usize = 16;

/// Widest output whose samples are brought together: of pixels of four bytes, they fill one register.
const WIDEST: usize = 4;

/// How many samples must be left out for each that counts.
const SPARSE: usize = 2;

/// Outputs to whose multiple weights are padded: of 32 bits, they fill a register.
const REGISTER: usize = 16;

/// Where the samples of each output start in a row.
#[derive(Debug)]
pub struct Compact {
    starts: Vec<u32>,
    widest: usize,
    /// The weights of each output's two samples in 32 bits, padded, where all outputs have two.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only vector levels take pairs"))]
    pairs: Option<Vec<i32>>,
}

impl Compact {
    /// The places of the samples of these taps, and the taps over what is gathered, where gathering pays.
    pub fn new(columns: &Taps) -> Option<(Compact, Taps)> {
        let widest = columns.widest();
        if widest > WIDEST || columns.len() * widest * SPARSE > columns.used().len() {
            return None;
        }
        let (starts, taps) = columns.compacted();
        let pairs = (widest == 2).then(|| {
            let pair = |i| {
                let (start, weights) = taps.quantized(i, HORIZONTAL_BITS);
                let place =
                    |(tap, weight): (usize, i16)| i32::from(weight as u16) << ((start + tap) % 2 * 16);
                weights.into_iter().enumerate().map(place).sum()
            };
            let padding = taps.len().next_multiple_of(REGISTER) - taps.len();
            (0..taps.len()).map(pair).chain(std::iter::repeat_n(0, padding)).collect()
        });
        Some((Compact { starts, widest, pairs }, taps))
    }

    /// Samples of a gathered row.
    pub fn len(&self) -> usize {
        self.starts.len() * self.widest
    }

    /// The first of the two samples of each output, and their weights in 32 bits, padded to whole registers; nothing where
    /// outputs have more samples.
    #[cfg(target_arch = "x86_64")]
    pub fn pairs(&self) -> Option<(&[u32], &[i32])> {
        Some((&self.starts, self.pairs.as_deref()?))
    }

    /// Brings the samples of a row together in `out`, and those of row `ahead` into the cache: rows that are left out in
    /// between hide from the processor where it goes next.
    ///
    /// # Panics
    /// Where `out` does not end [`SLACK`] bytes behind them.
    pub fn gather(&self, layer: &Layer<'_>, y: usize, ahead: usize, out: &mut [u8]) {
        assert!(out.len() >= layer.row_len(self.len()) + SLACK);
        if layer.staged {
            let pixels = out.chunks_exact_mut(self.widest * layer.step);
            for (&start, samples) in self.starts.iter().zip(pixels) {
                layer.frame.gather_row(y, start as usize, samples);
            }
        } else if layer.row_len(self.widest) <= 8 {
            self.copy::<8>(layer, y, ahead, out);
        } else {
            self.copy::<16>(layer, y, ahead, out);
        }
    }

    /// Copies `N` bytes an output, of which those of its samples count: the rest lies under the next output's.
    fn copy<const N: usize>(&self, layer: &Layer<'_>, y: usize, ahead: usize, out: &mut [u8]) {
        let (row, next) = (layer.frame.row_ptr(y), layer.frame.row_ptr(ahead));
        let (step, pitch) = (layer.step, self.widest * layer.step);
        let (readable, samples) = (layer.row_len(layer.frame.width()), layer.row_len(self.widest));
        for (i, &start) in self.starts.iter().enumerate() {
            let from = start as usize * step;
            prefetch(next.wrapping_add(from));
            // SAFETY: the taps keep `widest` samples from `start` on within the row, which has `readable` bytes, and the
            // output has room for `SLACK`, at least `N`, bytes from the last sample on.
            unsafe {
                let (source, target) = (row.add(from), out.as_mut_ptr().add(i * pitch));
                if from + N <= readable {
                    std::ptr::copy_nonoverlapping(source, target, N);
                } else {
                    std::ptr::copy_nonoverlapping(source, target, samples);
                }
            }
        }
    }
}

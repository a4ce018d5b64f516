//! What changed between frames: tiles that differ from the last processed frame, content that moved, and hashes of
//! tiles by which a whole screen is known again.

mod hash;
mod moves;
mod noise;

pub use hash::tile_hashes;
pub use moves::Move;

use crate::gray::{Weights, to_gray};
use crate::{Frame, FrameMut};
use noise::Noise;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};

/// How tiles are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Every byte counts: screens, and whatever else has no noise.
    Exact,
    /// The mean difference of luma counts where it stands out from the noise: cameras, compressed video.
    Luma,
}

/// Keeps the last processed frame and tells which tiles of another differ from it.
///
/// Comparing with an equal frame allocates nothing and reads each frame once.
#[derive(Debug)]
pub struct ChangeGate {
    tile: usize,
    comparison: Comparison,
    shape: [usize; 3],
    reference: Vec<u8>,
    current: Vec<u8>,
    scratch: Vec<u8>,
    mask: Vec<u8>,
    sums: Vec<u32>,
    noise: Noise,
}

impl ChangeGate {
    /// A gate without a reference: everything in the first frame is new.
    ///
    /// # Panics
    /// Where a tile has no pixels, or more than 256 a side.
    pub fn new(tile: usize, comparison: Comparison) -> ChangeGate {
        assert!((1..=256).contains(&tile), "tiles of {tile} pixels");
        ChangeGate {
            tile,
            comparison,
            shape: [0; 3],
            reference: Vec::new(),
            current: Vec::new(),
            scratch: Vec::new(),
            mask: Vec::new(),
            sums: Vec::new(),
            noise: Noise::default(),
        }
    }

    /// Pixels along a side of a tile.
    pub fn tile(&self) -> usize {
        self.tile
    }

    /// Height, width and channels of the frame compared last.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Rows and columns of tiles.
    pub fn grid(&self) -> [usize; 2] {
        [self.shape[0].div_ceil(self.tile), self.shape[1].div_ceil(self.tile)]
    }

    /// For each tile, row by row, 1 where the frame compared last differs from the reference.
    pub fn mask(&self) -> &[u8] {
        &self.mask
    }

    /// Mean difference of luma that noise alone makes, as estimated.
    pub fn noise(&self) -> f32 {
        self.noise.level()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.reference.capacity() + self.current.capacity() + self.scratch.capacity() + self.mask.capacity()
    }

    /// Forgets the reference: everything in the next frame is new.
    pub fn reset(&mut self) {
        self.shape = [0; 3];
    }

    /// Compares a frame with the reference and returns how many tiles differ; all of them where the size differs.
    pub fn compare(&mut self, isa: Isa, frame: Frame<'_, u8>) -> usize {
        let shape = [frame.height(), frame.width(), frame.channels()];
        if shape != self.shape {
            self.shape = shape;
            self.noise = Noise::default();
            let channels = if self.comparison == Comparison::Luma { 1 } else { shape[2] };
            self.reference.clear();
            self.reference.resize(shape[0] * shape[1] * channels, 0);
            let [rows, columns] = self.grid();
            self.mask.clear();
            self.mask.resize(rows * columns, 1);
            self.sums.resize(columns, 0);
            return self.mask.len();
        }
        self.mask.fill(0);
        match self.comparison {
            Comparison::Exact => self.compare_bytes(frame),
            Comparison::Luma => self.compare_luma(isa, frame),
        }
    }

    fn compare_bytes(&mut self, frame: Frame<'_, u8>) -> usize {
        let len = frame.row_len();
        let (columns, step) = (self.grid()[1], self.tile * self.shape[2]);
        let mut changed = 0;
        for y in 0..frame.height() {
            let row = frame.row(y, &mut self.scratch);
            let kept = &self.reference[y * len..(y + 1) * len];
            if row == kept {
                continue;
            }
            let marks = &mut self.mask[y / self.tile * columns..][..columns];
            for (mark, (a, b)) in marks.iter_mut().zip(row.chunks(step).zip(kept.chunks(step))) {
                if *mark == 0 && a != b {
                    *mark = 1;
                    changed += 1;
                }
            }
        }
        changed
    }

    fn compare_luma(&mut self, isa: Isa, frame: Frame<'_, u8>) -> usize {
        self.take_luma(isa, frame);
        let [height, width, _] = self.shape;
        let [rows, columns] = self.grid();
        self.noise.begin();
        let mut means = std::mem::take(&mut self.scratch);
        means.clear();
        means.resize(2 * rows * columns, 0);
        for (row, marks) in means.chunks_exact_mut(2 * columns).enumerate() {
            let lines = row * self.tile..((row + 1) * self.tile).min(height);
            self.sums.fill(0);
            for y in lines.clone() {
                let (a, b) =
                    (&self.current[y * width..(y + 1) * width], &self.reference[y * width..(y + 1) * width]);
                dispatch!(isa, S => add_differences::<S>(a, b, self.tile, &mut self.sums));
            }
            for (column, mark) in marks.chunks_exact_mut(2).enumerate() {
                let across = self.tile.min(width - column * self.tile);
                // In 1/64 of a level of luma.
                let mean = (64 * self.sums[column] / (across * lines.len()) as u32) as u16;
                self.noise.add(mean);
                mark.copy_from_slice(&mean.to_le_bytes());
            }
        }
        let limit = self.noise.finish();
        let mut changed = 0;
        for (mark, mean) in self.mask.iter_mut().zip(means.chunks_exact(2)) {
            *mark = u8::from(u16::from_le_bytes([mean[0], mean[1]]) > limit);
            changed += usize::from(*mark);
        }
        self.scratch = means;
        changed
    }

    /// The luma of a frame of 3 or 4 channels, the first channel of others, packed into `current`.
    fn take_luma(&mut self, isa: Isa, frame: Frame<'_, u8>) {
        let [height, width, channels] = self.shape;
        self.current.resize(height * width, 0);
        if matches!(channels, 3 | 4) {
            let out = FrameMut::packed(&mut self.current, [height, width, 1]);
            to_gray(isa, frame, out, Weights::OPENCV, &ThreadPool::new(1));
            return;
        }
        for (y, out) in self.current.chunks_exact_mut(width.max(1)).enumerate() {
            let row = frame.row(y, &mut self.scratch);
            for (value, pixel) in out.iter_mut().zip(row.chunks_exact(channels)) {
                *value = pixel[0];
            }
        }
    }

    /// Makes the frame compared last the reference.
    ///
    /// # Panics
    /// Where it is not of the size compared last.
    pub fn accept(&mut self, isa: Isa, frame: Frame<'_, u8>) {
        assert_eq!(self.shape, [frame.height(), frame.width(), frame.channels()]);
        if self.comparison == Comparison::Luma {
            self.take_luma(isa, frame);
            std::mem::swap(&mut self.current, &mut self.reference);
            return;
        }
        let (len, columns) = (frame.row_len(), self.grid()[1]);
        for y in 0..frame.height() {
            let marks = &self.mask[y / self.tile * columns..][..columns];
            if marks.contains(&1) {
                let row = frame.row(y, &mut self.scratch);
                self.reference[y * len..(y + 1) * len].copy_from_slice(row);
            }
        }
    }

    /// Whether a rectangle of the frame equals the one `offset` rows and columns before it in the reference, byte by
    /// byte; false where either reaches outside, and where only luma is kept.
    pub fn equals(&mut self, frame: Frame<'_, u8>, rectangle: Rectangle, offset: [isize; 2]) -> bool {
        if self.comparison == Comparison::Luma
            || self.shape != [frame.height(), frame.width(), frame.channels()]
        {
            return false;
        }
        let Rectangle { top, left, bottom, right } = rectangle;
        let (Some(from_top), Some(from_left)) =
            (top.checked_add_signed(-offset[0]), left.checked_add_signed(-offset[1]))
        else {
            return false;
        };
        if top >= bottom || left >= right || bottom > self.shape[0] || right > self.shape[1] {
            return false;
        }
        let (height, width, channels) = (bottom - top, right - left, self.shape[2]);
        if from_top + height > self.shape[0] || from_left + width > self.shape[1] {
            return false;
        }
        let len = frame.row_len();
        (0..height).all(|y| {
            let row = &frame.row(top + y, &mut self.scratch)[left * channels..right * channels];
            row == &self.reference[(from_top + y) * len + from_left * channels..][..width * channels]
        })
    }

    /// How content may have moved since the reference, the likeliest first; [`equals`](Self::equals) proves it.
    pub fn moves(&mut self, frame: Frame<'_, u8>) -> Vec<Move> {
        if self.comparison == Comparison::Luma
            || self.shape != [frame.height(), frame.width(), frame.channels()]
        {
            return Vec::new();
        }
        moves::moves(frame, Frame::packed(&self.reference, self.shape), &self.mask, self.tile)
    }
}

/// Pixels from `top` and `left` up to, but without, `bottom` and `right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// The row after the last.
    pub bottom: usize,
    /// The column after the last.
    pub right: usize,
}

/// Adds the absolute differences of a row to the sums of its tiles.
#[inline(always)]
fn add_differences<S>(a: &[u8], b: &[u8], tile: usize, sums: &mut [u32]) {
    let _level = std::marker::PhantomData::<S>;
    if tile == 16 {
        // A length known when compiled becomes one sum-of-absolute-differences instruction.
        let (blocks, rest) = a.as_chunks::<16>();
        let (others, rest_of_others) = b.as_chunks::<16>();
        for ((x, y), sum) in blocks.iter().zip(others).zip(sums.iter_mut()) {
            *sum += difference(x, y);
        }
        if !rest.is_empty() {
            sums[blocks.len()] += difference(rest, rest_of_others);
        }
        return;
    }
    for ((x, y), sum) in a.chunks(tile).zip(b.chunks(tile)).zip(sums) {
        *sum += difference(x, y);
    }
}

#[inline(always)]
fn difference(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(&x, &y)| u32::from(x.abs_diff(y))).sum()
}

#[cfg(test)]
mod tests;

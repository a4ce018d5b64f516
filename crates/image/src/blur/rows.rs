//! The rows around a row, and what stands for those outside.

use crate::{Frame, Sample};

/// How the image goes on outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Mirrored at the outermost pixel, which is not repeated (OpenCV's default).
    Reflect,
    /// The outermost pixel repeats.
    Replicate,
}

impl Border {
    /// The index inside that stands for `index`.
    pub(super) fn resolve(self, index: isize, len: usize) -> usize {
        let last = len as isize - 1;
        if self == Border::Replicate || last == 0 {
            return index.clamp(0, last) as usize;
        }
        let period = 2 * last;
        let at = index.rem_euclid(period);
        at.min(period - at) as usize
    }
}

/// Rows of an image as slices. Those that are not packed are gathered, each once as long as no more than `count` rows
/// are in use.
pub(super) struct Rows<'a, T> {
    image: Frame<'a, T>,
    direct: bool,
    held: Vec<T>,
    /// Which row each place of `held` has.
    tags: Vec<usize>,
}

impl<'a, T: Sample> Rows<'a, T> {
    pub fn new(image: Frame<'a, T>, count: usize) -> Rows<'a, T> {
        let aligned = image.strides()[0] % align_of::<T>() as isize == 0 && image.row_ptr(0).is_aligned();
        let direct = image.has_packed_rows() && aligned;
        let places = if direct { 0 } else { count.min(image.height()) };
        Rows {
            image,
            direct,
            held: vec![T::default(); places * image.row_len()],
            tags: vec![usize::MAX; places],
        }
    }

    /// Makes a row available.
    pub fn hold(&mut self, row: usize) {
        if self.direct {
            return;
        }
        let place = row % self.tags.len();
        if self.tags[place] != row {
            self.tags[place] = row;
            let len = self.image.row_len();
            self.image.gather_row(row, 0, &mut self.held[place * len..][..len]);
        }
    }

    /// A row that was [held](Self::hold).
    pub fn get(&self, row: usize) -> &[T] {
        let len = self.image.row_len();
        if self.direct {
            // SAFETY: a packed, aligned row is `len` readable elements.
            return unsafe { std::slice::from_raw_parts(self.image.row_ptr(row), len) };
        }
        &self.held[row % self.tags.len() * len..][..len]
    }
}

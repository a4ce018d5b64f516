//! Copies of turned images, whose columns lie together in memory.

use crate::{Frame, FrameMut, Sample};
use std::ops::Range;
#[cfg(target_arch = "x86_64")]
use vedette_simd::{Level, isa};

/// Rows of the output that are written together. Each is a place in every row of the source, which lie pages apart: the
/// more of them are taken at a visit, the fewer addresses have to be translated.
const ROWS: usize = 128;
/// Columns of the output that are written together: from as many rows of the source.
const COLUMNS: usize = 64;

/// Whether the pixels of a column lie together, and those of a row do not.
pub fn is_turned<T: Sample>(image: &Frame<'_, T>) -> bool {
    let [row, pixel, channel] = image.strides();
    let size = size_of::<T>() as isize;
    row.abs() == image.channels() as isize * size && row.abs() < pixel.abs() && channel == size
}

/// Copies the rows `range` of a [turned](is_turned) image, rectangle by rectangle.
///
/// # Safety
/// The rows of `out` are packed, and no other thread writes these.
///
/// # Panics
/// Where the shapes differ.
pub unsafe fn copy<T: Sample>(image: &Frame<'_, T>, out: &FrameMut<'_, T>, range: Range<usize>) {
    assert!(image.height() == out.height() && image.row_len() == out.row_len() && is_turned(image));
    let size = image.channels() * size_of::<T>();
    for top in range.clone().step_by(ROWS) {
        let rows = top..(top + ROWS).min(range.end);
        for left in (0..image.width()).step_by(COLUMNS) {
            let columns = left..(left + COLUMNS).min(image.width());
            let part = Rectangle::new(image, out, rows.clone(), columns);
            // SAFETY: pixels of that size, in rows that are this thread's.
            unsafe {
                match size {
                    1 => part.copy::<1>(),
                    2 => part.copy::<2>(),
                    3 => part.copy::<3>(),
                    4 => part.copy::<4>(),
                    6 => part.copy::<6>(),
                    8 => part.copy::<8>(),
                    12 => part.copy::<12>(),
                    _ => part.copy::<16>(),
                }
            }
        }
    }
}

/// Rows and columns of the output, and where they are on both sides.
struct Rectangle {
    from: *const u8,
    /// Bytes from a row to the next, and from a column to the next.
    steps: [isize; 2],
    to: *mut u8,
    pitch: isize,
    height: usize,
    width: usize,
    /// Bytes from the first column on that belong to the row.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only registers are wider than a pixel")
    )]
    left_in_row: usize,
}

impl Rectangle {
    fn new<T: Sample>(
        image: &Frame<'_, T>,
        out: &FrameMut<'_, T>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Rectangle {
        let [down, along, _] = image.strides();
        let size = image.channels() * size_of::<T>();
        Rectangle {
            from: image.row_ptr(rows.start).cast::<u8>().wrapping_offset(columns.start as isize * along),
            steps: [down, along],
            to: out.row_ptr(rows.start).cast::<u8>().wrapping_add(columns.start * size),
            pitch: out.strides()[0],
            height: rows.len(),
            width: columns.len(),
            left_in_row: (image.width() - columns.start) * size,
        }
    }

    /// # Safety
    /// Pixels have `P` bytes, and the rows of the output are the caller's alone.
    unsafe fn copy<const P: usize>(&self) {
        #[allow(unused_mut, reason = "only vector levels move on")]
        let mut done = [0; 2];
        #[cfg(target_arch = "x86_64")]
        if isa().level() >= Level::Avx2 && (P == 3 || P == 4) {
            // SAFETY: the level is there.
            done = unsafe { self.squares::<P>() };
        }
        // SAFETY: both parts lie within the rectangle.
        unsafe {
            self.pixels::<P>(0..done[0], done[1]..self.width);
            self.pixels::<P>(done[0]..self.height, 0..self.width);
        }
    }

    /// # Safety
    /// As [`copy`](Self::copy), within the rectangle.
    unsafe fn pixels<const P: usize>(&self, rows: Range<usize>, columns: Range<usize>) {
        let [down, along] = self.steps;
        for y in rows {
            for x in columns.clone() {
                // SAFETY: a whole pixel on both sides.
                unsafe {
                    let pixel = self.from.offset(y as isize * down + x as isize * along).cast::<[u8; P]>();
                    let target = self.to.offset(y as isize * self.pitch).add(x * P);
                    target.cast::<[u8; P]>().write(pixel.read());
                }
            }
        }
    }

    /// As much of the rectangle as squares of 4 x 4 pixels of 3 or 4 bytes cover; returns how many rows and columns.
    ///
    /// # Safety
    /// As [`copy`](Self::copy), and needs AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn squares<const P: usize>(&self) -> [usize; 2] {
        use std::arch::x86_64::*;
        let [down, along] = self.steps;
        let done = [self.height & !3, self.width & !3];
        // Three bytes to four and back.
        let widen = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
        let narrow = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
        for y in (0..done[0]).step_by(4) {
            // The four pixels of a column start at the lowest address, which is the last row's where rows go down.
            let first = if down < 0 { y + 3 } else { y };
            for x in (0..done[1]).step_by(4) {
                let mut columns = [_mm_setzero_si128(); 4];
                for (i, column) in columns.iter_mut().enumerate() {
                    // SAFETY: four pixels of a column of the source.
                    *column = unsafe {
                        let from = self.from.offset(first as isize * down + (x + i) as isize * along);
                        if P == 4 {
                            _mm_loadu_si128(from.cast())
                        } else {
                            let last = from.add(8).cast::<i32>().read_unaligned();
                            let bytes = _mm_insert_epi32::<2>(_mm_loadl_epi64(from.cast()), last);
                            _mm_shuffle_epi8(bytes, widen)
                        }
                    };
                }
                let [a, b, c, d] = columns;
                let (low, high) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
                let (low_2, high_2) = (_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
                let mut rows = [
                    _mm_unpacklo_epi64(low, low_2),
                    _mm_unpackhi_epi64(low, low_2),
                    _mm_unpacklo_epi64(high, high_2),
                    _mm_unpackhi_epi64(high, high_2),
                ];
                if down < 0 {
                    rows.reverse();
                }
                for (i, row) in rows.into_iter().enumerate() {
                    // SAFETY: four pixels of a row. What is written past them is of the same row and still to come.
                    unsafe {
                        let to = self.to.offset((y + i) as isize * self.pitch).add(x * P);
                        if P == 4 {
                            _mm_storeu_si128(to.cast(), row);
                            continue;
                        }
                        let bytes = _mm_shuffle_epi8(row, narrow);
                        if x * P + 16 <= self.left_in_row {
                            _mm_storeu_si128(to.cast(), bytes);
                        } else {
                            _mm_storel_epi64(to.cast(), bytes);
                            to.add(8).cast::<i32>().write_unaligned(_mm_extract_epi32::<2>(bytes));
                        }
                    }
                }
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Sample>(make: impl Fn(usize) -> T) {
        for [height, width] in [[1, 2], [3, 5], [4, 4], [9, 70], [131, 67], [64, 129]] {
            for channels in 1..=4 {
                let elements: Vec<T> = (0..height * width * channels).map(&make).collect();
                let image = Frame::packed(&elements, [height, width, channels]);
                let [row, pixel, channel] = image.strides();
                let ends = [(height - 1) as isize * row, (width - 1) as isize * pixel];
                for (offset, down, along) in [
                    (0, pixel, row),
                    (ends[1], -pixel, row),
                    (ends[0], pixel, -row),
                    (ends[0] + ends[1], -pixel, -row),
                ] {
                    // SAFETY: the same pixels, turned.
                    let view = unsafe {
                        image.reinterpret(offset, [width, height, channels], [down, along, channel])
                    };
                    if !is_turned(&view) {
                        continue;
                    }
                    let mut result = vec![make(0); elements.len()];
                    let out = FrameMut::packed(&mut result, [width, height, channels]);
                    // In two parts, the second first, so that neither may touch the other's rows.
                    for range in [width / 2..width, 0..width / 2] {
                        // SAFETY: one thread writes.
                        unsafe { copy(&view, &out, range) }
                    }
                    for (i, &value) in result.iter().enumerate() {
                        let (y, x, c) = (i / channels / height, i / channels % height, i % channels);
                        assert_eq!(value, view.get(y, x, c), "{height} x {width} x {channels}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_pixel_of_a_turned_image_finds_its_place() {
        check(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8);
        check(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u16);
        check(|i| i as f32);
    }
}

//! Text lines cut out of an image, straightened into the slots of a batch.

mod upright;

use crate::{ImageView, Normalization};
use upright::{Axis, Planes, resample_rows};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};

/// The corners of a line: top left, top right, bottom right, bottom left, as `[x, y]` with pixel centres at integers.
pub type Quad = [[f32; 2]; 4];

/// Corners this close to an upright rectangle (in pixels) are cut out without a perspective transform.
const UPRIGHT_TOLERANCE: f64 = 0.01;

/// Writes line `k` of `image` into slot `k` of `batch`, `(lines, 3, height, width)` contiguous: the quadrilateral
/// `quads[k]` becomes `height` x `widths[k]` pixels, normalised, and the columns after them zero.
///
/// Sampling is bilinear with half-pixel centres; outside the image its border repeats.
///
/// # Panics
/// Where the lengths disagree, a line is wider than its slot, or the image is empty.
pub fn crop_lines(
    isa: Isa,
    image: ImageView<'_>,
    quads: &[Quad],
    widths: &[usize],
    batch: &mut [f32],
    (height, width): (usize, usize),
    normalization: Normalization,
    pool: &ThreadPool,
) {
    let slot = 3 * height * width;
    assert!(quads.len() == widths.len() && batch.len() == quads.len() * slot);
    assert!(widths.iter().all(|&line| line <= width), "a line is wider than its slot of {width}");
    assert!(quads.is_empty() || !image.is_empty());
    let start = SlotPointer(batch.as_mut_ptr());
    pool.run(quads.len(), |k| {
        // SAFETY: slot k lies within the batch, and each k is given to one thread once.
        let planes = unsafe {
            Planes::from_raw_parts(start.get().add(k * slot), height, width, width, height * width)
        };
        crop_line(isa, image, &quads[k], widths[k], planes, (height, width), normalization);
    });
}

struct SlotPointer(*mut f32);

// SAFETY: threads write disjoint slots.
unsafe impl Sync for SlotPointer {}

impl SlotPointer {
    fn get(&self) -> *mut f32 {
        self.0
    }
}

fn crop_line(
    isa: Isa,
    image: ImageView<'_>,
    quad: &Quad,
    line_width: usize,
    planes: Planes,
    (height, width): (usize, usize),
    normalization: Normalization,
) {
    for channel in 0..3 {
        for y in 0..height {
            // SAFETY: this thread owns the slot; the slice ends here.
            unsafe { planes.row(channel, y, line_width..width) }.fill(0.0);
        }
    }
    let corners = quad.map(|corner| corner.map(f64::from));
    let length =
        |from: usize, to: usize| (corners[to][0] - corners[from][0]).hypot(corners[to][1] - corners[from][1]);
    let across = length(0, 1).max(length(3, 2)).max(1.0);
    let down = length(0, 3).max(length(1, 2)).max(1.0);
    let near = |a: f64, b: f64| (a - b).abs() < UPRIGHT_TOLERANCE;
    let upright = near(corners[0][1], corners[1][1])
        && near(corners[2][1], corners[3][1])
        && near(corners[0][0], corners[3][0])
        && near(corners[1][0], corners[2][0])
        && corners[0][0] <= corners[1][0]
        && corners[0][1] <= corners[3][1];
    if upright {
        let columns = Axis::new(line_width, corners[0][0], across / line_width as f64, image.width());
        let rows = Axis::new(height, corners[0][1], down / height as f64, image.height());
        // SAFETY: this thread owns the slot.
        unsafe { resample_rows(isa, image, planes, normalization, &rows, &columns, 0..height) }
        return;
    }
    let map = SquareToQuad::new(&corners).per_pixel(
        [0.5 / line_width as f64 - 0.5 / across, 0.5 / height as f64 - 0.5 / down],
        [1.0 / line_width as f64, 1.0 / height as f64],
        [image.width() - 1, image.height() - 1],
    );
    for y in 0..height {
        // SAFETY: this thread owns the slot, and the three rows lie in different planes.
        let rows = [0, 1, 2].map(|channel| unsafe { planes.row(channel, y, 0..line_width) });
        if image.is_packed() {
            dispatch!(isa, _S => warp_row::<true>(image, &map, y, normalization, rows));
        } else {
            dispatch!(isa, _S => warp_row::<false>(image, &map, y, normalization, rows));
        }
    }
}

/// Pixels warped together: enough for several registers, few enough to stay in the first-level cache.
const BLOCK: usize = 64;

#[inline(always)]
fn warp_row<const PACKED: bool>(
    image: ImageView<'_>,
    map: &PixelMap,
    y: usize,
    normalization: Normalization,
    rows: [&mut [f32]; 3],
) {
    let (last_row, last_column) = (image.height() - 1, image.width() - 1);
    let bytes = image.channel_bytes::<PACKED>();
    let mut taps = Taps::default();
    let mut words = [[0u32; BLOCK]; 4];
    let [red, green, blue] = rows;
    let blocks = red.chunks_mut(BLOCK).zip(green.chunks_mut(BLOCK)).zip(blue.chunks_mut(BLOCK));
    for (number, ((red, green), blue)) in blocks.enumerate() {
        map.trace(number * BLOCK, y, [last_column, last_row], &mut taps);
        for i in 0..red.len() {
            let (left, top) = (taps.x[i] as usize, taps.y[i] as usize);
            let (right, bottom) = ((left + 1).min(last_column), (top + 1).min(last_row));
            // SAFETY: taps are clamped to the image.
            unsafe {
                words[0][i] = image.word_unchecked::<PACKED>(top, left);
                words[1][i] = image.word_unchecked::<PACKED>(top, right);
                words[2][i] = image.word_unchecked::<PACKED>(bottom, left);
                words[3][i] = image.word_unchecked::<PACKED>(bottom, right);
            }
        }
        for (channel, out) in [red, green, blue].into_iter().enumerate() {
            let (shift, scale, offset) =
                (8 * bytes[channel], normalization.scale[channel], normalization.offset[channel]);
            let mut values = [0f32; BLOCK];
            for i in 0..BLOCK {
                let [nw, ne, sw, se] =
                    [0, 1, 2, 3].map(|tap| ((words[tap][i] >> shift) & 0xff) as i32 as f32);
                let above = nw + taps.along[i] * (ne - nw);
                let below = sw + taps.along[i] * (se - sw);
                values[i] = (above + taps.down[i] * (below - above)) * scale + offset;
            }
            out.copy_from_slice(&values[..out.len()]);
        }
    }
}

/// Where a block of pixels is sampled: the upper left neighbours, and how far each sample lies beyond its own.
struct Taps {
    x: [i32; BLOCK],
    y: [i32; BLOCK],
    along: [f32; BLOCK],
    down: [f32; BLOCK],
}

impl Default for Taps {
    fn default() -> Taps {
        Taps { x: [0; BLOCK], y: [0; BLOCK], along: [0.0; BLOCK], down: [0.0; BLOCK] }
    }
}

/// A projective map from pixels of a line to an image, relative to a whole pixel of it near the line, so that `f32`
/// keeps a few thousandths of a pixel however large the image is.
struct PixelMap {
    x: [f32; 3],
    y: [f32; 3],
    w: [f32; 3],
    origin: [f64; 2],
}

impl PixelMap {
    /// The taps of the pixels from `start` on in row `row`; the border of the image, up to `last`, repeats.
    #[inline(always)]
    fn trace(&self, start: usize, row: usize, last: [usize; 2], taps: &mut Taps) {
        let row = row as f32;
        let [x0, y0, w0] = [self.x, self.y, self.w].map(|line| line[1] * row + line[2]);
        let low = [0, 1].map(|axis| (-self.origin[axis]) as f32);
        let high = [0, 1].map(|axis| (last[axis] as f64 - self.origin[axis]) as f32);
        let origin = self.origin.map(|position| position as i32);
        let last = last.map(|last| last as i32);
        for i in 0..BLOCK {
            let at = (start + i) as i32 as f32;
            let scale = 1.0 / (self.w[0] * at + w0);
            // In this order what is not a number becomes the lower bound.
            let x = ((self.x[0] * at + x0) * scale).max(low[0]).min(high[0]);
            let y = ((self.y[0] * at + y0) * scale).max(low[1]).min(high[1]);
            let (left, top) = (x.floor(), y.floor());
            // SAFETY: both are numbers between bounds below 2^31, as the sides of an image are.
            let (column, line) = unsafe { (left.to_int_unchecked::<i32>(), top.to_int_unchecked::<i32>()) };
            // The bounds are rounded where an image is wider than f32 counts.
            taps.x[i] = (column + origin[0]).clamp(0, last[0]);
            taps.y[i] = (line + origin[1]).clamp(0, last[1]);
            (taps.along[i], taps.down[i]) = (x - left, y - top);
        }
    }
}

/// The projective map from the unit square to a quadrilateral (Heckbert, "Fundamentals of Texture Mapping and Image
/// Warping", 1989, section 2.2.3).
struct SquareToQuad {
    x: [f64; 3],
    y: [f64; 3],
    w: [f64; 2],
}

impl SquareToQuad {
    fn new(&[p0, p1, p2, p3]: &[[f64; 2]; 4]) -> SquareToQuad {
        let sum = [0, 1].map(|axis| p0[axis] - p1[axis] + p2[axis] - p3[axis]);
        let (d1, d2) = ([0, 1].map(|axis| p1[axis] - p2[axis]), [0, 1].map(|axis| p3[axis] - p2[axis]));
        let determinant = d1[0] * d2[1] - d2[0] * d1[1];
        // A parallelogram needs no perspective; a quadrilateral without area has none to give.
        let flat = sum.iter().all(|component| component.abs() < 1e-9) || determinant.abs() < 1e-9;
        let [g, h] = if flat {
            [0.0; 2]
        } else {
            [(sum[0] * d2[1] - d2[0] * sum[1]) / determinant, (d1[0] * sum[1] - sum[0] * d1[1]) / determinant]
        };
        let row =
            |axis: usize| [p1[axis] - p0[axis] + g * p1[axis], p3[axis] - p0[axis] + h * p3[axis], p0[axis]];
        SquareToQuad { x: row(0), y: row(1), w: [g, h] }
    }

    /// The map from pixel `i` of row `j`, which lies at `start + [i, j] * step` in the square.
    fn per_pixel(&self, start: [f64; 2], step: [f64; 2], last: [usize; 2]) -> PixelMap {
        let corner = [self.x[2], self.y[2]];
        // Within the image, and 0 where the corner is not a number.
        let origin = [0, 1].map(|axis| corner[axis].round().max(0.0).min(last[axis] as f64));
        let w = [self.w[0], self.w[1], 1.0];
        let moved = |line: [f64; 3], origin: f64| {
            let line: [f64; 3] = std::array::from_fn(|i| line[i] - origin * w[i]);
            let constant = line[2] + line[0] * start[0] + line[1] * start[1];
            [line[0] * step[0], line[1] * step[1], constant].map(|factor| factor as f32)
        };
        PixelMap { x: moved(self.x, origin[0]), y: moved(self.y, origin[1]), w: moved(w, 0.0), origin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_square_goes_to_the_corners() {
        for corners in [
            [[3.0, 4.0], [50.0, 1.0], [48.0, 20.0], [5.0, 30.0]],
            [[0.0, 0.0], [10.0, 0.0], [10.0, 5.0], [0.0, 5.0]],
        ] {
            let map = SquareToQuad::new(&corners);
            for (corner, (u, v)) in corners.iter().zip([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]) {
                let map = map.per_pixel([u, v], [0.0; 2], [99, 99]);
                let at = [map.x, map.y].map(|line| f64::from(line[2] / map.w[2]));
                let at = [at[0] + map.origin[0], at[1] + map.origin[1]];
                assert!((at[0] - corner[0]).hypot(at[1] - corner[1]) < 1e-4);
            }
        }
    }

    #[test]
    fn upright_and_general_paths_agree() {
        let pixels: Vec<u8> = (0..60 * 80 * 3).map(|i| ((i * 2654435761usize) >> 11) as u8).collect();
        let image = ImageView::packed(&pixels, 60, 80);
        let normalization = Normalization::new([0.5; 3], [0.5; 3]);
        let upright = [[10.0, 8.0], [71.0, 8.0], [71.0, 30.0], [10.0, 30.0]];
        let mut tilted = upright;
        tilted[1][1] += 0.02;
        let mut batch = vec![f32::NAN; 2 * 3 * 48 * 140];
        let pool = ThreadPool::new(2);
        for isa in Isa::available() {
            let quads = [upright, tilted];
            crop_lines(isa, image, &quads, &[133, 133], &mut batch, (48, 140), normalization, &pool);
            let (straight, general) = batch.split_at(3 * 48 * 140);
            for (i, (a, b)) in straight.iter().zip(general).enumerate() {
                // 0.02 pixels of tilt move a value by at most 0.02 of the full range of 2.
                assert!((a - b).abs() < 0.05, "{a} against {b}");
                assert!(i % 140 < 133 || (*a == 0.0 && *b == 0.0));
            }
        }
    }

    #[test]
    fn corners_far_outside_and_without_area_are_harmless() {
        let pixels = vec![200u8; 4 * 5 * 3];
        let image = ImageView::packed(&pixels, 4, 5);
        let normalization = Normalization::new([0.0; 3], [1.0; 3]);
        let quads =
            [[[-1e6, -1e6], [1e6, -2e6], [1e6, 1e6], [-1e6, 1e6]], [[2.0, 2.0]; 4], [[f32::NAN; 2]; 4]];
        let mut batch = vec![0.0; 3 * 3 * 8 * 8];
        crop_lines(
            vedette_simd::isa(),
            image,
            &quads,
            &[8, 8, 8],
            &mut batch,
            (8, 8),
            normalization,
            &ThreadPool::new(1),
        );
        assert!(batch[..2 * 3 * 64].iter().all(|&value| (value - 200.0 / 255.0).abs() < 1e-6));
    }
}

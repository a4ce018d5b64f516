//! Text lines cut out of an image, straightened into the slots of a batch.

use crate::resize::{Axis, Planes, resample_rows};
use crate::{ImageView, Normalization};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

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
    let map = SquareToQuad::new(&corners);
    let (step_x, step_y) = (1.0 / line_width as f64, 1.0 / height as f64);
    let last = [image.width() as f64 - 1.0, image.height() as f64 - 1.0];
    for y in 0..height {
        // SAFETY: this thread owns the slot, and the three rows lie in different planes.
        let [red, green, blue] = [0, 1, 2].map(|channel| unsafe { planes.row(channel, y, 0..line_width) });
        let v = (y as f64 + 0.5) * step_y - 0.5 / down;
        for x in 0..line_width {
            let u = (x as f64 + 0.5) * step_x - 0.5 / across;
            let [at_x, at_y] = map.apply(u, v);
            let value = bilinear(image, at_x.clamp(0.0, last[0]), at_y.clamp(0.0, last[1]));
            let [r, g, b]: [f32; 3] = std::array::from_fn(|channel| {
                value[channel] * normalization.scale[channel] + normalization.offset[channel]
            });
            (red[x], green[x], blue[x]) = (r, g, b);
        }
    }
}

#[inline(always)]
fn bilinear(image: ImageView<'_>, x: f64, y: f64) -> [f32; 3] {
    let (left, top) = (x as usize, y as usize);
    let (along, down) = ((x - left as f64) as f32, (y - top as f64) as f32);
    let (right, bottom) = ((left + 1).min(image.width() - 1), (top + 1).min(image.height() - 1));
    // SAFETY: the caller clamps x and y to the image.
    let [nw, ne, sw, se] = unsafe {
        [
            image.pixel_unchecked(top, left),
            image.pixel_unchecked(top, right),
            image.pixel_unchecked(bottom, left),
            image.pixel_unchecked(bottom, right),
        ]
    };
    std::array::from_fn(|channel| {
        let mix = |a: u8, b: u8| f32::from(a) + along * (f32::from(b) - f32::from(a));
        let above = mix(nw[channel], ne[channel]);
        above + down * (mix(sw[channel], se[channel]) - above)
    })
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

    #[inline(always)]
    fn apply(&self, u: f64, v: f64) -> [f64; 2] {
        let scale = 1.0 / (self.w[0] * u + self.w[1] * v + 1.0);
        [self.x, self.y].map(|row| (row[0] * u + row[1] * v + row[2]) * scale)
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
                let at = map.apply(u, v);
                assert!((at[0] - corner[0]).hypot(at[1] - corner[1]) < 1e-9);
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

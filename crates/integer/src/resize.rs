//! Bytes between bytes: linear (or cubic) resampling of channels-last images, with the scale and zero point kept.

use crate::requantize::{ROUNDING, clamp};
use crate::shared::Shared;
use crate::{TensorError, at_level};
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::matmul::{chunk, parts_for};
use vedette_tensor::resize::AxisMap;

/// A planned resampling of up to three spatial axes.
///
/// Lines are first blended to one line of floats, in the order of their taps, then its pixels; every product and sum
/// is rounded by itself.
pub struct ResizePlan {
    isa: Isa,
    batch: usize,
    channels: usize,
    /// Pixels of an input line.
    width: usize,
    maps: [AxisMap; 3],
    /// Strides of images, slices and lines.
    x: [isize; 3],
    parts: usize,
}

/// The map of an axis that keeps its size.
pub fn identity(size: usize) -> AxisMap {
    AxisMap { taps: 1, indices: (0..size).collect(), weights: vec![1.0; size], outside: Vec::new() }
}

impl ResizePlan {
    /// Plans it for an input `[N, C, D, H, W]` with these strides of images, slices and lines, whose channels lie next
    /// to each other, as do the pixels of a line.
    pub fn new(
        isa: Isa,
        threads: usize,
        shape: [usize; 5],
        maps: [AxisMap; 3],
        x: [isize; 3],
    ) -> Result<ResizePlan, TensorError> {
        let [batch, channels, depth, height, width] = shape;
        for (map, size) in maps.iter().zip([depth, height, width]) {
            let whole = map.weights.len() == map.indices.len() && map.taps > 0;
            if !whole || !map.outside.is_empty() || map.indices.iter().any(|&i| i >= size) {
                return Err(TensorError(format!("cannot resample an axis of {size} by {map:?}")));
            }
        }
        let [z, y, _] = &maps;
        let work = batch * z.len() * y.len() * channels * (width * z.taps * y.taps + maps[2].indices.len());
        let parts = parts_for(work as u64 / 4, threads);
        Ok(ResizePlan { isa, batch, channels, width, maps, x, parts })
    }

    fn row_bytes(&self) -> usize {
        (self.width * self.channels * size_of::<f32>()).next_multiple_of(64)
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        self.parts * self.row_bytes()
    }

    /// Resamples.
    ///
    /// # Safety
    /// `x` is the first element of the input as planned, `out` has room for a channels-last output; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, x: *const u8, out: *mut u8, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let [depth, height, width] = self.maps.each_ref().map(AxisMap::len);
        let (lines, row) = (self.batch * depth * height, width * self.channels);
        let shared = Shared::new((x, out, scratch.as_mut_ptr()));
        pool.run(self.parts, |part| {
            let (x, out, scratch) = shared.get();
            let blend = scratch.wrapping_add(part * self.row_bytes()).cast::<f32>();
            // SAFETY: this part's scratch memory; the zeros make it initialised.
            let blend = unsafe {
                blend.write_bytes(0, self.width * self.channels);
                std::slice::from_raw_parts_mut(blend, self.width * self.channels)
            };
            for line in chunk(lines, self.parts, part, 1) {
                let (slice, y) = (line / height, line % height);
                let (n, z) = (slice / depth, slice % depth);
                let image = x.wrapping_offset(n as isize * self.x[0]);
                // SAFETY: a line of the output, which is this part's own.
                let out = unsafe { std::slice::from_raw_parts_mut(out.wrapping_add(line * row), row) };
                at_level!(self.isa, {
                    // SAFETY: the image is one of the input.
                    unsafe { self.blend_lines(image, z, y, &mut *blend) };
                    self.blend_pixels(&*blend, &mut *out);
                });
            }
        });
    }

    /// # Safety
    /// `x` is an image of the input.
    #[inline(always)]
    unsafe fn blend_lines(&self, x: *const u8, z: usize, y: usize, blend: &mut [f32]) {
        let (zs, ys) = (taps(&self.maps[0], z), taps(&self.maps[1], y));
        let mut first = true;
        for kz in zs {
            for ky in ys.clone() {
                let (z, y) = (self.maps[0].indices[kz], self.maps[1].indices[ky]);
                let weight = self.maps[0].weights[kz] * self.maps[1].weights[ky];
                let at = x.wrapping_offset(z as isize * self.x[1] + y as isize * self.x[2]);
                // SAFETY: a line of the input, whose pixels follow one another.
                let line = unsafe { std::slice::from_raw_parts(at, blend.len()) };
                if first {
                    for (sum, &x) in blend.iter_mut().zip(line) {
                        *sum = f32::from(x) * weight;
                    }
                } else {
                    for (sum, &x) in blend.iter_mut().zip(line) {
                        *sum += f32::from(x) * weight;
                    }
                }
                first = false;
            }
        }
    }

    #[inline(always)]
    fn blend_pixels(&self, blend: &[f32], out: &mut [u8]) {
        let (map, channels) = (&self.maps[2], self.channels);
        let byte = |f: f32| (clamp(f, 0.0, 255.0) + ROUNDING).to_bits() as u8;
        for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
            let taps = taps(map, pixel);
            let source = |tap: usize| &blend[map.indices[tap] * channels..][..channels];
            match *map.weights[taps.clone()].as_ref() {
                [a, b] => {
                    let (left, right) = (source(taps.start), source(taps.start + 1));
                    for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
                        *out = byte(left * a + right * b);
                    }
                }
                _ => {
                    for (c, out) in out.iter_mut().enumerate() {
                        let mut sum = 0.0;
                        for tap in taps.clone() {
                            sum += source(tap)[c] * map.weights[tap];
                        }
                        *out = byte(sum);
                    }
                }
            }
        }
    }
}

/// The taps of an output of an axis.
#[inline(always)]
fn taps(map: &AxisMap, output: usize) -> Range<usize> {
    output * map.taps..(output + 1) * map.taps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::bytes;
    use vedette_tensor::resize::{Coordinates, Interpolation, Sampling};

    fn run(plan: &ResizePlan, x: &[u8], outputs: usize) -> Vec<u8> {
        let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
        let mut out = vec![0u8; outputs];
        // SAFETY: as planned; the scratch memory is aligned.
        unsafe {
            let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), plan.scratch_bytes());
            plan.run(x.as_ptr(), out.as_mut_ptr(), scratch, &ThreadPool::new(2));
        }
        out
    }

    #[test]
    fn images_are_resampled_alike_at_every_level() {
        let sampling = |interpolation, antialias| Sampling {
            coordinates: Coordinates::HalfPixel,
            interpolation,
            antialias,
            exclude_outside: false,
        };
        let linear = sampling(Interpolation::Linear, false);
        let shrinking = sampling(Interpolation::Linear, true);
        let cubic = sampling(Interpolation::Cubic(-0.75), false);
        let cases = [
            ([2, 5, 1, 9, 7], [1, 18, 14], linear),
            ([1, 64, 1, 8, 9], [1, 16, 5], linear),
            ([1, 3, 1, 20, 30], [1, 7, 100], shrinking),
            ([1, 17, 3, 4, 5], [6, 4, 10], linear),
            ([1, 2, 1, 6, 6], [1, 9, 13], cubic),
            ([1, 70, 1, 40, 50], [1, 80, 100], linear),
        ];
        for (shape, to, sampling) in cases {
            let maps: [AxisMap; 3] = std::array::from_fn(|i| {
                let (from, to) = (shape[i + 2], to[i]);
                let scale = to as f64 / from as f64;
                if from == to { identity(from) } else { sampling.map(from, to, scale, (0.0, 1.0)) }
            });
            let [n, c, d, h, w] = shape;
            let x = bytes(shape.iter().product(), 5);
            let strides = [(d * h * w * c) as isize, (h * w * c) as isize, (w * c) as isize];
            let outputs = n * c * to.iter().product::<usize>();
            let results: Vec<Vec<u8>> = Isa::available()
                .into_iter()
                .map(|isa| {
                    let plan = ResizePlan::new(isa, 2, shape, maps.clone(), strides).unwrap();
                    run(&plan, &x, outputs)
                })
                .collect();
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{shape:?}");
            for (i, &y) in results[0].iter().enumerate() {
                let (channel, at) = (i % c, i / c);
                let (ox, at) = (at % to[2], at / to[2]);
                let (oy, at) = (at % to[1], at / to[1]);
                let (oz, image) = (at % to[0], at / to[0]);
                let mut exact = 0.0;
                for kz in taps(&maps[0], oz) {
                    for ky in taps(&maps[1], oy) {
                        for kx in taps(&maps[2], ox) {
                            let weight = [(0, kz), (1, ky), (2, kx)]
                                .map(|(axis, k)| f64::from(maps[axis].weights[k]))
                                .iter()
                                .product::<f64>();
                            let (z, line) = (maps[0].indices[kz], maps[1].indices[ky]);
                            let pixel = ((image * d + z) * h + line) * w + maps[2].indices[kx];
                            exact += weight * f64::from(x[pixel * c + channel]);
                        }
                    }
                }
                // Half a step of rounding, and what float32 adds where the exact number is near a half.
                assert!((f64::from(y) - exact.clamp(0.0, 255.0)).abs() < 0.5001, "{y} {exact}");
            }
        }
    }

    #[test]
    fn maps_that_reach_outside_are_refused() {
        let map = AxisMap { taps: 1, indices: vec![3], weights: vec![1.0], outside: vec![] };
        let plan = ResizePlan::new(Isa::SCALAR, 1, [1, 1, 1, 1, 3], [identity(1), identity(1), map], [3; 3]);
        assert!(plan.is_err());
    }
}

//! Luma of colour images, bit-exact with the library a profile names.

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::{Frame, FrameMut, Sample};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
#[cfg(target_arch = "x86_64")]
use vedette_simd::Level;

/// Fixed-point weights: `(red * r + green * g + blue * b + half) >> shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Of red, green and blue; they sum to `1 << shift`.
    pub rgb: [u32; 3],
    /// Fraction bits.
    pub shift: u32,
    /// Whether results are rounded (else cut off).
    pub rounded: bool,
}

impl Weights {
    /// `cv2.cvtColor`: 15 bits.
    pub const OPENCV: Weights = Weights { rgb: [9798, 19235, 3735], shift: 15, rounded: true };
    /// Pillow's `convert("L")`: 16 bits.
    pub const PILLOW: Weights = Weights { rgb: [19595, 38470, 7471], shift: 16, rounded: true };
    /// torchvision's `rgb_to_grayscale`: 0.2989, 0.587 and 0.114, cut off, in 20 bits.
    pub const TORCHVISION: Weights = Weights { rgb: [313_420, 615_514, 119_538], shift: 20, rounded: false };

    fn half(self) -> u32 {
        if self.rounded { 1 << (self.shift - 1) } else { 0 }
    }

    /// The luma of one pixel of up to 16 bits a channel.
    #[inline(always)]
    fn of(self, [red, green, blue]: [u32; 3]) -> u32 {
        let [r, g, b] = self.rgb.map(u64::from);
        let sum = u64::from(red) * r + u64::from(green) * g + u64::from(blue) * b;
        ((sum + u64::from(self.half())) >> self.shift) as u32
    }
}

/// Elements below which another thread costs more than it saves.
const GRAIN: usize = 1 << 18;

/// An element type that has a luma.
pub trait Luma: Sample {
    /// The luma of one pixel.
    #[doc(hidden)]
    fn luma(weights: Weights, rgb: [Self; 3]) -> Self;
}

impl Luma for u8 {
    #[inline(always)]
    fn luma(weights: Weights, rgb: [u8; 3]) -> u8 {
        weights.of(rgb.map(u32::from)) as u8
    }
}

impl Luma for u16 {
    #[inline(always)]
    fn luma(weights: Weights, rgb: [u16; 3]) -> u16 {
        weights.of(rgb.map(u32::from)) as u16
    }
}

impl Luma for f32 {
    #[inline(always)]
    fn luma(_: Weights, [red, green, blue]: [f32; 3]) -> f32 {
        0.299 * red + 0.587 * green + 0.114 * blue
    }
}

/// Writes the luma of an RGB or RGBA image; an image of one channel is copied.
///
/// # Panics
/// Where sizes differ, or there are 2 or more than 4 channels.
pub fn to_gray<T: Luma>(
    isa: Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    weights: Weights,
    pool: &ThreadPool,
) {
    assert!(image.height() == out.height() && image.width() == out.width() && out.channels() == 1);
    let channels = image.channels();
    assert!(matches!(channels, 1 | 3 | 4), "no luma of {channels} channels");
    if out.is_empty() {
        return;
    }
    let grain = GRAIN / image.row_len() + 1;
    let joined = image.has_joined_rows() && out.has_joined_rows();
    pool.run_ranges(out.height(), grain, 1, |range| {
        // Without gaps there is one end to take care of instead of one a row.
        let (image, out, range) =
            if joined { (image.joined(range.clone()), out.joined(range), 0..1) } else { (image, out, range) };
        let (mut scratch, mut target) = (Vec::new(), Vec::new());
        for y in range {
            // SAFETY: the ranges are disjoint, so this row is this thread's alone.
            unsafe {
                out.write_row(y, &mut target, |row| {
                    if channels == 1 {
                        row.copy_from_slice(image.row(y, &mut scratch));
                    } else {
                        gray_row(isa, &image, y, weights, &mut scratch, row);
                    }
                });
            }
        }
    });
}

/// The luma of packed pixels of `step` bytes, blue first where `reversed`; returns whether this level does it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn packed_row(
    isa: Isa,
    row: &[u8],
    step: usize,
    reversed: bool,
    weights: Weights,
    out: &mut [u8],
) -> bool {
    let fits = matches!(step, 3 | 4) && weights.shift <= 16 && row.len() == out.len() * step;
    if isa.level() < Level::Avx2 || !fits || out.is_empty() {
        return false;
    }
    // SAFETY: the level is there, and all bytes of every pixel are readable.
    unsafe {
        x86::gray(isa, (row.as_ptr(), row.len()), step, reversed, weights, out.len(), out.as_mut_ptr());
    }
    true
}

fn gray_row<T: Luma>(
    isa: Isa,
    image: &Frame<'_, T>,
    y: usize,
    weights: Weights,
    scratch: &mut Vec<T>,
    out: &mut [T],
) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 1 && isa.level() >= Level::Avx2 && weights.shift <= 16 {
        let [_, pixel, channel] = image.strides();
        let reversed = channel == -1;
        if (pixel == 3 || pixel == 4) && (channel == 1 || reversed) {
            let step = pixel as usize;
            // Behind the colours of the last pixel only an alpha that belongs to the image is known to be there.
            let last = if image.channels() == step && !reversed { step } else { 3 };
            let bytes = (out.len() - 1) * step + last;
            // SAFETY: T is u8; the first byte of a pixel is its first or, reversed, its third channel, and all pixels
            // but the last have `step` bytes of their own.
            unsafe {
                let first = image.row_ptr(y).cast::<u8>().wrapping_offset(if reversed { -2 } else { 0 });
                x86::gray(isa, (first, bytes), step, reversed, weights, out.len(), out.as_mut_ptr().cast());
            }
            return;
        }
    }
    let channels = image.channels();
    if image.has_packed_rows() {
        let row = image.row(y, scratch);
        for (value, pixel) in out.iter_mut().zip(row.chunks_exact(channels)) {
            *value = T::luma(weights, [pixel[0], pixel[1], pixel[2]]);
        }
        return;
    }
    for (x, value) in out.iter_mut().enumerate() {
        // SAFETY: the output is as wide as the image.
        let rgb = [0, 1, 2].map(|channel| unsafe { image.get_unchecked(y, x, channel) });
        *value = T::luma(weights, rgb);
    }
    let _ = isa;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_the_same_bits_for_any_strides() {
        let (height, width) = (5, 203);
        let pixels: Vec<u8> =
            (0..height * width * 4).map(|i: usize| (i.wrapping_mul(2654435761) >> 11) as u8).collect();
        let base = Frame::packed(&pixels, [height, width, 4]);
        let row = 4 * width as isize;
        for (offset, channels, strides) in [
            (0, 4, [row, 4, 1]),
            (0, 3, [row, 4, 1]),
            (2, 3, [row, 4, -1]),
            (3, 4, [row, 4, -1]),
            (0, 3, [row, 3, 1]),
            (2, 3, [row, 3, -1]),
            (row - 4, 4, [row, -4, 1]),
        ] {
            // SAFETY: each view stays within the pixels.
            let image = unsafe { base.reinterpret(offset, [height, width, channels], strides) };
            for weights in [Weights::OPENCV, Weights::PILLOW, Weights::TORCHVISION] {
                for isa in Isa::available() {
                    let mut out = vec![0; height * width];
                    to_gray(
                        isa,
                        image,
                        FrameMut::packed(&mut out, [height, width, 1]),
                        weights,
                        &ThreadPool::new(2),
                    );
                    for (i, &value) in out.iter().enumerate() {
                        let rgb = [0, 1, 2].map(|c| image.get(i / width, i % width, c));
                        assert_eq!(value, u8::luma(weights, rgb), "{isa:?} {strides:?}");
                    }
                }
            }
        }
    }
}

//! What each colour space is in red, green, blue and alpha, a block of pixels at a time. Plain loops, compiled once a
//! level; none divides by table or branches, so that the compiler turns them into vector code.

use crate::interleaved::{BLOCK, Plane};

/// Red, green, blue and alpha of a block.
pub type Rgba = [Plane; 4];

/// 2^23 + 2^22: added to a number of less than 22 bits it leaves the nearest whole number, halves to even, in the low
/// bits.
const ROUNDING: f32 = 12_582_912.0;

#[inline(always)]
fn rounded(value: f32) -> i32 {
    (value + ROUNDING).to_bits().cast_signed() - ROUNDING.to_bits().cast_signed()
}

/// Weighted sums in 15 bits, as in [`Weights::OPENCV`](crate::gray::Weights::OPENCV).
#[inline(always)]
pub fn luma([r, g, b, _]: &Rgba, out: &mut Plane) {
    for i in 0..BLOCK {
        let sum = 9798 * u32::from(r[i]) + 19235 * u32::from(g[i]) + 3735 * u32::from(b[i]);
        out[i] = ((sum + (1 << 14)) >> 15) as u8;
    }
}

/// Hue in steps of two degrees; the divisions, by value and by chroma, in 12 fraction bits.
#[inline(always)]
pub fn rgb_to_hsv([r, g, b, _]: &Rgba, [hue, saturation, value]: &mut [Plane; 3]) {
    // As much as possible in bytes, then in words, of which registers hold more.
    let mut chroma = [0; BLOCK];
    for i in 0..BLOCK {
        value[i] = r[i].max(g[i]).max(b[i]);
        chroma[i] = value[i] - r[i].min(g[i]).min(b[i]);
    }
    let mut sectors = [0; BLOCK];
    for i in 0..BLOCK {
        let [r, g, b, highest, chroma] = [r[i], g[i], b[i], value[i], chroma[i]].map(i16::from);
        let (second, third) = (b - r + 2 * chroma, r - g + 4 * chroma);
        let other = if highest == g { second } else { third };
        sectors[i] = if highest == r { g - b } else { other };
    }
    let mut hues = [0; BLOCK];
    for i in 0..BLOCK {
        // A quotient of such numbers is too far from a half, unless it is one, for its own rounding to matter.
        let by_chroma = rounded((30 << 12) as f32 / f32::from(chroma[i].max(1)));
        hues[i] = ((i32::from(sectors[i]) * by_chroma + (1 << 11)) >> 12) as i16;
    }
    for i in 0..BLOCK {
        hue[i] = (hues[i] + if hues[i] < 0 { 180 } else { 0 }) as u8;
    }
    for i in 0..BLOCK {
        let by_value = rounded((255 << 12) as f32 / f32::from(value[i].max(1)));
        saturation[i] = ((i32::from(chroma[i]) * by_value + (1 << 11)) >> 12) as u8;
    }
}

/// The inverse of [`rgb_to_hsv`], in `f32`: each channel falls by the chroma as far as the hue lies from its own.
#[inline(always)]
pub fn hsv_to_rgb([hue, saturation, value]: &[Plane; 3], [r, g, b, _]: &mut Rgba) {
    for i in 0..BLOCK {
        let chroma = f32::from(value[i]) * (f32::from(saturation[i]) / 255.0);
        let sector = f32::from(hue[i]) * (6.0 / 180.0);
        // Hues beyond 179 go round once more.
        let sector = if sector >= 6.0 { sector - 6.0 } else { sector };
        let level = |own: f32| {
            let turned = sector + own;
            let away = if turned >= 6.0 { turned - 6.0 } else { turned };
            rounded(f32::from(value[i]) - chroma * away.min(4.0 - away).clamp(0.0, 1.0)) as u8
        };
        r[i] = level(5.0);
        g[i] = level(3.0);
        b[i] = level(1.0);
    }
}

/// Rounds 14 fraction bits away, and saturates.
#[inline(always)]
fn descale(value: i32) -> u8 {
    ((value + (1 << 13)) >> 14).clamp(0, 255) as u8
}

/// Luma and two differences of colour, in 14 fraction bits.
#[inline(always)]
pub fn rgb_to_yuv([r, g, b, _]: &Rgba, [y, u, v]: &mut [Plane; 3]) {
    for i in 0..BLOCK {
        let [r, g, b] = [i32::from(r[i]), i32::from(g[i]), i32::from(b[i])];
        let luma = (r * 4899 + g * 9617 + b * 1868 + (1 << 13)) >> 14;
        y[i] = luma as u8;
        u[i] = descale((b - luma) * 8061 + (128 << 14));
        v[i] = descale((r - luma) * 14369 + (128 << 14));
    }
}

/// The inverse of [`rgb_to_yuv`].
#[inline(always)]
pub fn yuv_to_rgb([y, u, v]: &[Plane; 3], [r, g, b, _]: &mut Rgba) {
    for i in 0..BLOCK {
        let [y, u, v] = [i32::from(y[i]), i32::from(u[i]) - 128, i32::from(v[i]) - 128];
        let at = |chroma: i32| (y + ((chroma + (1 << 13)) >> 14)).clamp(0, 255) as u8;
        r[i] = at(v * 18678);
        g[i] = at(u * -6472 + v * -9519);
        b[i] = at(u * 33292);
    }
}

//! One row: what its chroma adds to each colour, then its pixels, in 20 fraction bits.

use vedette_simd::{Isa, dispatch};

/// Fraction bits.
pub(super) const BITS: u32 = 20;
/// Of luma, with the rounding of the whole sum.
pub(super) const LUMA: i32 = 1_220_542;
/// Of the two chroma samples in each colour: `[colour][u, v]`.
pub(super) const CHROMA: [[i32; 2]; 3] = [[0, 1_673_527], [-409_993, -852_492], [2_116_026, 0]];

/// What chroma adds to red, green and blue, half a rounding step included: one value for two pixels.
pub(super) struct Chroma {
    pub parts: [Vec<i32>; 3],
}

/// How pixels lie.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub channels: usize,
    pub reversed: bool,
}

impl Chroma {
    pub fn new(len: usize) -> Chroma {
        Chroma { parts: std::array::from_fn(|_| vec![0; len]) }
    }

    /// From samples `[u, v]`.
    pub fn set(&mut self, isa: Isa, pairs: &[[u8; 2]]) {
        for (part, [u, v]) in self.parts.iter_mut().zip(CHROMA) {
            dispatch!(isa, S => weigh::<S>(pairs, u, v, part));
        }
    }
}

// Plain loops that the compiler turns into vector code, compiled once a level.
#[inline(always)]
fn weigh<S>(pairs: &[[u8; 2]], u: i32, v: i32, part: &mut [i32]) {
    let _level = std::marker::PhantomData::<S>;
    for (part, pair) in part.iter_mut().zip(pairs) {
        *part = (i32::from(pair[0]) - 128) * u + (i32::from(pair[1]) - 128) * v + (1 << (BITS - 1));
    }
}

/// Takes the luma and the chroma of YUYV apart.
pub(super) fn part(isa: Isa, row: &[u8], luma: &mut [u8], pairs: &mut [[u8; 2]]) {
    dispatch!(isa, S => part_plain::<S>(row, luma, pairs));
}

#[inline(always)]
fn part_plain<S>(row: &[u8], luma: &mut [u8], pairs: &mut [[u8; 2]]) {
    let _level = std::marker::PhantomData::<S>;
    let samples = row.as_chunks::<2>().0;
    for ((luma, chroma), sample) in luma.iter_mut().zip(pairs.as_flattened_mut()).zip(samples) {
        [*luma, *chroma] = *sample;
    }
}

/// The pixels of a row.
pub(super) fn decode(isa: Isa, luma: &[u8], chroma: &Chroma, order: Order, out: &mut [u8]) {
    let parts = chroma.parts.each_ref().map(|part| &part[..luma.len() / 2]);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: two pixels for each part of chroma, and as many pixels in the output as in luma.
    let done = unsafe {
        assert!(out.len() == luma.len() * order.channels);
        super::x86::decode(isa, luma, parts, order, out)
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let _ = isa;
    let (luma, out) = (&luma[done..], &mut out[done * order.channels..]);
    let parts = parts.map(|part| &part[done / 2..]);
    match order {
        Order { channels: 3, reversed: false } => plain(luma, parts, out, |rgb| rgb),
        Order { channels: 3, .. } => plain(luma, parts, out, |[r, g, b]| [b, g, r]),
        Order { reversed: false, .. } => plain(luma, parts, out, |[r, g, b]| [r, g, b, 255]),
        _ => plain(luma, parts, out, |[r, g, b]| [b, g, r, 255]),
    }
}

/// Pixels whose colours are found together.
const BLOCK: usize = 64;

fn plain<const C: usize>(
    luma: &[u8],
    parts: [&[i32]; 3],
    out: &mut [u8],
    order: impl Fn([u8; 3]) -> [u8; C],
) {
    let pixels = out.as_chunks_mut::<C>().0;
    for (block, (pixels, luma)) in pixels.chunks_mut(BLOCK).zip(luma.chunks(BLOCK)).enumerate() {
        let (mut lights, mut colours) = ([0; BLOCK], [[0; BLOCK]; 3]);
        let mut levels = [0; BLOCK];
        levels[..luma.len()].copy_from_slice(luma);
        for (light, luma) in lights.iter_mut().zip(levels) {
            *light = i32::from(luma.saturating_sub(16)) * LUMA;
        }
        for (colours, part) in colours.iter_mut().zip(parts) {
            let mut doubled = [0; BLOCK];
            for (two, &part) in doubled.as_chunks_mut::<2>().0.iter_mut().zip(&part[block * (BLOCK / 2)..]) {
                *two = [part; 2];
            }
            for i in 0..BLOCK {
                colours[i] = ((lights[i] + doubled[i]) >> BITS).clamp(0, 255) as u8;
            }
        }
        let [reds, greens, blues] = &colours;
        for (((pixel, &red), &green), &blue) in pixels.iter_mut().zip(reds).zip(greens).zip(blues) {
            *pixel = order([red, green, blue]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_the_bits_of_the_definition() {
        let mix = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
        for width in [2, 30, 64, 66, 130, 1 << 16] {
            let luma: Vec<u8> = (0..width).map(mix).collect();
            let pairs: Vec<[u8; 2]> = (0..width / 2).map(|i| [mix(3 * i + 1), mix(5 * i + 2)]).collect();
            for isa in Isa::available() {
                let mut chroma = Chroma::new(width / 2);
                chroma.set(isa, &pairs);
                for (channels, reversed) in [(3, false), (3, true), (4, false), (4, true)] {
                    let mut out = vec![0; width * channels];
                    decode(isa, &luma, &chroma, Order { channels, reversed }, &mut out);
                    for (x, pixel) in out.chunks_exact(channels).enumerate() {
                        let [u, v] = pairs[x / 2].map(|value| f64::from(value) - 128.0);
                        let y = f64::from(luma[x].saturating_sub(16)) * 1_220_542.0;
                        let rgb = [1_673_527.0 * v, -409_993.0 * u - 852_492.0 * v, 2_116_026.0 * u].map(
                            |chroma| {
                                ((y + chroma) / f64::from(1 << 20) + 0.5).floor().clamp(0.0, 255.0) as u8
                            },
                        );
                        let mut expected = if reversed { [rgb[2], rgb[1], rgb[0]] } else { rgb }.to_vec();
                        expected.resize(channels, 255);
                        assert_eq!(pixel, expected, "pixel {x} of {width} at {}", isa.name());
                    }
                }
            }
        }
    }
}

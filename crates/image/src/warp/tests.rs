use super::*;

fn warp(
    image: Frame<'_, u8>,
    out: FrameMut<'_, u8>,
    matrix: [[f64; 3]; 3],
    nearest: bool,
    fill: u8,
    pool: &ThreadPool,
) {
    super::warp(vedette_simd::isa(), image, out, &Warp { matrix, nearest, fill }, pool);
}

#[test]
fn whole_steps_move_pixels_and_halves_mix_them() {
    let pixels: Vec<u8> = (0..12).map(|i| i * 20).collect();
    let image = Frame::packed(&pixels, [3, 4, 1]);
    let mut out = vec![0; 12];
    let shift = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    warp(image, FrameMut::packed(&mut out, [3, 4, 1]), shift, false, 7, &ThreadPool::new(1));
    assert_eq!(out, [20, 40, 60, 7, 100, 120, 140, 7, 180, 200, 220, 7]);
    let half = [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    warp(image, FrameMut::packed(&mut out, [3, 4, 1]), half, false, 0, &ThreadPool::new(1));
    assert_eq!(out[..4], [10, 30, 50, 30]);
    let undone = inverse(inverse(half).unwrap()).unwrap();
    assert!(undone.iter().flatten().zip(half.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!(inverse([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 0.0, 1.0]]), None);
    warp(image, FrameMut::packed(&mut out, [3, 4, 1]), [[f64::NAN; 3]; 3], false, 9, &ThreadPool::new(1));
    assert_eq!(out, [9; 12]);
}

#[test]
fn every_level_gives_the_same_bits() {
    let pixels: Vec<u8> =
        (0..40 * 90 * 4).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let matrices = [
        [[0.9, 0.2, -3.5], [-0.15, 1.1, 7.25], [0.0, 0.0, 1.0]],
        [[1.3, 0.1, 0.5], [0.2, 0.8, -2.0], [1e-3, -2e-3, 1.0]],
    ];
    for channels in 1..=4 {
        let image = Frame::packed(&pixels[..40 * 90 * channels], [40, 90, channels]);
        for matrix in matrices {
            for nearest in [false, true] {
                let mut first: Option<Vec<u8>> = None;
                for isa in Isa::available() {
                    let mut out = vec![0; 33 * 101 * channels];
                    let target = FrameMut::packed(&mut out, [33, 101, channels]);
                    super::warp(isa, image, target, &Warp { matrix, nearest, fill: 7 }, &ThreadPool::new(2));
                    assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "{}", isa.name());
                }
            }
        }
    }
}

/// What stands between four pixels, exactly, of an image that goes on as `fill`.
fn exact(image: &Frame<'_, u8>, [u, v]: [f64; 2], channel: usize, fill: u8) -> f64 {
    let at = |y: f64, x: f64| {
        let inside = y >= 0.0 && x >= 0.0 && y < image.height() as f64 && x < image.width() as f64;
        f64::from(if inside { image.get(y as usize, x as usize, channel) } else { fill })
    };
    let (left, top) = (u.floor(), v.floor());
    let (along, down) = (u - left, v - top);
    let row = |y: f64| at(y, left) * (1.0 - along) + at(y, left + 1.0) * along;
    row(top) * (1.0 - down) + row(top + 1.0) * down
}

#[test]
fn bytes_are_the_exact_mixtures_but_for_the_fraction_bits_of_places() {
    let bytes: Vec<u8> =
        (0..50 * 90 * 4).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let matrices = [
        [[0.9, 0.2, -3.5], [-0.15, 1.1, 7.25], [0.0, 0.0, 1.0]],
        [[-0.7, 0.3, 80.0], [0.4, 0.6, -9.0], [0.0, 0.0, 1.0]],
        [[1.3, 0.1, 0.5], [0.2, 0.8, -2.0], [1e-3, -2e-3, 1.0]],
    ];
    for channels in 1..=4 {
        let packed = Frame::packed(&bytes[..50 * 90 * channels], [50, 90, channels]);
        let [row, pixel, channel] = packed.strides();
        for (offset, strides) in [
            (0, [row, pixel, channel]),
            (49 * row, [-row, pixel, channel]),
            (89 * pixel, [row, -pixel, channel]),
        ] {
            // SAFETY: the same pixels, upside down or mirrored.
            let image = unsafe { packed.reinterpret(offset, [50, 90, channels], strides) };
            for matrix in matrices {
                for isa in Isa::available() {
                    let mut out = vec![0; 37 * 131 * channels];
                    let target = FrameMut::packed(&mut out, [37, 131, channels]);
                    let warp = Warp { matrix, nearest: false, fill: 7 };
                    super::warp(isa, image, target, &warp, &ThreadPool::new(1));
                    for (i, &value) in out.iter().enumerate() {
                        let (y, x) = ((i / channels / 131) as f64, (i / channels % 131) as f64);
                        let [u, v, w] = matrix.map(|m| m[0] * x + m[1] * y + m[2]);
                        let expected = exact(&image, [u / w, v / w], i % channels, 7);
                        // Half a level, a step of 255 over half of 2^-14 each way, and half of 2^-7 between the passes.
                        let off = (f64::from(value) - expected).abs();
                        assert!(
                            off <= 0.5 + 255.0 / 16384.0 + 1.0 / 256.0,
                            "{value} for {expected} at {}",
                            isa.name()
                        );
                    }
                }
            }
        }
    }
}

use super::*;

/// The definition, in `f64`.
fn expected<T: Sample>(image: &Frame<'_, T>, [down, along]: [&[f64]; 2], border: Border) -> Vec<f64> {
    let mut out = Vec::new();
    for y in 0..image.height() as isize {
        for x in 0..image.width() as isize {
            for c in 0..image.channels() {
                let mut sum = 0.0;
                for (j, wy) in down.iter().enumerate() {
                    for (k, wx) in along.iter().enumerate() {
                        let row = border.resolve(y + j as isize - down.len() as isize / 2, image.height());
                        let column = border.resolve(x + k as isize - along.len() as isize / 2, image.width());
                        sum += wy * wx * f64::from(image.get(row, column, c).to_f32());
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

/// Compares every level, with one thread and two, packed and mirrored, with the definition.
fn check<T: Blurred>(make: impl Fn(usize) -> T, filter: &Blur, weights: [&[f64]; 2], within: f64) {
    for [height, width, channels] in [[13, 29, 3], [1, 1, 4], [3, 70, 1], [140, 5, 2]] {
        let elements: Vec<T> = (0..height * width * channels).map(&make).collect();
        let packed = Frame::packed(&elements, [height, width, channels]);
        let [row, pixel, channel] = packed.strides();
        let end = (width as isize - 1) * pixel;
        // SAFETY: the same pixels from right to left.
        let mirrored = unsafe { packed.reinterpret(end, [height, width, channels], [row, -pixel, channel]) };
        for image in [packed, mirrored] {
            for border in [Border::Reflect, Border::Replicate] {
                let expected = expected(&image, weights, border);
                let mut first = None;
                for isa in Isa::available() {
                    for threads in [1, 2] {
                        let mut out = vec![T::default(); elements.len()];
                        let target = FrameMut::packed(&mut out, [height, width, channels]);
                        blur(isa, image, target, filter, border, &ThreadPool::new(threads));
                        for (value, exact) in out.iter().zip(&expected) {
                            let off = (f64::from(value.to_f32()) - exact).abs();
                            assert!(off <= within, "{value:?} for {exact} with {filter:?} at {}", isa.name());
                        }
                        assert_eq!(first.get_or_insert_with(|| out.clone()), &out);
                    }
                }
            }
        }
    }
}

fn byte(i: usize) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 12) as u8
}

fn word(i: usize) -> u16 {
    (i.wrapping_mul(2_654_435_761) >> 9) as u16
}

#[test]
fn means_are_the_nearest_to_the_exact_ones() {
    for size in [[1, 1], [3, 3], [7, 5], [5, 1], [1, 9], [15, 17], [31, 13], [255, 3], [3, 101]] {
        let weights = size.map(|side| vec![1.0 / side as f64; side]);
        let weights = [&weights[0][..], &weights[1][..]];
        check(byte, &Blur::Mean(size), weights, 0.5 + 1e-9);
        check(word, &Blur::Mean(size), weights, 0.5 + 1e-6);
        // So many sums in `f32`, of values up to 255.
        check(|i| f32::from(byte(i)), &Blur::Mean(size), weights, 255.0 * 3e-7 * (size[0] * size[1]) as f64);
    }
}

#[test]
fn weighted_sums_are_rounded_once() {
    for (down, along) in [
        (Kernel::gaussian(5, 0.0), Kernel::gaussian(5, 0.0)),
        (Kernel::gaussian(9, 1.7), Kernel::gaussian(3, 0.0)),
        (Kernel::gaussian(1, 0.0), Kernel::gaussian(31, 4.0)),
    ] {
        let fixed = [&down, &along].map(|kernel| {
            assert_eq!(kernel.fixed().iter().sum::<u16>(), 256);
            kernel.fixed().iter().map(|&weight| f64::from(weight) / 256.0).collect::<Vec<_>>()
        });
        let exact = [&down, &along]
            .map(|kernel| kernel.floats().iter().map(|&weight| f64::from(weight)).collect::<Vec<_>>());
        let filter = Blur::Weighted([down, along]);
        check(byte, &filter, [&fixed[0], &fixed[1]], 0.5);
        check(word, &filter, [&exact[0], &exact[1]], 0.52);
        check(|i| f32::from(byte(i)), &filter, [&exact[0], &exact[1]], 1e-3);
    }
}

#[test]
fn flat_images_stay_flat() {
    let flat = vec![255u8; 40 * 50];
    let image = Frame::packed(&flat, [40, 50, 1]);
    for filter in [
        Blur::Mean([255, 255]),
        Blur::Mean([11, 11]),
        Blur::Weighted([Kernel::gaussian(7, 0.0), Kernel::gaussian(21, 0.0)]),
    ] {
        for isa in Isa::available() {
            let mut out = vec![0; flat.len()];
            blur(
                isa,
                image,
                FrameMut::packed(&mut out, [40, 50, 1]),
                &filter,
                Border::Reflect,
                &ThreadPool::new(1),
            );
            assert_eq!(out, flat);
        }
    }
}

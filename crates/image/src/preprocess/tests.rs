use super::*;
use crate::resample::{Filter, resize};

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2654435761) >> 13) as u8).collect()
}

fn preprocess(size: [usize; 2], fit: Fit, planar: bool, channels: usize) -> Preprocess {
    Preprocess {
        size,
        fit,
        sampling: Sampling::new(Filter::Bilinear, true),
        scale: (0..channels).map(|c| 0.01 * (c + 1) as f32).collect(),
        offset: (0..channels).map(|c| c as f32 - 1.0).collect(),
        fill: 114.0,
        planar,
        plans: PlanCache::new(),
    }
}

fn run<T: Element + Default>(
    pre: &Preprocess,
    isa: Isa,
    frames: &[SourceFrame<'_>],
    threads: usize,
) -> Vec<T> {
    let slot = pre.channels() * pre.size[0] * pre.size[1];
    let mut out = vec![T::default(); slot * frames.len()];
    let slots: Vec<_> = frames
        .iter()
        .zip(out.chunks_exact_mut(slot))
        // SAFETY: the chunk is a whole slot of its own.
        .map(|(frame, slot)| (*frame, unsafe { Slot::new(slot.as_mut_ptr()) }))
        .collect();
    pre.run(isa, &slots, &ThreadPool::new(threads));
    out
}

#[test]
fn is_the_resized_image_scaled_and_stored() {
    let sizes = [[50, 83], [91, 40], [200, 300]];
    let images: Vec<Vec<u8>> = sizes.iter().map(|[h, w]| noise(h * w * 3)).collect();
    let frames: Vec<Frame<'_, u8>> =
        images.iter().zip(sizes).map(|(pixels, [h, w])| Frame::packed(pixels, [h, w, 3])).collect();
    for fit in [Fit::Stretch, Fit::Letterbox] {
        for planar in [true, false] {
            let pre = preprocess([33, 41], fit, planar, 3);
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                for threads in [1, 2] {
                    let sources: Vec<_> =
                        frames.iter().map(|&frame| SourceFrame::new(frame, Source::Rgb).unwrap()).collect();
                    let out: Vec<f32> = run(&pre, isa, &sources, threads);
                    for (k, &frame) in frames.iter().enumerate() {
                        let mut levels = vec![0; 33 * 41 * 3];
                        let target = FrameMut::packed(&mut levels, [33, 41, 3]);
                        if fit == Fit::Stretch {
                            resize(isa, frame, target, pre.sampling, &ThreadPool::new(1));
                        } else {
                            letterbox(isa, frame, target, pre.sampling, 114, &ThreadPool::new(1));
                        }
                        for (i, &level) in levels.iter().enumerate() {
                            let (c, pixel) = (i % 3, i / 3);
                            let place = if planar { c * 33 * 41 + pixel } else { i };
                            let value = (out[k * 33 * 41 * 3 + place] - pre.offset[c]) / pre.scale[c];
                            // The float output keeps what rounding to levels drops.
                            assert!((value - f32::from(level)).abs() < 0.51, "{value} for {level}");
                        }
                    }
                    assert_eq!(first.get_or_insert_with(|| out.clone()), &out);
                }
            }
        }
    }
}

#[test]
fn orders_of_channels_and_crops_agree() {
    let pixels = noise(60 * 90 * 4);
    let rgba = Frame::packed(&pixels, [60, 90, 4]);
    // SAFETY: the same pixels with their first three channels reversed, and without the last.
    let (bgr, rgb) = unsafe {
        (rgba.reinterpret(2, [60, 90, 3], [360, 4, -1]), rgba.reinterpret(0, [60, 90, 3], [360, 4, 1]))
    };
    let pre = preprocess([30, 30], Fit::Crop, true, 3);
    let isa = vedette_simd::isa();
    let one = |frame, source| run::<f32>(&pre, isa, &[SourceFrame::new(frame, source).unwrap()], 1);
    let expected = one(rgba, Source::Rgba);
    assert_eq!(one(rgb, Source::Rgb), expected);
    assert_eq!(one(bgr, Source::Bgr), expected);
    // The middle 60 x 60 of it, by hand.
    // SAFETY: columns 15 to 75.
    let middle = unsafe { rgba.reinterpret(60, [60, 60, 4], [360, 4, 1]) };
    let inner: Vec<f32> = one(middle, Source::Rgba);
    let apart = inner.iter().zip(&expected).filter(|(a, b)| a != b).count();
    // Only the outermost columns differ: the crop sees past its border.
    assert!(apart <= 2 * 2 * 30 * 3, "{apart}");
}

#[test]
fn yuv_frames_of_one_colour_become_it() {
    // (Y, U, V) of BT.601 red, 81 90 240.
    let (height, width) = (8, 12);
    let (mut nv12, mut i420, mut yuyv) = (vec![81; 8 * 12], vec![81; 8 * 12], Vec::new());
    for _ in 0..height * width / 4 {
        nv12.extend([90, 240]);
    }
    i420.extend(vec![90; height * width / 4]);
    i420.extend(vec![240; height * width / 4]);
    for _ in 0..height * width / 2 {
        yuyv.extend([81, 90, 81, 240]);
    }
    let mut pre = preprocess([5, 7], Fit::Stretch, false, 3);
    (pre.scale, pre.offset) = (vec![1.0; 3], vec![0.0; 3]);
    for isa in Isa::available() {
        for (pixels, shape, source) in [
            (&nv12, [12, 12, 1], Source::Nv12),
            (&i420, [12, 12, 1], Source::I420),
            (&yuyv, [8, 12, 2], Source::Yuyv),
        ] {
            let frame = SourceFrame::new(Frame::packed(pixels, shape), source).unwrap();
            let out: Vec<u8> = run(&pre, isa, &[frame], 1);
            for pixel in out.chunks_exact(3) {
                assert!(pixel[0] >= 253 && pixel[1] <= 2 && pixel[2] <= 2, "{pixel:?} of {source:?}");
            }
        }
    }
}

//! Times resizing against the `fast_image_resize` crate, in interleaved pairs on one thread, level by level:
//! `cargo run --release -p vedette-image --example compare_resize`.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use std::time::Instant;
use vedette_image::resample::{Filter, Sampling, resize};
use vedette_image::{Frame, FrameMut};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

const ROUNDS: usize = 61;

fn time(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64() * 1e3
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (height, width) = (1080, 1920);
    let pixels: Vec<u8> =
        (0..height * width * 3).map(|i: usize| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
    let source = Image::from_vec_u8(width as u32, height as u32, pixels.clone(), PixelType::U8x3)?;
    let pool = ThreadPool::new(1);
    for (filter, theirs, name) in [
        (Filter::Bilinear, FilterType::Bilinear, "bilinear"),
        (Filter::Lanczos3, FilterType::Lanczos3, "lanczos3"),
    ] {
        for size in [224, 640, 1280] {
            for isa in Isa::available() {
                let mut out = vec![0u8; size * size * 3];
                let mut target = Image::new(size as u32, size as u32, PixelType::U8x3);
                let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(theirs));
                let mut resizer = Resizer::new();
                let (mut ours, mut peer) = (Vec::new(), Vec::new());
                for _ in 0..ROUNDS {
                    let image = Frame::packed(&pixels, [height, width, 3]);
                    let output = FrameMut::packed(&mut out, [size, size, 3]);
                    ours.push(time(|| resize(isa, image, output, Sampling::new(filter, true), &pool)));
                    let mut failed = None;
                    peer.push(time(|| failed = resizer.resize(&source, &mut target, &options).err()));
                    if let Some(error) = failed {
                        return Err(error.into());
                    }
                }
                let furthest = out.iter().zip(target.buffer()).map(|(a, b)| a.abs_diff(*b)).max();
                let (ours, peer) = (median(&mut ours), median(&mut peer));
                println!(
                    "{name} 1920x1080 to {size}x{size} {:7}: {ours:.3} ms, fast_image_resize {peer:.3} ms, \
                     {:.2}x, levels apart at most {}",
                    isa.name(),
                    peer / ours,
                    furthest.unwrap_or(0)
                );
            }
        }
    }
    Ok(())
}

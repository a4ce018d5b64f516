//! Times integer convolutions and matrix products of networks the engine is used for, against what the CPU could do:
//! `product_speed [threads] [group]`. With one thread the time is the processor's, so that a busy machine matters less.

use std::sync::Arc;
use std::time::Instant;
use vedette_integer::conv::{ConvArguments, ConvPlan, ConvWeights};
use vedette_integer::{Epilogue, EpilogueSpec, Quantization};
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_tensor::conv::{AutoPad, ConvShape, WindowAttributes};
use vedette_tensor::{View, channels_last_strides, contiguous_strides};

/// Input channels, height, width; output channels, kernel, stride; how often the network has it.
type Layer = [usize; 7];

const RESNET_50: &[Layer] = &[
    [3, 224, 224, 64, 7, 2, 1],
    [64, 56, 56, 64, 1, 1, 1],
    [64, 56, 56, 64, 3, 1, 3],
    [64, 56, 56, 256, 1, 1, 4],
    [256, 56, 56, 64, 1, 1, 2],
    [256, 56, 56, 128, 1, 1, 1],
    [128, 56, 56, 128, 3, 2, 1],
    [256, 56, 56, 512, 1, 2, 1],
    [128, 28, 28, 512, 1, 1, 4],
    [512, 28, 28, 128, 1, 1, 3],
    [128, 28, 28, 128, 3, 1, 3],
    [512, 28, 28, 256, 1, 1, 1],
    [256, 28, 28, 256, 3, 2, 1],
    [512, 28, 28, 1024, 1, 2, 1],
    [256, 14, 14, 1024, 1, 1, 6],
    [1024, 14, 14, 256, 1, 1, 5],
    [256, 14, 14, 256, 3, 1, 5],
    [1024, 14, 14, 512, 1, 1, 1],
    [512, 14, 14, 512, 3, 2, 1],
    [1024, 14, 14, 2048, 1, 2, 1],
    [512, 7, 7, 2048, 1, 1, 3],
    [2048, 7, 7, 512, 1, 1, 2],
    [512, 7, 7, 512, 3, 1, 2],
    [2048, 1, 1, 1000, 1, 1, 1],
];

const MOBILENET_V2: &[Layer] = &[
    [3, 224, 224, 32, 3, 2, 1],
    [32, 112, 112, 16, 1, 1, 1],
    [16, 112, 112, 96, 1, 1, 1],
    [96, 56, 56, 24, 1, 1, 1],
    [24, 56, 56, 144, 1, 1, 2],
    [144, 56, 56, 24, 1, 1, 1],
    [144, 28, 28, 32, 1, 1, 1],
    [32, 28, 28, 192, 1, 1, 3],
    [192, 28, 28, 32, 1, 1, 2],
    [192, 14, 14, 64, 1, 1, 1],
    [64, 14, 14, 384, 1, 1, 4],
    [384, 14, 14, 64, 1, 1, 3],
    [384, 14, 14, 96, 1, 1, 1],
    [96, 14, 14, 576, 1, 1, 3],
    [576, 14, 14, 96, 1, 1, 2],
    [576, 7, 7, 160, 1, 1, 1],
    [160, 7, 7, 960, 1, 1, 3],
    [960, 7, 7, 160, 1, 1, 2],
    [960, 7, 7, 320, 1, 1, 1],
    [320, 7, 7, 1280, 1, 1, 1],
    [1280, 1, 1, 1000, 1, 1, 1],
];

const PP_OCR: &[Layer] = &[
    [3, 1088, 1920, 24, 3, 2, 1],
    [24, 544, 960, 12, 2, 1, 1],
    [48, 272, 480, 96, 1, 1, 1],
    [96, 272, 480, 48, 1, 1, 1],
    [96, 272, 480, 24, 3, 1, 1],
    [192, 136, 240, 96, 1, 1, 1],
    [384, 34, 60, 768, 1, 1, 1],
    [192, 6, 80, 384, 1, 1, 1],
];

/// The matrix products of ViT-Tiny as convolutions of 197 pixels.
const VIT_TINY: &[Layer] = &[
    [192, 1, 197, 576, 1, 1, 12],
    [192, 1, 197, 192, 1, 1, 12],
    [192, 1, 197, 768, 1, 1, 12],
    [768, 1, 197, 192, 1, 1, 12],
];

fn now(threads: usize) -> f64 {
    let clock = if threads == 1 { libc::CLOCK_THREAD_CPUTIME_ID } else { libc::CLOCK_MONOTONIC };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists and the result has room.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Cycles a second, from a chain of additions that each take one.
fn frequency() -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = now(1);
        let mut x = 1u64;
        for i in 0..1_000_000u64 {
            x = std::hint::black_box(x.wrapping_add(i));
        }
        std::hint::black_box(x);
        best = best.min(now(1) - start);
    }
    // The value goes through memory: a store and a load that it is forwarded to, with the addition.
    1e6 / best
}

fn measure(layer: &Layer, threads: usize, pool: &ThreadPool) -> (f64, u64) {
    let &[channels, height, width, out_channels, kernel, stride, _] = layer;
    let isa = vedette_simd::isa();
    let x_shape = [1, channels, height, width];
    let w_shape = [out_channels, channels, kernel, kernel];
    let attributes = WindowAttributes {
        strides: vec![stride as i64; 2],
        dilations: vec![],
        pads: vec![],
        auto_pad: AutoPad::SameUpper,
        ceil_mode: false,
    };
    let shape = ConvShape::new(&x_shape, &w_shape, 1, &attributes).expect("a valid layer");
    let mut x = AlignedBuffer::new(x_shape.iter().product());
    x.as_mut_slice().iter_mut().enumerate().for_each(|(i, x)| *x = (i % 251) as u8);
    let w: Vec<i8> = (0..w_shape.iter().product::<usize>()).map(|i| (i % 241) as i8).collect();
    // Images come planar, everything after them channels-last.
    let strides = if channels == 3 { contiguous_strides(&x_shape) } else { channels_last_strides(&x_shape) };
    let weights = Arc::new(ConvWeights::new(isa, &shape, &View::of(&w_shape, &w), 128));
    let multiplier = vec![1e-5; out_channels];
    let spec = EpilogueSpec {
        multiplier: &multiplier,
        bias: Some(&multiplier),
        clamp: Some((0.0, f32::INFINITY)),
        output: Some(Quantization::new(0.1, 0).expect("a quantization")),
        largest_sum: Some(weights.largest_sum()),
        ..EpilogueSpec::default()
    };
    let epilogue = Arc::new(Epilogue::new(isa, &spec));
    let work = shape.work();
    let mut out = AlignedBuffer::new(shape.output().iter().product());
    let plan = ConvPlan::new(threads, &shape, &strides, 128, weights, epilogue).expect("a plan");
    let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
    let arguments = ConvArguments { x: x.as_ptr(), residual: std::ptr::null(), out: out.as_mut_ptr() };
    let mut best = f64::INFINITY;
    let (begin, mut runs) = (Instant::now(), 0);
    while runs < 8 || begin.elapsed().as_millis() < 60 {
        runs += 1;
        let start = now(threads);
        // SAFETY: the buffers have the sizes the plan was made for.
        unsafe { plan.run(&arguments, scratch.as_mut_slice(), pool) };
        best = best.min(now(threads) - start);
    }
    (best, work)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let threads = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let pool = ThreadPool::new(threads);
    println!(
        "{} with {threads} threads, about {:.2} G dependent steps a second",
        vedette_simd::isa().name(),
        frequency() / 1e9
    );
    let groups =
        [("resnet50", RESNET_50), ("mobilenetv2", MOBILENET_V2), ("ppocr", PP_OCR), ("vit", VIT_TINY)];
    for (name, layers) in groups {
        if arguments.get(2).is_some_and(|wanted| wanted != name) {
            continue;
        }
        let (mut time, mut all) = (0.0, 0);
        for layer in layers {
            let [channels, height, width, out_channels, kernel, stride, count] = *layer;
            let (seconds, work) = measure(layer, threads, &pool);
            let label = format!("{channels}x{height}x{width} -> {out_channels}, {kernel}x{kernel}/{stride}");
            println!(
                "{label:34} {:9.1} us x {count:2} {:7.1} GMAC/s",
                seconds * 1e6,
                work as f64 / seconds / 1e9
            );
            time += seconds * count as f64;
            all += work * count as u64;
        }
        println!("{name}: {:.3} ms, {:.1} GMAC/s", time * 1e3, all as f64 / time / 1e9);
    }
}

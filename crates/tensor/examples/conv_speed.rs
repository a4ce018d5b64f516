//! Times convolutions of given sizes: `conv_speed [threads] [C,H,W,O,kernel,stride,groups]...` prints multiply-accumulates per second, of
//! processor time with one thread, so that a busy machine matters less.

use std::sync::Arc;
use std::time::Instant;
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_tensor::conv::{
    AutoPad, ConvArguments, ConvPlan, ConvShape, ConvWeights, MAX_INPUTS, WindowAttributes,
};
use vedette_tensor::matmul::Epilogue;
use vedette_tensor::{Activation, View, channels_last_strides, contiguous_strides};

/// Input channels, height, width; output channels, kernel, stride, groups: layers of networks the engine is used for.
const LAYERS: [[usize; 7]; 16] = [
    [3, 1088, 1920, 24, 3, 2, 1],
    [24, 544, 960, 12, 2, 1, 1],
    [48, 272, 480, 96, 1, 1, 1],
    [96, 272, 480, 48, 1, 1, 1],
    [192, 136, 240, 96, 1, 1, 1],
    [384, 34, 60, 768, 1, 1, 1],
    [96, 272, 480, 24, 3, 1, 1],
    [48, 272, 480, 48, 3, 1, 48],
    [96, 272, 480, 96, 7, 1, 96],
    [192, 6, 80, 384, 1, 1, 1],
    [3, 224, 224, 64, 7, 2, 1],
    [64, 56, 56, 64, 3, 1, 1],
    [512, 7, 7, 512, 3, 1, 1],
    [512, 7, 7, 2048, 1, 1, 1],
    [96, 112, 112, 96, 3, 2, 96],
    [960, 7, 7, 160, 1, 1, 1],
];

/// Seconds on the clock, or of this thread where it is alone.
fn now(threads: usize) -> f64 {
    let clock = if threads == 1 { libc::CLOCK_THREAD_CPUTIME_ID } else { libc::CLOCK_MONOTONIC };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists and the result has room.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let threads = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut layers: Vec<[usize; 7]> = Vec::new();
    for text in arguments.iter().skip(2) {
        let numbers: Vec<usize> = text.split(',').map(|number| number.parse().expect("a number")).collect();
        layers.push(numbers.try_into().expect("seven numbers"));
    }
    if layers.is_empty() {
        layers = LAYERS.to_vec();
    }
    let pool = ThreadPool::new(threads);
    let isa = vedette_simd::isa();
    println!("{} with {threads} threads", isa.name());
    for [channels, height, width, out_channels, kernel, stride, groups] in layers {
        let label = format!(
            "{channels}x{height}x{width} -> {out_channels}, {kernel}x{kernel}/{stride}, groups {groups}"
        );
        let x_shape = [1, channels, height, width];
        let w_shape = [out_channels, channels / groups, kernel, kernel];
        let attributes = WindowAttributes {
            strides: vec![stride as i64; 2],
            dilations: vec![],
            pads: vec![],
            auto_pad: AutoPad::SameUpper,
            ceil_mode: false,
        };
        let shape = ConvShape::new(&x_shape, &w_shape, groups as i64, &attributes).expect("a valid layer");
        let ramp = |len: usize| (0..len).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect::<Vec<_>>();
        let (x, w, bias) =
            (ramp(x_shape.iter().product()), ramp(w_shape.iter().product()), ramp(out_channels));
        // Images come planar, everything after them channels-last.
        let x_strides =
            if channels == 3 { contiguous_strides(&x_shape) } else { channels_last_strides(&x_shape) };
        let w = View::of(&w_shape, &w);
        let weights = Some(Arc::new(ConvWeights::new(isa, &shape, &w)));
        let epilogue = Epilogue { activation: Some(Activation::Relu) };
        let work = shape.work();
        let mut out = vec![0.0f32; shape.output().iter().product()];
        let plan = ConvPlan::new(isa, threads, shape, &x_strides, w.strides(), weights, epilogue);
        let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
        let arguments = ConvArguments {
            x: x.as_ptr(),
            further: [std::ptr::null(); MAX_INPUTS - 1],
            w: w.as_ptr_of::<f32>(),
            bias: bias.as_ptr(),
            residual: std::ptr::null(),
            out: out.as_mut_ptr(),
        };
        let mut best = f64::INFINITY;
        let (begin, mut runs) = (Instant::now(), 0);
        while runs < 8 || begin.elapsed().as_millis() < 150 {
            runs += 1;
            let start = now(threads);
            // SAFETY: the slices have the sizes the plan was made for.
            unsafe { plan.run(&arguments, scratch.as_mut_slice(), &pool) };
            best = best.min(now(threads) - start);
        }
        println!("{label:44} {:8.3} ms {:6.1} GMAC/s", best * 1e3, work as f64 / best / 1e9);
    }
}

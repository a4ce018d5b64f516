//! What each kernel makes of the machine: `cargo run --release -p vedette-integer --example kernel_speed [FILTER]`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vedette_integer::blocks::{BlockMatMulPlan, BlockWeights};
use vedette_integer::conv::ConvArguments;
use vedette_integer::depthwise::{DepthwisePlan, DepthwiseWeights};
use vedette_integer::elementwise::{Bytes, add, dequantize, lookup, multiply, quantize};
use vedette_integer::pool::{
    GlobalAveragePlan, Mean, MeanOutput, PoolPlan, SqueezeExciteArguments, SqueezeExcitePlan, WindowReduction,
};
use vedette_integer::resize::{ResizePlan, identity};
use vedette_integer::{Epilogue, EpilogueSpec, Quantization, Requantize};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::conv::{AutoPad, ConvShape, WindowAttributes};
use vedette_tensor::elementwise::Kernel;
use vedette_tensor::pool::PoolShape;
use vedette_tensor::resize::{Coordinates, Interpolation, Sampling};
use vedette_tensor::{Activation, View};

/// The best of many runs.
fn time(mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    let mut runs = 0;
    while runs < 5 || start.elapsed() < Duration::from_millis(120) {
        let begin = Instant::now();
        f();
        best = best.min(begin.elapsed());
        runs += 1;
    }
    best
}

struct Report {
    filter: String,
    isa: Isa,
    threads: usize,
}

impl Report {
    fn rate(&self, name: &str, amount: usize, unit: &str, f: impl FnMut()) {
        if !name.contains(&self.filter) {
            return;
        }
        let best = time(f);
        let rate = amount as f64 / best.as_nanos() as f64;
        println!(
            "{:7} {} {name:44} {:9.2} us {rate:8.2} {unit}",
            self.isa.name(),
            self.threads,
            best.as_nanos() as f64 / 1e3
        );
    }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    for isa in Isa::available() {
        for threads in [1, 2] {
            let report = Report { filter: filter.clone(), isa, threads };
            elementwise(&report);
            pools(&report);
            depthwise(&report);
            blocks(&report);
        }
    }
    copy(&filter);
}

/// The floor of what moves bytes.
fn copy(filter: &str) {
    let report = Report { filter: filter.to_owned(), isa: Isa::SCALAR, threads: 1 };
    for n in [64 << 10, 1 << 20, 16 << 20] {
        let (x, mut to) = (bytes(n), vec![0u8; n]);
        report.rate(&format!("copy {} KiB", n >> 10), 2 * n, "GB/s", || to.copy_from_slice(black_box(&x)));
    }
}

fn elementwise(report: &Report) {
    let q = |scale, zero| Quantization::new(scale, zero).unwrap_or_else(|error| panic!("{error}"));
    let to = Requantize::new(q(0.02, 100), None).unwrap_or_else(|error| panic!("{error}"));
    let isa = report.isa;
    if report.threads > 1 {
        return;
    }
    for n in [64 << 10, 4 << 20] {
        let x = bytes(n);
        let y = bytes(n);
        let floats: Vec<f32> = x.iter().map(|&x| f32::from(x) * 0.07 - 5.0).collect();
        let (mut to8, mut to32) = (vec![0u8; n], vec![0f32; n]);
        let pointer = |x: &[u8]| x.as_ptr().cast_mut();
        let size = format!("{} Ki", n >> 10);
        let kernel = quantize(isa, Bytes::U8, 0.037, 100);
        run(
            report,
            &format!("quantize {size}"),
            5 * n,
            &kernel,
            [to8.as_mut_ptr(), floats.as_ptr().cast_mut().cast()],
            n,
        );
        let kernel = dequantize(isa, Bytes::U8, 0.037, 100);
        run(
            report,
            &format!("dequantize {size}"),
            5 * n,
            &kernel,
            [to32.as_mut_ptr().cast(), pointer(&x)],
            n,
        );
        let kernel = lookup(isa, std::array::from_fn(|i| 255 - i as u8));
        run(report, &format!("lookup {size}"), 2 * n, &kernel, [to8.as_mut_ptr(), pointer(&x)], n);
        let both = [to8.as_mut_ptr(), pointer(&x), pointer(&y)];
        let kernel = add(isa, q(0.01, 90), q(0.03, 50), to);
        run(report, &format!("add {size}"), 3 * n, &kernel, both, n);
        let kernel = multiply(isa, q(0.01, 90), q(0.03, 50), to);
        run(report, &format!("multiply {size}"), 3 * n, &kernel, both, n);
    }
}

/// Times a kernel on `n` elements at each pointer.
fn run<const N: usize>(
    report: &Report,
    name: &str,
    moved: usize,
    kernel: &Kernel<N>,
    pointers: [*mut u8; N],
    n: usize,
) {
    // SAFETY: the callers' arrays have n elements of the kernel's types.
    report.rate(name, moved, "GB/s", || unsafe { kernel.run_raw(pointers, n) });
}

fn pools(report: &Report) {
    let (isa, threads, pool) = (report.isa, report.threads, ThreadPool::new(report.threads));
    let q = |scale, zero| Quantization::new(scale, zero).unwrap_or_else(|error| panic!("{error}"));
    let to = Requantize::new(q(0.02, 100), None).unwrap_or_else(|error| panic!("{error}"));
    for (c, h, w) in [(64, 112, 112), (24, 56, 56), (960, 7, 7)] {
        let n = c * h * w;
        let x = bytes(n);
        let mut out = vec![0u8; 4 * n];
        let strides = [n as isize, n as isize, (w * c) as isize];
        let shape = [1, c, h, w];
        let name = |what: &str| format!("{what} {c}x{h}x{w}");
        let attributes = |kernel: i64, stride: i64| WindowAttributes {
            strides: vec![stride; 2],
            dilations: Vec::new(),
            pads: vec![kernel / 2; 4],
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
        };
        let mean = Mean { x: q(0.02, 100), output: MeanOutput::Bytes(to) };
        let cases = [
            ("max 3x3 s2", 3, 2, WindowReduction::MaxU8),
            ("max 5x5 s1", 5, 1, WindowReduction::MaxU8),
            ("mean 3x3 s1", 3, 1, WindowReduction::Average { mean, include_pad: false }),
            ("mean 3x3 s2", 3, 2, WindowReduction::Average { mean, include_pad: false }),
        ];
        for (what, kernel, stride, reduction) in cases {
            let pooled = PoolShape::new(&shape, &[kernel; 2], &attributes(kernel as i64, stride));
            let pooled = pooled.unwrap_or_else(|error| panic!("{error}"));
            let outputs: usize = pooled.output().iter().product();
            let plan = PoolPlan::new(isa, threads, pooled, reduction, strides);
            let plan = plan.unwrap_or_else(|error| panic!("{error}"));
            let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
            report.rate(&name(what), n + outputs, "GB/s", || {
                // SAFETY: as planned.
                unsafe {
                    let scratch =
                        std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), plan.scratch_bytes());
                    plan.run(x.as_ptr(), out.as_mut_ptr(), scratch, &pool);
                }
            });
        }
        let plan = GlobalAveragePlan::new(isa, threads, &shape, strides, mean);
        let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
        report.rate(&name("global mean"), n, "GB/s", || {
            // SAFETY: as planned.
            unsafe {
                let bytes = plan.scratch_bytes();
                let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), bytes);
                plan.run(x.as_ptr(), out.as_mut_ptr(), scratch, &pool);
            }
        });
        let hidden = c / 4;
        let (w1, b) = (vec![0.01f32; c * hidden], vec![0.1f32; c]);
        let gate = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
        let plan = SqueezeExcitePlan::new(
            isa,
            threads,
            (&shape, strides),
            (q(0.02, 100), to),
            hidden,
            (Some(Activation::Relu), Some(gate)),
            false,
        );
        let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
        let arguments = SqueezeExciteArguments {
            x: x.as_ptr(),
            w1: w1.as_ptr(),
            b1: b.as_ptr(),
            w2: w1.as_ptr(),
            b2: b.as_ptr(),
            out: out.as_mut_ptr(),
        };
        report.rate(&name("squeeze-excite"), 3 * n, "GB/s", || {
            // SAFETY: as planned.
            unsafe {
                let bytes = plan.scratch_bytes();
                let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), bytes);
                plan.run(&arguments, scratch, &pool);
            }
        });
        let sampling = Sampling {
            coordinates: Coordinates::HalfPixel,
            interpolation: Interpolation::Linear,
            antialias: false,
            exclude_outside: false,
        };
        let map = |size: usize| sampling.map(size, 2 * size, 2.0, (0.0, 1.0));
        let plan = ResizePlan::new(isa, threads, [1, c, 1, h, w], [identity(1), map(h), map(w)], strides);
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
        report.rate(&name("resize x2"), 5 * n, "GB/s", || {
            // SAFETY: as planned.
            unsafe {
                let bytes = plan.scratch_bytes();
                let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), bytes);
                plan.run(x.as_ptr(), out.as_mut_ptr(), scratch, &pool);
            }
        });
    }
}

fn blocks(report: &Report) {
    let (isa, threads, pool) = (report.isa, report.threads, ThreadPool::new(report.threads));
    if isa == Isa::SCALAR {
        return;
    }
    let n = 4096;
    for (bits, group) in [(4, 32), (4, 128), (8, 128)] {
        let b = bytes(n * n * bits / 8);
        let scales = vec![0.01f32; n * n / group];
        let b = View::of(&[n, n / group, group * bits / 8], &b);
        let scales = View::of(&[n, n / group], &scales);
        let weights = BlockWeights::new(bits, group, &b, &scales, None).unwrap_or_else(|e| panic!("{e}"));
        let weights = Arc::new(weights);
        for rows in [1, 4, 64] {
            let a: Vec<f32> = bytes(rows * n).iter().map(|&x| f32::from(x)).collect();
            let mut out = vec![0.0; rows * n];
            let plan = BlockMatMulPlan::new(isa, threads, rows, weights.clone());
            let mut scratch = vec![0u64; plan.scratch_bytes().div_ceil(8)];
            let mut run = || {
                // SAFETY: as planned.
                unsafe {
                    let bytes = plan.scratch_bytes();
                    let scratch = std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), bytes);
                    plan.run(a.as_ptr(), out.as_mut_ptr(), scratch, &pool);
                }
            };
            let name = format!("blocks {bits} bits of {group}, {rows} rows");
            report.rate(&name, weights.bytes(), "GB/s", &mut run);
            report.rate(&name, rows * n * n, "GMAC/s", &mut run);
        }
    }
}

fn depthwise(report: &Report) {
    let (isa, threads, pool) = (report.isa, report.threads, ThreadPool::new(report.threads));
    let cases = [
        (128, 56, 3, 1),
        (32, 112, 3, 1),
        (96, 112, 3, 2),
        (144, 56, 3, 1),
        (384, 14, 3, 1),
        (960, 7, 3, 1),
        (128, 28, 5, 1),
        (256, 28, 5, 2),
        (16, 240, 3, 1),
    ];
    for (channels, size, kernel, stride) in cases {
        let attributes = WindowAttributes {
            strides: vec![stride as i64; 2],
            dilations: Vec::new(),
            pads: vec![kernel as i64 / 2; 4],
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
        };
        let x_shape = [1, channels, size, size];
        let shape = ConvShape::new(&x_shape, &[channels, 1, kernel, kernel], channels as i64, &attributes);
        let shape = shape.unwrap_or_else(|error| panic!("{error}"));
        let x = bytes(channels * size * size);
        let w: Vec<i8> = bytes(channels * kernel * kernel).into_iter().map(|w| w as i8).collect();
        let weights = DepthwiseWeights::new(isa, &shape, &View::of(&[w.len()], &w), 100);
        let multiplier = vec![1e-4; channels];
        let spec = EpilogueSpec {
            multiplier: &multiplier,
            bias: Some(&multiplier),
            clamp: Some((0.0, 6.0)),
            output: Quantization::new(0.02, 0).ok(),
            largest_sum: Some(weights.largest_sum()),
            ..EpilogueSpec::default()
        };
        let epilogue = Arc::new(Epilogue::new(isa, &spec));
        let strides = vedette_tensor::channels_last_strides(&x_shape);
        let plan = DepthwisePlan::new(threads, &shape, &strides, 100, Arc::new(weights), epilogue);
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        let outputs: usize = shape.output().iter().product();
        let mut out = vec![0u8; outputs];
        let mut scratch = vedette_memory::AlignedBuffer::new(plan.scratch_bytes());
        let name = format!("depthwise {channels}x{size}x{size} {kernel}x{kernel} s{stride}");
        report.rate(&name, outputs * kernel * kernel, "GMAC/s", || {
            let arguments =
                ConvArguments { x: x.as_ptr(), residual: std::ptr::null(), out: out.as_mut_ptr() };
            // SAFETY: as planned.
            unsafe { plan.run(&arguments, scratch.as_mut_slice(), &pool) };
        });
    }
}

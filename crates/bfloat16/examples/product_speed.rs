//! Times matrix products and attention of networks the engine is used for, against what the CPU could do:
//! `product_speed [threads]`.

use std::ptr::null;
use std::sync::Arc;
use std::time::Instant;
use vedette_bfloat16::attention::{AttentionArguments, AttentionOperands, AttentionPlan};
use vedette_bfloat16::matmul::{MatMulArguments, MatMulPlan};
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;
use vedette_tensor::Activation;
use vedette_tensor::matmul::{Epilogue, MatMulOperands};

/// Rows, depth, columns.
const PRODUCTS: &[[usize; 3]] = &[
    [196, 192, 192],
    [196, 192, 768],
    [196, 768, 192],
    [1, 192, 1000],
    [200, 120, 18710],
    [1200, 384, 768],
    [2400, 192, 384],
    [512, 1024, 1024],
    [130_560, 48, 96],
    [130_560, 96, 48],
];

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let (isa, pool) = (vedette_simd::isa(), ThreadPool::new(threads));
    println!("{} with {threads} threads", isa.name());
    for &[m, k, n] in PRODUCTS {
        let (a, b, bias, mut out) = (filled(m * k), filled(k * n), filled(n), filled(m * n));
        let (a_shape, b_shape) = ([m, k], [k, n]);
        let (a_strides, b_strides) = ([k as isize, 1], [n as isize, 1]);
        let operands = MatMulOperands {
            a_shape: &a_shape,
            a_strides: &a_strides,
            trans_a: false,
            b_shape: &b_shape,
            b_strides: &b_strides,
            trans_b: false,
        };
        let mut line = format!("{m:>7} x {k:>4} x {n:>5}");
        for activation in [None, Some(Activation::Gelu), Some(Activation::Silu { alpha: 1.0 })] {
            // SAFETY: the strides are those of the vector.
            let packed = unsafe { MatMulPlan::pack(isa, &operands, 1.0, b.as_ptr().cast()) };
            let (Ok(packed), epilogue) = (packed.map(Arc::new), Epilogue { activation }) else { return };
            let plan = MatMulPlan::new(isa, threads, &operands, &b_strides, 1.0, Some(packed), epilogue);
            let Ok(plan) = plan else { return };
            let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
            let arguments = MatMulArguments {
                a: a.as_ptr(),
                b: null(),
                bias: bias.as_ptr().cast(),
                residual: null(),
                out: out.as_mut_ptr(),
            };
            // SAFETY: vectors of the sizes planned for.
            let seconds = least(|| unsafe { plan.run(&arguments, scratch.as_mut_slice(), &pool) });
            line += &format!("  {:9.1} us {:6.0} GMAC/s", 1e6 * seconds, plan.work() as f64 / seconds / 1e9);
        }
        println!("{line}");
    }
    let (rows, heads, depth) = (196usize, 3usize, 64usize);
    let (values, mut out) = (filled(rows * heads * depth), filled(rows * heads * depth));
    let row = (heads * depth) as isize;
    let (shape, strides) = ([heads, rows, depth], [depth as isize, row, 1]);
    let operands = AttentionOperands {
        q: (&shape, &strides),
        k: (&[heads, depth, rows], &[depth as isize, 1, row]),
        v: (&shape, &strides),
    };
    let Ok(plan) = AttentionPlan::new(isa, threads, &operands, &strides, 0.125) else { return };
    let mut scratch = AlignedBuffer::new(plan.scratch_bytes());
    let values = values.as_ptr();
    let arguments = AttentionArguments { q: values, k: values, v: values, out: out.as_mut_ptr() };
    // SAFETY: vectors of the sizes planned for.
    let seconds = least(|| unsafe { plan.run(&arguments, scratch.as_mut_slice(), &pool) });
    let speed = plan.work() as f64 / seconds / 1e9;
    println!("attention of {heads} heads, {rows} x {depth}: {:.1} us, {speed:.0} GMAC/s", 1e6 * seconds);
}

/// Memory as the engine has it, on cache lines of its own.
fn filled(values: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(values * size_of::<f32>());
    for value in buffer.as_mut_slice().chunks_exact_mut(size_of::<f32>()) {
        value.copy_from_slice(&0.5f32.to_ne_bytes());
    }
    buffer
}

/// The least seconds of many runs, for a third of a second.
fn least(mut run: impl FnMut()) -> f64 {
    let (begin, mut least) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        run();
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}

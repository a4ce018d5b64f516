use super::{ConvPlan, ConvWeights, TransposePlan, TransposeWeights};
use crate::Values::{self, Bfloat16, Float32};
use crate::test_data::{bytes, numbers, rounded, scratch};
use std::ptr::null;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, bf16_bits, bf16_value};
use vedette_tensor::conv::{
    AutoPad, ConvArguments, ConvShape, MAX_INPUTS, TransposeAttributes, TransposeShape, WindowAttributes,
};
use vedette_tensor::matmul::Epilogue;
use vedette_tensor::{Activation, Strides, View, channels_last_strides, contiguous_strides};

/// A bound on the error of `k` summed terms of that magnitude: the crate's, with room for bias and residual.
fn bound(k: usize, magnitude: f64) -> f64 {
    (k + 2) as f64 * 2f64.powi(-23) * magnitude + 1e-6
}

#[derive(Clone)]
struct Case {
    x: [usize; 4],
    out: usize,
    kernel: [usize; 2],
    strides: [i64; 2],
    dilations: [i64; 2],
    pads: [i64; 4],
    channels_last: bool,
    inputs: usize,
    residual: bool,
    threads: usize,
}

const PLAIN: Case = Case {
    x: [1, 8, 9, 11],
    out: 20,
    kernel: [3, 3],
    strides: [1, 1],
    dilations: [1, 1],
    pads: [1, 1, 1, 1],
    channels_last: true,
    inputs: 1,
    residual: false,
    threads: 1,
};

/// Values of inputs and output that are as they are.
const FLOAT32: (Values, Values) = (Float32, Float32);

/// A convolution and what it is computed from.
struct Operands {
    shape: ConvShape,
    strides: Strides,
    /// The tensors that the channels lie in.
    parts: Vec<Vec<f32>>,
    w: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

impl Case {
    fn operands(&self) -> Operands {
        let w_shape = self.w_shape();
        let attributes = WindowAttributes {
            strides: self.strides.into(),
            dilations: self.dilations.into(),
            pads: self.pads.into(),
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
        };
        let shape = ConvShape::new(&self.x, &w_shape, 1, &attributes).unwrap();
        let [n, channels, height, width] = self.x;
        let part = [n, channels / self.inputs, height, width];
        Operands {
            strides: match self.channels_last {
                true => channels_last_strides(&part),
                false => contiguous_strides(&part),
            },
            parts: (0..self.inputs).map(|i| numbers(i as u32 + 1, part.iter().product())).collect(),
            w: numbers(9, w_shape.iter().product()),
            bias: numbers(10, self.out),
            residual: numbers(11, shape.output().iter().product()),
            shape,
        }
    }

    fn w_shape(&self) -> [usize; 4] {
        [self.out, self.x[1], self.kernel[0], self.kernel[1]]
    }

    /// The outputs, the values of bfloat16 ones.
    fn run(&self, isa: Isa, (x, out): (Values, Values), operands: &Operands) -> Vec<f32> {
        let Operands { shape, strides, parts, w, bias, residual } = operands;
        let weights = Arc::new(ConvWeights::new(isa, shape, &View::of(&self.w_shape(), w)));
        let epilogue = Epilogue { activation: self.residual.then_some(Activation::Relu) };
        let inputs = (&strides[..], self.inputs);
        let plan = ConvPlan::new(self.threads, shape, inputs, weights, epilogue).unwrap();
        let plan = plan.with_values(x, out);
        let is_rounded = out == Bfloat16;
        let narrow: Vec<Vec<u16>> =
            parts.iter().map(|part| part.iter().map(|&x| bf16_bits(x)).collect()).collect();
        let pointer = |i: usize| match x {
            Float32 => parts[i].as_ptr(),
            Bfloat16 => narrow[i].as_ptr().cast(),
        };
        let mut further = [null(); MAX_INPUTS - 1];
        (1..parts.len()).for_each(|i| further[i - 1] = pointer(i));
        // Residuals of float32 outputs are the outputs' own memory.
        let own = self.residual && !is_rounded;
        let mut out = if own { residual.clone() } else { vec![7.0; residual.len()] };
        let mut scratch = scratch(plan.scratch_bytes());
        let arguments = ConvArguments {
            x: pointer(0),
            further,
            w: null(),
            bias: bias.as_ptr(),
            residual: match (self.residual, own) {
                (false, _) => null(),
                (true, true) => out.as_ptr(),
                (true, false) => residual.as_ptr(),
            },
            out: out.as_mut_ptr(),
        };
        // SAFETY: vectors of the sizes planned for.
        unsafe { plan.run(&arguments, bytes(&mut scratch), &ThreadPool::new(self.threads)) };
        if !is_rounded {
            return out;
        }
        // SAFETY: the bytes of as many values, and of others behind them.
        let words = unsafe { std::slice::from_raw_parts(out.as_ptr().cast::<u16>(), out.len()) };
        words.iter().map(|&bits| bf16_value(bits)).collect()
    }

    /// What is bfloat16 in memory has the values that float32 would be rounded to.
    fn check_rounded(&self, isa: Isa) {
        let operands = self.operands();
        let expected = self.run(isa, FLOAT32, &operands);
        for (x, out) in [(Bfloat16, Float32), (Float32, Bfloat16), (Bfloat16, Bfloat16)] {
            let found = self.run(isa, (x, out), &operands);
            for (found, &expected) in found.iter().zip(&expected) {
                let expected = match out {
                    Float32 => expected,
                    Bfloat16 => bf16_value(bf16_bits(expected)),
                };
                assert_eq!(*found, expected, "{} {:?}", isa.name(), self.x);
            }
        }
    }

    fn check(&self, isa: Isa) {
        let operands = self.operands();
        let out = self.run(isa, FLOAT32, &operands);
        let Operands { shape, strides, parts, w, bias, residual } = operands;
        let y = shape.output();
        let y_strides = channels_last_strides(&y);
        let [n, channels, _, _] = self.x;
        let each = channels / self.inputs;

        let value = |i: usize, c: usize, row: usize, column: usize| {
            let at = [i, c % each, row, column]
                .iter()
                .zip(&strides[..])
                .map(|(&i, &by)| i * by as usize)
                .sum::<usize>();
            rounded(parts[c / each][at])
        };
        let at = |i: usize, o: usize, row: usize, column: usize| {
            [i, o, row, column].iter().zip(&y_strides).map(|(&i, &by)| i * by as usize).sum::<usize>()
        };
        let [_, rows, columns] = shape.axes;
        for i in 0..n {
            for o in 0..self.out {
                for row in 0..rows.output {
                    for column in 0..columns.output {
                        let (mut exact, mut magnitude) = (f64::from(bias[o]), f64::from(bias[o]).abs());
                        for (ky, kx) in
                            (0..rows.kernel).flat_map(|ky| (0..columns.kernel).map(move |kx| (ky, kx)))
                        {
                            let (Some(from_y), Some(from_x)) = (rows.at(row, ky), columns.at(column, kx))
                            else {
                                continue;
                            };
                            for c in 0..channels {
                                let weight = w[((o * channels + c) * rows.kernel + ky) * columns.kernel + kx];
                                let term = value(i, c, from_y, from_x) * rounded(weight);
                                exact += term;
                                magnitude += term.abs();
                            }
                        }
                        let index = at(i, o, row, column);
                        if self.residual {
                            exact = (exact + f64::from(residual[index])).max(0.0);
                            magnitude += f64::from(residual[index]).abs();
                        }
                        let error = (f64::from(out[index]) - exact).abs();
                        let depth = channels * shape.taps();
                        assert!(
                            error <= bound(depth, magnitude),
                            "{} {:?} to {} at {:?}: {}, expected {exact}",
                            isa.name(),
                            self.x,
                            self.out,
                            [i, o, row, column],
                            out[index]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn windows_are_within_the_bound() {
    for isa in Isa::available() {
        for channels_last in [true, false] {
            for (channels, out) in [(1, 1), (3, 16), (3, 40), (5, 17), (16, 33), (24, 48)] {
                let case = Case { x: [2, channels, 9, 21], out, channels_last, ..PLAIN };
                case.check(isa);
                Case { strides: [2, 2], pads: [0, 1, 2, 3], threads: 2, ..case.clone() }.check(isa);
                Case { dilations: [2, 3], pads: [2, 3, 2, 3], residual: true, ..case.clone() }.check(isa);
                Case { kernel: [2, 5], pads: [1, 0, 0, 4], strides: [1, 3], threads: 3, ..case }.check(isa);
            }
        }
        // Taller than the input, and nothing but padding under some windows.
        Case { x: [1, 4, 2, 2], kernel: [5, 5], pads: [4, 4, 4, 4], ..PLAIN }.check(isa);
        Case { x: [0, 4, 5, 5], ..PLAIN }.check(isa);
    }
}

#[test]
fn pixels_are_within_the_bound() {
    for isa in Isa::available() {
        for channels_last in [true, false] {
            for (channels, out) in [(1, 20), (7, 16), (24, 33), (70, 100)] {
                let case = Case {
                    x: [2, channels, 9, 13],
                    out,
                    kernel: [1, 1],
                    pads: [0; 4],
                    channels_last,
                    residual: true,
                    threads: 2,
                    ..PLAIN
                };
                case.check(isa);
                Case { strides: [2, 3], ..case.clone() }.check(isa);
                Case { pads: [1, 1, 0, 2], ..case }.check(isa);
            }
        }
    }
}

#[test]
fn channels_of_several_tensors_are_within_the_bound() {
    for isa in Isa::available() {
        for (inputs, channels) in [(2, 6), (3, 24), (4, 64), (2, 14)] {
            for kernel in [[1, 1], [3, 3]] {
                let pad = (kernel[0] / 2) as i64;
                let x = [2, channels, 7, 18];
                Case { x, kernel, inputs, pads: [pad; 4], threads: 2, ..PLAIN }.check(isa);
            }
        }
    }
}

#[test]
fn rounding_in_memory_changes_no_value() {
    for isa in Isa::available() {
        for channels_last in [true, false] {
            for (inputs, channels) in [(1, 3), (1, 7), (1, 32), (2, 64), (3, 24)] {
                for kernel in [[1, 1], [2, 2], [3, 3]] {
                    let x = [2, channels, 7, 18];
                    let case = Case { x, kernel, inputs, channels_last, ..PLAIN };
                    case.check_rounded(isa);
                    Case { residual: true, threads: 2, strides: [2, 2], pads: [0; 4], ..case }
                        .check_rounded(isa);
                }
            }
        }
    }
}

#[test]
fn strips_that_are_cut_in_lines_and_pieces_are_within_the_bound() {
    // Strips of 384 KB hold fewer lines, or parts of lines, of these.
    for (x, out) in [([1, 64, 24, 200], 8), ([1, 520, 3, 150], 8)] {
        Case { x, out, threads: 2, ..PLAIN }.check(vedette_simd::isa());
    }
    // Few lines and many columns: panels are divided.
    Case { x: [1, 40, 2, 20], out: 300, threads: 4, ..PLAIN }.check(vedette_simd::isa());
}

#[test]
fn transposed_windows_are_within_the_bound() {
    for isa in Isa::available() {
        for (kernel, stride, pad, channels, out) in [
            ([2, 2], 2, 0, 24, 9),
            ([3, 3], 2, 1, 10, 17),
            ([4, 4], 2, 1, 8, 8),
            ([2, 2], 3, 0, 8, 5),
            ([3, 3], 1, 1, 12, 16),
        ] {
            let x_shape = [2, channels, 5, 9];
            let w_shape = [channels, out, kernel[0], kernel[1]];
            let attributes = TransposeAttributes {
                strides: vec![stride, stride],
                dilations: vec![],
                pads: vec![pad; 4],
                output_padding: vec![],
                output_shape: vec![],
                auto_pad: AutoPad::NotSet,
            };
            let shape = TransposeShape::new(&x_shape, &w_shape, 1, &attributes).unwrap();
            let x = numbers(1, x_shape.iter().product());
            let w = numbers(2, w_shape.iter().product());
            let bias = numbers(3, out);
            let weights = Arc::new(TransposeWeights::new(isa, &shape, &View::of(&w_shape, &w)));
            let x_strides = channels_last_strides(&x_shape);
            let plan = TransposePlan::new(2, &shape, &x_strides, weights, Epilogue::default()).unwrap();
            let y = shape.output();
            let mut found = vec![7.0f32; y.iter().product()];
            let mut scratch = scratch(plan.scratch_bytes());
            let arguments = ConvArguments {
                x: x.as_ptr(),
                further: [null(); MAX_INPUTS - 1],
                w: null(),
                bias: bias.as_ptr(),
                residual: null(),
                out: found.as_mut_ptr(),
            };
            // SAFETY: vectors of the sizes planned for.
            unsafe { plan.run(&arguments, bytes(&mut scratch), &ThreadPool::new(2)) };

            // Every input adds to the outputs under its kernel.
            let y_strides = channels_last_strides(&y);
            let place = |index: [usize; 4]| {
                index.iter().zip(&y_strides).map(|(&i, &by)| i * by as usize).sum::<usize>()
            };
            let mut exact = vec![(0.0f64, 0.0f64); found.len()];
            for (i, &value) in x.iter().enumerate() {
                let (c, pixel) = (i % channels, i / channels);
                let (n, row, column) = (pixel / 45, pixel / 9 % 5, pixel % 9);
                for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                    let at = |i: usize, k: usize, len: usize| {
                        usize::try_from((i * stride as usize + k) as i64 - pad).ok().filter(|&to| to < len)
                    };
                    let (Some(to_y), Some(to_x)) = (at(row, ky, y[2]), at(column, kx, y[3])) else {
                        continue;
                    };
                    for o in 0..out {
                        let weight = w[((c * out + o) * kernel[0] + ky) * kernel[1] + kx];
                        let term = rounded(value) * rounded(weight);
                        let sum = &mut exact[place([n, o, to_y, to_x])];
                        *sum = (sum.0 + term, sum.1 + term.abs());
                    }
                }
            }
            for (index, (y, (sum, magnitude))) in found.iter().zip(exact).enumerate() {
                let b = f64::from(bias[index % out]);
                let error = (f64::from(*y) - sum - b).abs();
                let depth = channels * kernel[0] * kernel[1];
                assert!(error <= bound(depth, magnitude + b.abs()), "{} {kernel:?} {stride}", isa.name());
            }
        }
    }
}

use super::*;
use crate::test_data::bytes;
use crate::{EpilogueSpec, Quantization};
use vedette_simd::Isa;
use vedette_tensor::conv::{AutoPad, WindowAttributes};

struct Case {
    shape: ConvShape,
    x: Vec<u8>,
    w: Vec<i8>,
    zero_point: u8,
    /// Whether the input's memory is in C order rather than channels-last.
    planes: bool,
}

fn ints(values: &[i64]) -> Vec<i64> {
    values.to_vec()
}

fn case(x: &[usize], kernel: &[usize], strides: &[i64], dilations: &[i64], pads: &[i64]) -> Case {
    let attributes = WindowAttributes {
        strides: ints(strides),
        dilations: ints(dilations),
        pads: ints(pads),
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
    };
    let w_shape: Vec<usize> = [x[1], 1].into_iter().chain(kernel.iter().copied()).collect();
    let shape = ConvShape::new(x, &w_shape, x[1] as i64, &attributes).unwrap();
    let data = bytes(x.iter().product(), 17);
    let w = bytes(w_shape.iter().product(), 3).into_iter().map(|w| w as i8).collect();
    Case { shape, x: data, w, zero_point: 77, planes: false }
}

impl Case {
    fn dims(&self) -> Dims {
        let sizes = self.shape.axes[3 - self.shape.rank..].iter().map(|axis| axis.input);
        [self.shape.batch, self.shape.in_channels].into_iter().chain(sizes).collect()
    }

    /// The sums, `[N, D, H, W, C]`, as they are defined.
    fn sums(&self) -> Vec<i32> {
        let [depth, height, width] = self.shape.axes;
        let channels = self.shape.in_channels;
        let strides = if self.planes {
            five(&vedette_tensor::contiguous_strides(&self.dims()))
        } else {
            five(&channels_last_strides(&self.dims()))
        };
        let mut sums = Vec::new();
        for n in 0..self.shape.batch {
            for oz in 0..depth.output {
                for oy in 0..height.output {
                    for ox in 0..width.output {
                        for c in 0..channels {
                            let mut sum = 0;
                            let mut w = self.w[c * self.shape.taps()..].iter();
                            for kz in 0..depth.kernel {
                                for ky in 0..height.kernel {
                                    for kx in 0..width.kernel {
                                        let w = i32::from(*w.next().unwrap());
                                        let at = (depth.at(oz, kz), height.at(oy, ky), width.at(ox, kx));
                                        if let (Some(z), Some(y), Some(x)) = at {
                                            let index = [n, c, z, y, x];
                                            let at: isize =
                                                strides.iter().zip(index).map(|(s, i)| s * i as isize).sum();
                                            let x = i32::from(self.x[at as usize]);
                                            sum += (x - i32::from(self.zero_point)) * w;
                                        }
                                    }
                                }
                            }
                            sums.push(sum);
                        }
                    }
                }
            }
        }
        sums
    }

    fn run(&self, isa: Isa, threads: usize, spec: &EpilogueSpec<'_>, residual: Option<&[u8]>) -> Vec<u8> {
        let channels = self.shape.in_channels;
        let w = View::of(&[self.w.len()], &self.w);
        let weights = DepthwiseWeights::new(isa, &self.shape, &w, self.zero_point);
        let spec = EpilogueSpec { largest_sum: Some(weights.largest_sum()), ..spec.clone() };
        let epilogue = Arc::new(Epilogue::new(isa, &spec));
        let strides = match self.planes {
            true => vedette_tensor::contiguous_strides(&self.dims()),
            false => channels_last_strides(&self.dims()),
        };
        let weights = Arc::new(weights);
        let plan =
            DepthwisePlan::new(threads, &self.shape, &strides, self.zero_point, weights, epilogue.clone())
                .unwrap();
        let outputs: usize = self.shape.output().iter().product();
        assert_eq!(outputs % channels, 0);
        let mut out = vec![0u8; outputs * epilogue.output_bytes()];
        let mut scratch = vedette_memory::AlignedBuffer::new(plan.scratch_bytes());
        let arguments = ConvArguments {
            x: self.x.as_ptr(),
            residual: residual.map_or(std::ptr::null(), <[u8]>::as_ptr),
            out: out.as_mut_ptr(),
        };
        // SAFETY: everything is as planned.
        unsafe { plan.run(&arguments, scratch.as_mut_slice(), &ThreadPool::new(threads)) };
        out
    }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(&[1, 64, 9, 11], &[3, 3], &[1, 1], &[], &[1, 1, 1, 1]),
        case(&[2, 24, 8, 70], &[3, 3], &[1, 1], &[], &[1, 1, 1, 1]),
        case(&[1, 100, 15, 14], &[3, 3], &[2, 2], &[], &[1, 1, 1, 1]),
        case(&[1, 130, 13, 9], &[5, 5], &[1, 1], &[], &[2, 2, 2, 2]),
        case(&[1, 72, 14, 37], &[5, 5], &[2, 2], &[], &[2, 2, 2, 2]),
        case(&[1, 5, 7, 6], &[3, 3], &[2, 1], &[1, 2], &[0, 3, 2, 1]),
        case(&[1, 8, 20, 20], &[3, 3], &[1, 1], &[3, 2], &[3, 2, 3, 2]),
        case(&[1, 16, 9, 9], &[7, 7], &[1, 1], &[], &[3, 3, 3, 3]),
        case(&[1, 65, 5, 40], &[1, 9], &[1, 3], &[], &[0, 4, 0, 4]),
        case(&[1, 3, 6, 6], &[2, 4], &[3, 2], &[], &[0, 0, 0, 0]),
        case(&[2, 70, 33], &[3], &[1], &[], &[1, 1]),
        case(&[1, 6, 4, 5, 6], &[3, 3, 3], &[1, 2, 1], &[], &[1, 1, 1, 1, 1, 1]),
        case(&[1, 1, 30, 31], &[3, 3], &[1, 1], &[], &[1, 1, 1, 1]),
        case(&[1, 192, 40, 64], &[3, 3], &[1, 1], &[], &[1, 1, 1, 1]),
    ];
    // Blocks of 16 and 32 channels, whose vectors hold several pixels.
    for (channels, stride, dilation) in
        [(144, 1, 1), (96, 2, 1), (144, 2, 1), (32, 1, 1), (16, 2, 1), (80, 3, 2)]
    {
        for pixels in [5, 13, 70] {
            let pads = [1, dilation, 1, 2];
            cases.push(case(&[1, channels, 6, pixels], &[3, 3], &[stride, stride], &[1, dilation], &pads));
        }
    }
    cases.push(case(&[1, 96, 5, 9], &[3, 2], &[1, 1], &[], &[1, 0, 1, 1]));
    cases.push(case(&[2, 16, 4, 12], &[2, 1], &[1, 1], &[], &[0, 0, 1, 0]));
    let mut planes = case(&[1, 20, 9, 8], &[3, 3], &[1, 1], &[], &[1, 1, 1, 1]);
    planes.planes = true;
    cases.push(planes);
    for (value, weight, zero_point) in [(255u8, i8::MIN, 0u8), (0, i8::MIN, 255), (255, i8::MAX, 0)] {
        let mut extreme = case(&[1, 66, 8, 9], &[5, 5], &[1, 1], &[], &[2, 2, 2, 2]);
        extreme.x.fill(value);
        extreme.w.fill(weight);
        extreme.zero_point = zero_point;
        cases.push(extreme);
    }
    cases
}

#[test]
fn sums_are_exact_at_every_level() {
    for case in cases() {
        let ones = vec![1.0; case.shape.in_channels];
        let expected: Vec<u8> = case.sums().iter().flat_map(|&sum| (sum as f32).to_ne_bytes()).collect();
        for isa in Isa::available() {
            for threads in [1, 2] {
                let spec = EpilogueSpec { multiplier: &ones, ..EpilogueSpec::default() };
                assert!(case.run(isa, threads, &spec, None) == expected, "{isa:?} {:?}", case.shape);
            }
        }
    }
}

#[test]
fn the_epilogue_follows_the_sums_at_every_level() {
    for case in cases() {
        let channels = case.shape.in_channels;
        let multiplier: Vec<f32> = (0..channels).map(|c| 1e-4 * (1.0 + c as f32 * 0.1)).collect();
        let bias: Vec<f32> = (0..channels).map(|c| c as f32 * 0.01 - 0.3).collect();
        let sums = case.sums();
        let residual = bytes(sums.len(), 12);
        let table: [u8; 256] = std::array::from_fn(|i| 255 - i as u8);
        let output = Quantization::new(0.05, 40).unwrap();
        let spec = EpilogueSpec {
            multiplier: &multiplier,
            bias: Some(&bias),
            clamp: Some((0.0, 6.0)),
            output: Some(output),
            table: Some(&table),
            ..EpilogueSpec::default()
        };
        let added = EpilogueSpec { residual: Some(Quantization::new(0.02, 128).unwrap()), ..spec.clone() };
        for (spec, residual) in [(spec, None), (added, Some(&residual[..]))] {
            let in_steps = |real: f32| (f64::from(real) / f64::from(output.scale())) as f32;
            let step = Quantization::new(1.0, output.zero_point().into()).unwrap();
            let expected: Vec<u8> = sums
                .iter()
                .enumerate()
                .map(|(i, &sum)| {
                    let (multiplier, bias) = (multiplier[i % channels], bias[i % channels]);
                    let mut f = (sum as f32).mul_add(in_steps(multiplier), in_steps(bias));
                    if let Some(residual) = residual {
                        f = (f32::from(residual[i]) - 128.0).mul_add(in_steps(0.02), f);
                    }
                    table[usize::from(step.quantize(f).clamp(output.quantize(0.0), output.quantize(6.0)))]
                })
                .collect();
            for isa in Isa::available() {
                assert!(case.run(isa, 2, &spec, residual) == expected, "{isa:?} {:?}", case.shape);
            }
        }
    }
}

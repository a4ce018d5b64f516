use super::*;
use vedette_simd::bf16_bits;

/// The outputs of sums without gaps.
pub(crate) fn outputs(epilogue: &Epilogue, sums: &[i32], residual: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![0u8; sums.len() * epilogue.output_bytes()];
    let columns = epilogue.channels();
    let rows = sums.len() / columns;
    let stride = columns.next_multiple_of(16);
    let mut padded = vec![0; rows * stride];
    for (to, from) in padded.chunks_mut(stride).zip(sums.chunks(columns)) {
        to[..columns].copy_from_slice(from);
    }
    let block = SumBlock {
        sums: padded.as_mut_ptr().cast_const(),
        sums_stride: stride,
        rows,
        channel: 0,
        columns,
        out: out.as_mut_ptr(),
        out_stride: columns,
        residual: residual.map_or(std::ptr::null(), <[u8]>::as_ptr),
        residual_stride: columns,
    };
    // SAFETY: the slices have a value for each row and column.
    unsafe { epilogue.run(&block) };
    out
}

#[test]
fn sums_are_scaled_shifted_bounded_and_requantized() {
    let spec = EpilogueSpec {
        multiplier: &[0.5, 2.0],
        bias: Some(&[1.0, -1.0]),
        clamp: Some((0.0, 20.0)),
        output: Some(Quantization::new(0.25, 3).unwrap()),
        ..EpilogueSpec::default()
    };
    let epilogue = Epilogue::new(Isa::SCALAR, &spec);
    // (2 * 0.5 + 1) / 0.25 + 3 and so on; the bounds become 3 and 83.
    assert_eq!(outputs(&epilogue, &[2, 2, -100, 1, 1000, 0], None), [11, 15, 3, 7, 83, 3]);
}

#[test]
fn steps_too_small_for_the_multiplier_leave_zero_where_it_is() {
    let spec = EpilogueSpec {
        multiplier: &[1e3],
        output: Some(Quantization::new(1e-37, 7).unwrap()),
        ..EpilogueSpec::default()
    };
    for isa in Isa::available() {
        let epilogue = Epilogue::new(isa, &spec);
        assert_eq!(outputs(&epilogue, &[0, 1, -1, 0], None), [7, 255, 0, 7], "{}", isa.name());
    }
}

#[test]
fn a_residual_is_added_before_the_bounds_and_the_table_comes_last() {
    let table: [u8; 256] = std::array::from_fn(|i| 255 - i as u8);
    let spec = EpilogueSpec {
        multiplier: &[1.0],
        residual: Some(Quantization::new(2.0, 128).unwrap()),
        clamp: Some((0.0, f32::INFINITY)),
        output: Some(Quantization::new(1.0, 0).unwrap()),
        table: Some(&table),
        ..EpilogueSpec::default()
    };
    let epilogue = Epilogue::new(Isa::SCALAR, &spec);
    assert_eq!(outputs(&epilogue, &[5, 5], Some(&[127, 200])), [252, 255 - 149]);
}

#[test]
fn float_outputs_are_bounded_and_not_rounded() {
    let spec = EpilogueSpec { multiplier: &[0.1], clamp: Some((-1.0, 6.0)), ..EpilogueSpec::default() };
    let out = outputs(&Epilogue::new(Isa::SCALAR, &spec), &[3, 100, -100], None);
    let floats: Vec<f32> = out.chunks(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap())).collect();
    assert_eq!(floats, [3.0 * 0.1f32, 6.0, -1.0]);
}

#[test]
fn activations_of_float_outputs_are_those_of_the_bounded_sums() {
    let activations = [Activation::Gelu, Activation::Sigmoid, Activation::LeakyRelu { alpha: 0.1 }];
    for columns in [1, 16, 37, 64] {
        let sums: Vec<i32> = numbers(5, 3 * columns).iter().map(|&x| (x >> 12) as i32 - (1 << 19)).collect();
        let multiplier = vec![1e-5; columns];
        for activation in activations {
            let mut expected: Vec<f32> = sums.iter().map(|&sum| sum as f32 * 1e-5).collect();
            activation.apply(Isa::SCALAR, &mut expected);
            for isa in Isa::available() {
                let spec = EpilogueSpec {
                    multiplier: &multiplier,
                    activation: Some(activation),
                    ..EpilogueSpec::default()
                };
                let out = outputs(&Epilogue::new(isa, &spec), &sums, None);
                for (found, expected) in out.chunks(4).zip(&expected) {
                    let found = f32::from_ne_bytes(found.try_into().unwrap());
                    // GELU is approximated within 1e-4.
                    assert!((found - expected).abs() < 1e-4, "{}: {found}, {expected}", isa.name());
                }
            }
        }
    }
}

pub(crate) fn numbers(seed: u32, n: usize) -> Vec<u32> {
    let step = |state: u32| state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    std::iter::successors(Some(step(seed)), |&state| Some(step(state))).take(n).collect()
}

#[test]
fn every_level_writes_the_bits_of_the_oracle() {
    let table: [u8; 256] = std::array::from_fn(|i| (i * 7 + 3) as u8);
    for columns in [1, 2, 5, 8, 16, 17, 48, 63, 64, 65, 130] {
        for variant in 0..32 {
            let on = |bit: usize| variant >> bit & 1 == 1;
            // More rows than fill a vector where they are narrow.
            let rows = if columns == 2 { 19 } else { 3 };
            let wild = if on(4) { 1u32 << 31 } else { 1 << 16 };
            let sums: Vec<i32> =
                numbers(1, rows * columns).iter().map(|&x| (x % wild) as i32 - (wild / 2) as i32).collect();
            let multiplier: Vec<f32> = numbers(2, columns)
                .iter()
                .map(|&x| (x >> 8) as f32 * 1e-9 * if on(4) { 1e6 } else { 1.0 })
                .collect();
            let bias: Vec<f32> = numbers(3, columns).iter().map(|&x| (x >> 8) as f32 * 1e-7 - 0.8).collect();
            let residual: Vec<u8> = numbers(4, rows * columns).iter().map(|&x| (x >> 13) as u8).collect();
            let spec = EpilogueSpec {
                multiplier: &multiplier,
                bias: on(0).then_some(&bias),
                residual: on(1).then(|| Quantization::new(0.37, 77).unwrap()),
                clamp: on(2).then_some((-3.0, 40.5)),
                output: on(3).then(|| Quantization::new(0.7, 31).unwrap()),
                table: (on(3) && on(0)).then_some(&table),
                largest_sum: (!on(4)).then_some(1 << 16),
                ..EpilogueSpec::default()
            };
            let residual = on(1).then_some(&residual[..]);
            let expected = outputs(&Epilogue::new(Isa::SCALAR, &spec), &sums, residual);
            for isa in Isa::available() {
                let found = outputs(&Epilogue::new(isa, &spec), &sums, residual);
                assert_eq!(found, expected, "{}, {columns} columns, variant {variant}", isa.name());
            }
        }
    }
}

#[test]
fn parameters_that_are_no_numbers_give_the_same_bytes_at_every_level() {
    let spec = EpilogueSpec {
        multiplier: &[f32::NAN, f32::INFINITY, -f32::INFINITY, 1e38],
        output: Some(Quantization::new(1e-3, 9).unwrap()),
        ..EpilogueSpec::default()
    };
    for isa in Isa::available() {
        assert_eq!(outputs(&Epilogue::new(isa, &spec), &[1, 1, 1, -5], None), [0, 255, 0, 0]);
        assert_eq!(outputs(&Epilogue::new(isa, &spec), &[0, 0, 0, 5], None), [0, 0, 0, 255]);
    }
}

#[test]
fn float_outputs_are_rounded_to_bfloat16_at_every_level() {
    for columns in [1, 8, 17, 48, 70] {
        let rows = 3;
        let sums: Vec<i32> =
            numbers(1, rows * columns).iter().map(|&x| (x % 60_000) as i32 - 30_000).collect();
        let multiplier: Vec<f32> = numbers(2, columns).iter().map(|&x| (x >> 8) as f32 * 1e-11).collect();
        let spec = EpilogueSpec {
            multiplier: &multiplier,
            clamp: Some((-3.0, 2.9)),
            activation: Some(Activation::Relu),
            ..EpilogueSpec::default()
        };
        for isa in Isa::available() {
            let real = outputs(&Epilogue::new(isa, &spec), &sums, None);
            let expected: Vec<u8> = real
                .chunks_exact(4)
                .flat_map(|f| bf16_bits(f32::from_ne_bytes([f[0], f[1], f[2], f[3]])).to_ne_bytes())
                .collect();
            let rounded = EpilogueSpec { rounded: true, ..spec.clone() };
            assert_eq!(outputs(&Epilogue::new(isa, &rounded), &sums, None), expected, "{}", isa.name());
        }
    }
}

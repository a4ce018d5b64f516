use super::*;
use crate::{Tensor, channels_last_strides, contiguous_strides};

fn sampling(interpolation: Interpolation) -> Sampling {
    Sampling { coordinates: Coordinates::HalfPixel, interpolation, antialias: false, exclude_outside: false }
}

#[test]
fn maps_are_those_of_the_standard() {
    let linear = sampling(Interpolation::Linear);
    let double = linear.map(2, 4, 2.0, (0.0, 1.0));
    assert_eq!(double.taps, 2);
    assert_eq!(double.indices, [0, 0, 0, 1, 0, 1, 1, 1]);
    assert_eq!(double.weights, [0.25, 0.75, 0.75, 0.25, 0.25, 0.75, 0.75, 0.25]);
    let corners = Sampling { coordinates: Coordinates::AlignCorners, ..linear };
    assert_eq!(corners.map(3, 5, 5.0 / 3.0, (0.0, 1.0)).weights[2..4], [0.5, 0.5]);
    let nearest = |nearest| {
        let sampling =
            Sampling { coordinates: Coordinates::Asymmetric, ..sampling(Interpolation::Nearest(nearest)) };
        sampling.map(4, 8, 2.0, (0.0, 1.0)).indices
    };
    assert_eq!(nearest(Nearest::Floor), [0, 0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(nearest(Nearest::Ceil), [0, 1, 1, 2, 2, 3, 3, 3]);
    assert_eq!(nearest(Nearest::RoundPreferFloor), [0, 0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(nearest(Nearest::RoundPreferCeil), [0, 1, 1, 2, 2, 3, 3, 3]);
    for interpolation in [Interpolation::Linear, Interpolation::Cubic(-0.75)] {
        for antialias in [false, true] {
            for exclude_outside in [false, true] {
                let sampling = Sampling { antialias, exclude_outside, ..sampling(interpolation) };
                for output in 1..20 {
                    let map = sampling.map(9, output, output as f64 / 9.0, (0.0, 1.0));
                    for weights in map.weights.chunks(map.taps) {
                        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    }
                    assert!(map.indices.iter().all(|&i| i < 9));
                }
            }
        }
    }
    let crop = Sampling { coordinates: Coordinates::CropAndResize, ..linear };
    assert_eq!(crop.map(4, 3, 0.75, (0.0, 2.0)).outside, [2]);
}

#[test]
fn passes_agree_with_a_plain_product_of_weights() {
    let data: Vec<f32> = (0..2 * 5 * 6 * 7).map(|i| ((i * 7919) % 101) as f32).collect();
    let plain = View::of(&[2, 5, 6, 7], &data);
    let last = View::of(&[2, 6, 7, 5], &data).permuted(&[0, 3, 1, 2]);
    let linear = sampling(Interpolation::Cubic(-0.5));
    let rows = linear.map(6, 11, 11.0 / 6.0, (0.0, 1.0));
    let columns = linear.map(7, 3, 3.0 / 7.0, (0.0, 1.0));
    let shape = [2, 5, 11, 3];
    for view in [&plain, &last] {
        let values = view.to_vec::<f32>();
        let mut expected = Vec::new();
        for image in 0..10 {
            for y in 0..11 {
                for x in 0..3 {
                    let mut sum = 0.0;
                    for k in 0..4 {
                        for l in 0..4 {
                            let weight = rows.weights[y * 4 + k] * columns.weights[x * 4 + l];
                            let (row, column) = (rows.indices[y * 4 + k], columns.indices[x * 4 + l]);
                            sum += weight * values[(image * 6 + row) * 7 + column];
                        }
                    }
                    expected.push(sum);
                }
            }
        }
        for strides in [contiguous_strides(&shape), channels_last_strides(&shape)] {
            for isa in Isa::available() {
                let from = Layout { dtype: DType::F32, shape: view.shape(), strides: view.strides() };
                let to = Layout { dtype: DType::F32, shape: &shape, strides: &strides };
                let maps = vec![None, None, Some(rows.clone()), Some(columns.clone())];
                let plan = Resize::new(from, maps, to, isa).unwrap();
                let mut scratch = vec![f32::NAN; plan.scratch_len()];
                let mut tensor = Tensor::zeros(DType::F32, &shape).unwrap();
                // SAFETY: the strides are dense, so they reach exactly the tensor's elements.
                let mut output = unsafe {
                    ViewMut::from_raw_parts(
                        DType::F32,
                        shape.as_slice().into(),
                        strides.clone(),
                        tensor.as_mut_ptr(),
                    )
                };
                plan.run(view, &mut output, &mut scratch, &ThreadPool::new(2));
                for (x, y) in expected.iter().zip(output.as_view().to_vec::<f32>()) {
                    assert!((x - y).abs() < 1e-3, "{} {x} {y}", isa.name());
                }
            }
        }
    }
}

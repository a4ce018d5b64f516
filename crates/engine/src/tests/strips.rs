use super::Builder;
use crate::{Engine, Options};
use proptest::prelude::*;
use serde_json::json;
use vedette_tensor::{Tensor, View};

const CHANNELS: usize = 8;

/// Values of few bits, so that sums are exact.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 7 % 13) as f32 - 6.0).collect()
}

fn weights(b: &mut Builder, shape: [usize; 4]) -> usize {
    b.constant(Tensor::from_slice(&shape, &values(shape.iter().product())))
}

/// A value, and the rows and columns of its map.
type Map = (usize, [usize; 2]);

/// Adds a node of that kind on a map.
fn add(b: &mut Builder, kind: usize, (x, size): Map, other: Option<usize>) -> Map {
    let w = CHANNELS;
    let conv = |b: &mut Builder, kernel: usize, attributes: serde_json::Value| {
        let weights = weights(b, [w, w, kernel, kernel]);
        b.nodes("Conv", &[x, weights], 1, attributes)[0]
    };
    match kind {
        0 => (conv(b, 1, json!({"activation": {"kind": "relu"}})), size),
        1 => (conv(b, 3, json!({"pads": [1, 1, 1, 1]})), size),
        2 => (conv(b, 3, json!({"pads": [1, 1, 1, 1], "strides": [2, 2]})), size.map(|n| n.div_ceil(2))),
        3 => (conv(b, 2, json!({"auto_pad": "SAME_UPPER"})), size),
        4 => {
            let weights = weights(b, [w, 1, 5, 5]);
            let attributes = json!({"pads": [2, 2, 2, 2], "group": w});
            (b.nodes("Conv", &[x, weights], 1, attributes)[0], size)
        }
        5 => {
            let attributes = json!({"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"});
            (b.nodes("MaxPool", &[x], 1, attributes)[0], size)
        }
        6 => {
            let attributes = json!({"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]});
            (b.nodes("AveragePool", &[x], 1, attributes)[0], size.map(|n| n.div_ceil(2)))
        }
        7 => {
            let weights = weights(b, [w, w, 2, 2]);
            (b.nodes("ConvTranspose", &[x, weights], 1, json!({"strides": [2, 2]}))[0], size.map(|n| 2 * n))
        }
        8 => {
            let none = b.constant(Tensor::from_slice::<f32>(&[0], &[]));
            let scales = b.constant(Tensor::from_slice(&[4], &[1.0f32, 1.0, 2.0, 2.0]));
            let attributes = json!({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"});
            (b.nodes("Resize", &[x, none, scales], 1, attributes)[0], size.map(|n| 2 * n))
        }
        9 => (b.node("Add", &[x, other.unwrap_or(x)]), size),
        10 => (quantized(b, x), size),
        _ => {
            let both = b.nodes("Concat", &[x, other.unwrap_or(x)], 1, json!({"axis": 1}))[0];
            let weights = weights(b, [w, 2 * w, 1, 1]);
            (b.node("Conv", &[both, weights]), size)
        }
    }
}

/// A value in bytes, through a convolution with a residual and a pooling, and back.
fn quantized(b: &mut Builder, x: usize) -> usize {
    let scale = b.constant(Tensor::from_slice(&[], &[0.5f32]));
    let zero_point = b.constant(Tensor::from_slice(&[], &[128u8]));
    let bytes = b.node("QuantizeLinear", &[x, scale, zero_point]);
    let elements: Vec<i8> = (0..CHANNELS * CHANNELS * 9).map(|i| (i * 5 % 17) as i8 - 8).collect();
    let weights = b.constant(Tensor::from_slice(&[CHANNELS, CHANNELS, 3, 3], &elements));
    let multiplier = b.constant(Tensor::from_slice(&[CHANNELS], &[0.03f32; CHANNELS]));
    let bias = b.constant(Tensor::from_slice(&[CHANNELS], &[1.5f32; CHANNELS]));
    let attributes = json!({
        "pads": [1, 1, 1, 1], "x_zero_point": 128, "y_scale": 0.5, "y_zero_point": 128,
        "residual_scale": 0.5, "residual_zero_point": 128,
    });
    let bytes = b.nodes("QuantizedConv", &[bytes, weights, multiplier, bias, bytes], 1, attributes)[0];
    let window = json!({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]});
    let bytes = b.nodes("MaxPool", &[bytes], 1, window)[0];
    b.node("DequantizeLinear", &[bytes, scale, zero_point])
}

/// An engine for a network of those kinds; each node reads one of the last values.
fn network(kinds: &[(usize, usize)], strip_bytes: usize, size: [usize; 2]) -> Engine {
    let mut b = Builder::new();
    let x = b.input("float32", json!([1, CHANNELS, null, null]));
    let mut made = vec![(x, size)];
    for &(kind, back) in kinds {
        let from = made[made.len() - 1 - back % made.len()];
        if (7..9).contains(&kind) && from.1[0] > 2 * size[0] {
            continue;
        }
        let other =
            made.iter().rev().find(|value| value.1 == from.1 && value.0 != from.0).map(|value| value.0);
        made.push(add(&mut b, kind, from, other));
    }
    let last = made[made.len() - 1].0;
    let options = Options { threads: 2, strip_bytes: Some(strip_bytes), ..Options::default() };
    b.engine(&[last, made[made.len() / 2].0], options, crate::ops::find).unwrap()
}

#[test]
fn a_section_in_strips_needs_a_fraction_of_the_memory() {
    let (rows, columns) = (96, 40);
    let kinds = [(1, 0), (3, 0), (5, 1), (11, 0), (2, 0), (0, 0), (4, 0)];
    let data = values(CHANNELS * rows * columns);
    let input = [View::of(&[1, CHANNELS, rows, columns], &data)];
    let (whole, strips) = (network(&kinds, 0, [rows, columns]), network(&kinds, 20_000, [rows, columns]));
    assert_eq!(whole.run(&input).unwrap()[0].slice::<f32>(), strips.run(&input).unwrap()[0].slice::<f32>());
    let arenas = (whole.memory().arena, strips.memory().arena);
    assert!(3 * arenas.1 < arenas.0, "{arenas:?}");
    let (steps, in_strips) = (whole.profile(&input).unwrap().1, strips.profile(&input).unwrap().1);
    for (step, strips) in steps.iter().zip(&in_strips) {
        assert_eq!((&step.name, &step.shape), (&strips.name, &strips.shape));
        assert_eq!(step.multiply_accumulates, strips.multiply_accumulates);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn strips_make_the_same_bits_as_whole_maps(
        kinds in prop::collection::vec((0usize..12, 0usize..3), 2..9),
        rows in 9usize..70,
        columns in 3usize..20,
        strip_bytes in 1000usize..40_000,
    ) {
        let data = values(CHANNELS * rows * columns);
        let input = [View::of(&[1, CHANNELS, rows, columns], &data)];
        let (whole, strips) = (network(&kinds, 0, [rows, columns]), network(&kinds, strip_bytes, [rows, columns]));
        let (expected, made) = (whole.run(&input).unwrap(), strips.run(&input).unwrap());
        for (expected, made) in expected.iter().zip(&made) {
            prop_assert_eq!(expected.shape(), made.shape());
            prop_assert_eq!(expected.slice::<f32>(), made.slice::<f32>());
        }
    }
}

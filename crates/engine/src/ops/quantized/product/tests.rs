//! Nodes by themselves, at every level, against the formulas as they are written.

use crate::{Engine, EngineError, Options, Program};
use serde_json::{Value, json};
use vedette_simd::Isa;
use vedette_tensor::{DType, Tensor, View};

/// One node: what it reads at run time, then constants, by position.
struct Node {
    op: &'static str,
    attributes: Value,
    inputs: Vec<(usize, Tensor)>,
    constants: Vec<(usize, Tensor)>,
}

impl Node {
    fn run(&self, isa: Isa, threads: usize) -> Result<Tensor, EngineError> {
        let mut read = vec![Value::Null; 6];
        let mut inputs = vec![];
        for (value, (position, tensor)) in self.inputs.iter().chain(&self.constants).enumerate() {
            read[*position] = json!(value);
            if value < self.inputs.len() {
                inputs.push(json!({
                    "value": value, "name": format!("in{value}"), "dtype": tensor.dtype().name(),
                    "shape": tensor.shape(),
                }));
            }
        }
        let made = inputs.len() + self.constants.len();
        let program = json!({
            "version": 1, "values": made + 1, "inputs": inputs,
            "outputs": [{"value": made, "name": "y"}],
            "constants": (inputs.len()..made).collect::<Vec<_>>(),
            "nodes": [{"op": self.op, "name": "n", "inputs": read, "outputs": [made], "attributes": self.attributes}],
        });
        let constants = self.constants.iter().map(|(_, tensor)| Tensor::copy_of(&tensor.view()).unwrap());
        let options = Options { threads, isa: Some(isa), memory_limit: None, ..Options::default() };
        let engine = Engine::new(Program::parse(&program.to_string())?, constants.collect(), options)?;
        let views: Vec<View<'_>> = self.inputs.iter().map(|(_, tensor)| tensor.view()).collect();
        let first = engine.run(&views)?;
        // The second run has packed weights and no constants.
        let again = engine.run(&views)?;
        assert_eq!(bits(&first[0]), bits(&again[0]));
        first.into_iter().next().ok_or_else(|| EngineError::Invalid("no output".to_owned()))
    }

    fn run_everywhere(&self) -> Tensor {
        let expected = self.run(Isa::SCALAR, 1).unwrap();
        for isa in Isa::available() {
            for threads in [1, 3] {
                let found = self.run(isa, threads).unwrap();
                assert_eq!(bits(&found), bits(&expected), "{} at {}", self.op, isa.name());
            }
        }
        expected
    }

    fn refusal(&self) -> String {
        self.run(Isa::SCALAR, 1).unwrap_err().to_string()
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    match tensor.dtype() {
        DType::U8 => tensor.slice::<u8>().iter().map(|&byte| byte.into()).collect(),
        _ => tensor.slice::<f32>().iter().map(|x| x.to_bits()).collect(),
    }
}

fn bytes(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    Tensor::from_slice(shape, &(0..shape.iter().product()).map(|_| next()).collect::<Vec<u8>>())
}

fn weights(shape: &[usize], seed: u32) -> Tensor {
    let bytes = bytes(shape, seed);
    Tensor::from_slice(shape, &bytes.slice::<u8>().iter().map(|&byte| byte as i8).collect::<Vec<i8>>())
}

fn floats(values: impl Iterator<Item = f32>) -> Tensor {
    let values: Vec<f32> = values.collect();
    Tensor::from_slice(&[values.len()], &values)
}

/// A convolution `[2, 3, 5, 6]` by 3x3, padded by one, to 20 channels, with everything that can follow it.
fn convolution() -> Node {
    Node {
        op: "QuantizedConv",
        attributes: json!({
            "pads": [1, 1, 1, 1], "kernel_shape": [3, 3], "x_zero_point": 100,
            "y_scale": 0.25, "y_zero_point": 50, "residual_scale": 0.5, "residual_zero_point": 20,
            "activation": {"kind": "clip", "min": -4.0, "max": 30.0},
        }),
        inputs: vec![(0, bytes(&[2, 3, 5, 6], 1)), (4, bytes(&[2, 20, 5, 6], 2))],
        constants: vec![
            (1, weights(&[20, 3, 3, 3], 3)),
            (2, floats((0..20).map(|i| 1e-3 + i as f32 * 1e-4))),
            (3, floats((0..20).map(|i| i as f32 - 9.5))),
            (5, Tensor::from_slice(&[256], &std::array::from_fn::<u8, 256, _>(|i| 255 - i as u8))),
        ],
    }
}

#[test]
fn a_convolution_follows_its_formula() {
    let node = convolution();
    let y = node.run_everywhere();
    assert_eq!((y.dtype(), y.shape()), (DType::U8, &[2, 20, 5, 6][..]));
    let (x, w) = (node.inputs[0].1.slice::<u8>(), node.constants[0].1.slice::<i8>());
    let (multiplier, bias) = (node.constants[1].1.slice::<f32>(), node.constants[2].1.slice::<f32>());
    let residual = node.inputs[1].1.slice::<u8>();
    for (i, &found) in y.slice::<u8>().iter().enumerate() {
        let (n, o, row, column) = (i / 600, i / 30 % 20, i / 6 % 5, i % 6);
        let mut sum = 0i32;
        for (tap, &weight) in w[o * 27..(o + 1) * 27].iter().enumerate() {
            let (c, y, x_at) = (tap / 9, row + tap / 3 % 3, column + tap % 3);
            if (1..6).contains(&y) && (1..7).contains(&x_at) {
                let value = x[((n * 3 + c) * 5 + y - 1) * 6 + x_at - 1];
                sum += (i32::from(value) - 100) * i32::from(weight);
            }
        }
        let f = sum as f32 * multiplier[o] + bias[o];
        let f = f + (i32::from(residual[i]) - 20) as f32 * 0.5;
        let q = (f.clamp(-4.0, 30.0) * 4.0).round_ties_even() as i32 + 50;
        assert_eq!(found, 255 - q.clamp(0, 255) as u8);
    }
}

#[test]
fn a_convolution_without_an_output_scale_gives_floats() {
    let mut node = convolution();
    node.attributes = json!({"pads": [1, 1, 1, 1], "x_zero_point": 100, "activation": {"kind": "relu"}});
    node.inputs.truncate(1);
    node.constants.truncate(2);
    let y = node.run_everywhere();
    assert_eq!(y.dtype(), DType::F32);
    assert!(y.slice::<f32>().iter().all(|&f| f >= 0.0) && y.slice::<f32>().iter().any(|&f| f > 1.0));
}

fn product() -> Node {
    Node {
        op: "QuantizedMatMul",
        attributes: json!({"a_zero_point": 7, "y_scale": 0.5, "y_zero_point": 128}),
        inputs: vec![(0, bytes(&[2, 5, 10], 1))],
        constants: vec![
            (1, weights(&[10, 18], 2)),
            (2, floats((0..18).map(|i| 1e-3 + i as f32 * 1e-4))),
            (3, floats((0..18).map(|i| i as f32 * 0.1))),
        ],
    }
}

#[test]
fn a_product_follows_its_formula() {
    let node = product();
    let y = node.run_everywhere();
    assert_eq!(y.shape(), [2, 5, 18]);
    let (a, b) = (node.inputs[0].1.slice::<u8>(), node.constants[0].1.slice::<i8>());
    for (i, &found) in y.slice::<u8>().iter().enumerate() {
        let (row, column) = (i / 18, i % 18);
        let sum: i32 =
            (0..10).map(|k| (i32::from(a[row * 10 + k]) - 7) * i32::from(b[k * 18 + column])).sum();
        let f = sum as f32 * (1e-3 + column as f32 * 1e-4) + column as f32 * 0.1;
        assert_eq!(found, ((f * 2.0).round_ties_even() as i32 + 128).clamp(0, 255) as u8);
    }
}

#[test]
fn a_product_with_rows_quantized_as_they_come_is_close_to_the_float_one() {
    let a: Vec<f32> = (0..120).map(|i| ((i * 37 % 41) as f32 - 15.0) * 0.1).collect();
    let residual: Vec<f32> = (0..6 * 24).map(|i| i as f32 * 0.01).collect();
    let node = Node {
        op: "DynamicQuantizedMatMul",
        attributes: json!({"activation": {"kind": "relu"}}),
        inputs: vec![
            (0, Tensor::from_slice(&[2, 3, 20], &a)),
            (4, Tensor::from_slice(&[2, 3, 24], &residual)),
        ],
        constants: vec![(1, weights(&[20, 24], 5)), (2, floats((0..24).map(|i| 1e-2 + i as f32 * 1e-3)))],
    };
    let y = node.run_everywhere();
    let b = node.constants[0].1.slice::<i8>();
    for (i, &found) in y.slice::<f32>().iter().enumerate() {
        let (row, column) = (i / 24, i % 24);
        let scale = 1e-2 + column as f32 * 1e-3;
        let exact: f32 =
            (0..20).map(|k| a[row * 20 + k] * f32::from(b[k * 24 + column]) * scale).sum::<f32>()
                + residual[i];
        // Each of 20 values is off by at most half of 4.1 / 255, times a weight of up to 128 steps.
        let tolerance = 20.0 * 0.5 * 4.1 / 255.0 * 128.0 * scale;
        assert!((found - exact.max(0.0)).abs() <= tolerance, "{found} against {exact}");
    }
}

#[test]
fn a_transposed_convolution_follows_its_formula() {
    let node = Node {
        op: "QuantizedConvTranspose",
        attributes: json!({
            "strides": [2, 2], "kernel_shape": [2, 2], "x_zero_point": 30, "y_scale": 0.5, "y_zero_point": 100,
        }),
        inputs: vec![(0, bytes(&[1, 4, 3, 5], 1))],
        constants: vec![
            (1, weights(&[4, 6, 2, 2], 2)),
            (2, floats((0..6).map(|i| 1e-3 + i as f32 * 1e-3))),
            (3, floats((0..6).map(|i| i as f32))),
            (5, Tensor::from_slice(&[256], &std::array::from_fn::<u8, 256, _>(|i| 255 - i as u8))),
        ],
    };
    let y = node.run_everywhere();
    assert_eq!(y.shape(), [1, 6, 6, 10]);
    let (x, w) = (node.inputs[0].1.slice::<u8>(), node.constants[0].1.slice::<i8>());
    for (i, &found) in y.slice::<u8>().iter().enumerate() {
        let (o, row, column) = (i / 60, i / 10 % 6, i % 10);
        let sum: i32 = (0..4)
            .map(|c| {
                let value = i32::from(x[(c * 3 + row / 2) * 5 + column / 2]) - 30;
                value * i32::from(w[((c * 6 + o) * 2 + row % 2) * 2 + column % 2])
            })
            .sum();
        let f = (sum as f32).mul_add(1e-3 + o as f32 * 1e-3, o as f32);
        assert_eq!(found, 255 - ((f * 2.0).round_ties_even() as i32 + 100).clamp(0, 255) as u8);
    }
}

#[test]
fn float_results_take_every_activation() {
    let mut node = convolution();
    node.constants.pop();
    for name in ["y_scale", "y_zero_point", "activation"] {
        node.attributes[name] = Value::Null;
    }
    let plain = node.run_everywhere();
    node.attributes["activation"] = json!({"kind": "gelu"});
    let mut expected = plain.slice::<f32>().to_vec();
    vedette_tensor::Activation::Gelu.apply(Isa::SCALAR, &mut expected);
    for isa in Isa::available() {
        let found = node.run(isa, 2).unwrap();
        for (found, expected) in found.slice::<f32>().iter().zip(&expected) {
            // As near as GELU is approximated behind rounded products, and large values in proportion.
            let near = 1e-4 * expected.abs().max(1.0);
            assert!((found - expected).abs() < near, "{}: {found}, expected {expected}", isa.name());
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_value() {
    let with = |mut node: Node, name: &str, value: Value| {
        node.attributes[name] = value;
        node.refusal()
    };
    assert!(with(convolution(), "x_zero_point", json!(256)).contains("`x_zero_point` is 256"));
    assert!(with(convolution(), "y_scale", json!(0.0)).contains("a scale of 0"));
    assert!(
        with(convolution(), "residual_scale", Value::Null).contains("a residual without `residual_scale`")
    );
    assert!(with(convolution(), "activation", json!({"kind": "silu"})).contains("of outputs in uint8"));
    assert!(with(convolution(), "kernel_shape", json!([3, 1])).contains("kernel_shape is [3, 1]"));
    assert!(with(convolution(), "dilations", json!([1 << 20, 1 << 20])).contains("does not fit"));
    let mut node = product();
    node.constants[1].1 = floats((0..17).map(|i| i as f32));
    assert!(node.refusal().contains("input 2 has shape [17], expected [18]"));
    let mut node = product();
    let weights = node.constants.remove(0);
    node.inputs.push(weights);
    assert!(node.refusal().contains("that is no constant"));
    let mut node = product();
    node.inputs[0].1 = bytes(&[2, 9], 1);
    assert!(node.refusal().contains("9 columns against 10 rows"));
}

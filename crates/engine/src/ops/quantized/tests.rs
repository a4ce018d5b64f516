//! Nodes by themselves, at every level, against the formulas as they are written.

use crate::tests::allocation::fewest_allocations;
use crate::{Engine, EngineError, Options, Program};
use serde_json::{Value, json};
use vedette_simd::Isa;
use vedette_tensor::{DType, Tensor, View};

/// An input of a node: given at run time, or a constant.
enum Given<'a> {
    Input(View<'a>),
    Constant(Tensor),
    Absent,
}

fn bytes(n: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn constant(values: &[u8]) -> Given<'static> {
    Given::Constant(Tensor::from_slice(&[values.len()], values))
}

fn floats(shape: &[usize], values: &[f32]) -> Given<'static> {
    Given::Constant(Tensor::from_slice(shape, values))
}

/// Runs a node at a level; a transpose before it makes every input channels-last where asked.
fn run_at(
    isa: Isa,
    op: &str,
    given: &[Given<'_>],
    attributes: &Value,
    outputs: usize,
    channels_last: bool,
) -> Result<Vec<Tensor>, EngineError> {
    let (mut inputs, mut constants, mut tensors, mut nodes) = (vec![], vec![], vec![], vec![]);
    let (mut read, mut views) = (vec![], vec![]);
    let mut values = 0;
    for item in given {
        match item {
            Given::Absent => {
                read.push(Value::Null);
                continue;
            }
            Given::Input(view) => {
                let rank = view.rank();
                let turned: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
                let turn = channels_last && rank > 2;
                let view = if turn { view.permuted(&turned) } else { view.clone() };
                inputs.push(json!({
                    "value": values, "name": format!("in{values}"), "dtype": view.dtype().name(),
                    "shape": view.shape(),
                }));
                if turn {
                    let back: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
                    nodes.push(json!({
                        "op": "Transpose", "inputs": [values], "outputs": [values + 1], "attributes": {"perm": back},
                    }));
                    values += 1;
                }
                let copied = Tensor::copy_of(&view).unwrap();
                views.push(copied);
            }
            Given::Constant(tensor) => {
                constants.push(values);
                tensors.push(Tensor::copy_of(&tensor.view()).unwrap());
            }
        }
        read.push(json!(values));
        values += 1;
    }
    let made: Vec<usize> = (values..values + outputs).collect();
    nodes.push(json!({"op": op, "inputs": read, "outputs": made, "attributes": attributes}));
    let named: Vec<Value> = made.iter().map(|id| json!({"value": id, "name": format!("v{id}")})).collect();
    let text = json!({
        "version": 1, "values": values + outputs, "inputs": inputs, "outputs": named, "constants": constants,
        "nodes": nodes,
    });
    let options = Options { threads: 2, isa: Some(isa), memory_limit: None, ..Options::default() };
    let engine = Engine::new(Program::parse(&text.to_string())?, tensors, options)?;
    let views: Vec<View<'_>> = views.iter().map(Tensor::view).collect();
    let mut outputs = engine.run(&views)?;
    engine.run_into(&views, &mut outputs)?;
    if ["Quantized", "DynamicQuantizedMatMul", "BlockQuantizedMatMul"].iter().any(|name| op.starts_with(name))
    {
        let allocations = fewest_allocations(|| engine.run_into(&views, &mut outputs).unwrap());
        assert_eq!(allocations, 0, "{op} {isa:?} {channels_last}");
    }
    Ok(outputs)
}

/// The outputs at the portable level, which those of every level and memory order must equal.
fn run(op: &str, given: &[Given<'_>], attributes: Value, outputs: usize) -> Vec<Tensor> {
    let expected = run_at(Isa::SCALAR, op, given, &attributes, outputs, false).unwrap();
    for isa in Isa::available() {
        for channels_last in [false, true] {
            let out = run_at(isa, op, given, &attributes, outputs, channels_last).unwrap();
            for (out, expected) in out.iter().zip(&expected) {
                assert_eq!((out.dtype(), out.shape()), (expected.dtype(), expected.shape()));
                let raw = |tensor: &Tensor| match tensor.dtype() {
                    DType::F32 => tensor.slice::<f32>().iter().map(|x| u64::from(x.to_bits())).collect(),
                    DType::I32 => tensor.slice::<i32>().iter().map(|&x| x as u64).collect(),
                    DType::I8 => tensor.slice::<i8>().iter().map(|&x| x as u64).collect(),
                    DType::I16 => tensor.slice::<i16>().iter().map(|&x| x as u64).collect(),
                    DType::U16 => tensor.slice::<u16>().iter().map(|&x| u64::from(x)).collect::<Vec<_>>(),
                    _ => tensor.slice::<u8>().iter().map(|&x| u64::from(x)).collect::<Vec<_>>(),
                };
                assert_eq!(raw(out), raw(expected), "{op} {isa:?} {channels_last}");
            }
        }
    }
    expected
}

fn refusal(op: &str, given: &[Given<'_>], attributes: Value) -> String {
    match run_at(Isa::SCALAR, op, given, &attributes, 1, false) {
        Ok(_) => panic!("{op} {attributes} ran"),
        Err(error) => error.to_string(),
    }
}

/// The byte of a real number, as the formula says.
fn byte(f: f32, scale: f32, zero_point: i32) -> u8 {
    ((f * (1.0 / scale)).round_ties_even() as i32).saturating_add(zero_point).clamp(0, 255) as u8
}

fn real(q: u8, scale: f32, zero_point: i32) -> f32 {
    (i32::from(q) - zero_point) as f32 * scale
}

#[test]
fn sums_and_products_broadcast_clamp_and_are_looked_up() {
    let shape = [2, 6, 5, 7];
    let (a, b) = (bytes(420, 1), bytes(420, 2));
    let attributes = json!({
        "a_scale": 0.1, "a_zero_point": 100, "b_scale": 0.05, "b_zero_point": 30, "y_scale": 0.12,
        "y_zero_point": 120,
    });
    let a_view = || Given::Input(View::of(&shape, &a));
    let sum = |a: u8, b: u8| byte(real(a, 0.1, 100) + real(b, 0.05, 30), 0.12, 120);
    let out = run("QuantizedAdd", &[a_view(), Given::Input(View::of(&shape, &b))], attributes.clone(), 1);
    let expected: Vec<u8> = a.iter().zip(&b).map(|(&a, &b)| sum(a, b)).collect();
    assert_eq!(out[0].slice::<u8>(), expected);
    // One value a channel, an activation and a table.
    let mut clipped = attributes.clone();
    clipped["activation"] = json!({"kind": "clip", "min": 0, "max": 6});
    let channel = Given::Constant(Tensor::from_slice(&[6, 1, 1], &b[..6]));
    let reversed: Vec<u8> = (0..=255).rev().collect();
    let out = run("QuantizedAdd", &[a_view(), channel, constant(&reversed)], clipped, 1);
    let expected: Vec<u8> = a
        .iter()
        .enumerate()
        .map(|(i, &a)| {
            let f = real(a, 0.1, 100) + real(b[i / 35 % 6], 0.05, 30);
            255 - byte(f.clamp(0.0, 6.0), 0.12, 120)
        })
        .collect();
    assert_eq!(out[0].slice::<u8>(), expected);
    let product = |a: u8, b: u8| {
        let steps = (i32::from(a) - 100) * (i32::from(b) - 30);
        byte(steps as f32 * (0.1f32 * 0.05), 0.12, 120)
    };
    let row = Given::Input(View::of(&[7], &b[..7]));
    let out = run("QuantizedMul", &[a_view(), row], attributes.clone(), 1);
    let expected: Vec<u8> = a.iter().enumerate().map(|(i, &a)| product(a, b[i % 7])).collect();
    assert_eq!(out[0].slice::<u8>(), expected);
    let scalar = Given::Constant(Tensor::from_slice(&[1], &[77u8]));
    let out = run("QuantizedMul", &[a_view(), scalar], attributes, 1);
    let expected: Vec<u8> =
        a.iter().map(|&a| byte(real(a, 0.1, 100) * real(77, 0.05, 30), 0.12, 120)).collect();
    assert_eq!(out[0].slice::<u8>(), expected);
}

#[test]
fn bytes_are_looked_up_in_any_memory_order() {
    let x = bytes(2 * 3 * 40 * 50, 9);
    let table = bytes(256, 4);
    let out = run(
        "QuantizedLookup",
        &[Given::Input(View::of(&[2, 3, 40, 50], &x)), constant(&table)],
        json!({}),
        1,
    );
    assert_eq!(out[0].slice::<u8>(), x.iter().map(|&x| table[usize::from(x)]).collect::<Vec<_>>());
    let short =
        refusal("QuantizedLookup", &[Given::Input(View::of(&[3], &x[..3])), constant(&x[..3])], json!({}));
    assert!(short.contains("expected 256"), "{short}");
    let free = [Given::Input(View::of(&[3], &x[..3])), Given::Input(View::of(&[256], &table))];
    assert!(refusal("QuantizedLookup", &free, json!({})).contains("no constant"));
}

#[test]
fn concatenated_inputs_come_to_one_scale() {
    for axis in [1, 3] {
        let shapes = [[2, 5, 3, 4], if axis == 1 { [2, 1, 3, 4] } else { [2, 5, 3, 1] }, [2, 5, 3, 4]];
        let data: Vec<Vec<u8>> =
            shapes.iter().map(|shape| bytes(shape.iter().product(), shape[1] as u32)).collect();
        let given: Vec<Given<'_>> =
            shapes.iter().zip(&data).map(|(shape, data)| Given::Input(View::of(shape, data))).collect();
        let (scales, zeros) = ([0.1f32, 0.2, 0.05], [10, 20, 30]);
        let attributes = json!({
            "axis": axis, "scales": scales, "zero_points": zeros, "y_scale": 0.1, "y_zero_point": 10,
        });
        let out = run("QuantizedConcat", &given, attributes, 1);
        let mut expected = Vec::new();
        let (outer, inner) = if axis == 1 { (2, 12) } else { (2 * 5 * 3, 1) };
        for block in 0..outer {
            for i in 0..3 {
                let part = shapes[i][axis] * inner;
                let requantized = data[i][block * part..(block + 1) * part].iter();
                expected.extend(requantized.map(|&q| byte(real(q, scales[i], zeros[i]), 0.1, 10)));
            }
        }
        assert_eq!(out[0].slice::<u8>(), expected);
    }
    let x = [1u8, 2];
    let view = || Given::Input(View::of(&[2], &x));
    let attributes = json!({"axis": 0, "scales": [1.0], "zero_points": [0], "y_scale": 1.0});
    assert!(refusal("QuantizedConcat", &[view(), view()], attributes).contains("2 inputs and 1 scales"));
}

#[test]
fn pooled_bytes_are_means_and_maxima() {
    let (n, c, h, w) = (2, 5, 6, 7);
    let x = bytes(n * c * h * w, 6);
    let view = || Given::Input(View::of(&[n, c, h, w], &x));
    let global = json!({"x_scale": 0.1, "x_zero_point": 50, "y_scale": 0.02, "y_zero_point": 100});
    let sums: Vec<i32> =
        x.chunks_exact(h * w).map(|plane| plane.iter().map(|&x| i32::from(x) - 50).sum()).collect();
    let means: Vec<f32> = sums.iter().map(|&sum| sum as f32 * (0.1 / 42.0)).collect();
    let out = run("QuantizedGlobalAveragePool", &[view()], global, 1);
    assert_eq!(out[0].shape(), [n, c, 1, 1]);
    assert_eq!(out[0].slice::<u8>(), means.iter().map(|&f| byte(f, 0.02, 100)).collect::<Vec<_>>());
    let out = run("QuantizedGlobalAveragePool", &[view()], json!({"x_scale": 0.1, "x_zero_point": 50}), 1);
    assert_eq!(out[0].slice::<f32>(), means);
    let windows = json!({
        "kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 1, 0, 1], "x_scale": 0.1, "x_zero_point": 50,
        "y_scale": 0.1, "y_zero_point": 50,
    });
    let out = run("QuantizedAveragePool", &[view()], windows, 1);
    assert_eq!(out[0].shape(), [n, c, 3, 4]);
    let corner: i32 = [0, 1, 7, 8].iter().map(|&i| i32::from(x[i]) - 50).sum();
    assert_eq!(out[0].slice::<u8>()[0], byte(corner as f32 * (0.1 / 4.0), 0.1, 50));
    let out = run("MaxPool", &[view()], json!({"kernel_shape": [6, 7]}), 1);
    let largest: Vec<u8> = x.chunks_exact(42).map(|plane| *plane.iter().max().unwrap()).collect();
    assert_eq!(out[0].slice::<u8>(), largest);
    let signed: Vec<i8> = x.iter().map(|&x| x as i8).collect();
    let out =
        run("MaxPool", &[Given::Input(View::of(&[n, c, h, w], &signed))], json!({"kernel_shape": [6, 7]}), 1);
    let largest: Vec<i8> = signed.chunks_exact(42).map(|plane| *plane.iter().max().unwrap()).collect();
    assert_eq!(out[0].slice::<i8>(), largest);
}

#[test]
fn images_of_bytes_are_resized() {
    let x = bytes(3 * 4 * 5, 2);
    let scales = || floats(&[4], &[1.0, 1.0, 2.0, 2.0]);
    let view = || Given::Input(View::of(&[1, 3, 4, 5], &x));
    let attributes = json!({"mode": "linear"});
    let out = run("QuantizedResize", &[view(), Given::Absent, scales()], attributes.clone(), 1);
    assert_eq!(out[0].shape(), [1, 3, 8, 10]);
    let numbers: Vec<f32> = x.iter().map(|&x| f32::from(x)).collect();
    let input = Given::Input(View::of(&[1, 3, 4, 5], &numbers));
    let exact =
        run_at(Isa::SCALAR, "Resize", &[input, Given::Absent, scales()], &attributes, 1, false).unwrap();
    for (y, f) in out[0].slice::<u8>().iter().zip(exact[0].slice::<f32>()) {
        // Half a step of rounding, and what float32 adds where the exact number is near a half.
        assert!((f32::from(*y) - f).abs() < 0.5001);
    }
    let out = run("Resize", &[view(), Given::Absent, scales()], json!({"mode": "nearest"}), 1);
    assert_eq!(out[0].slice::<u8>()[..4], [x[0], x[0], x[1], x[1]]);
}

#[test]
fn excited_channels_are_near_the_floats() {
    let (c, hidden) = (6, 2);
    let x = bytes(2 * c * 20, 3);
    let weights: Vec<f32> = (0..c * hidden).map(|i| (i as f32 - 5.0) * 0.1).collect();
    let w1 = || floats(&[hidden, c], &weights);
    let w2 = || floats(&[c, hidden], &weights);
    let bias = || floats(&[c], &[0.1, -0.1, 0.2, 0.0, 0.5, -0.3]);
    let gates = json!({"inner": {"kind": "relu"}, "gate": {"kind": "hard_sigmoid"}});
    let mut attributes = gates.clone();
    let parameters =
        json!({"x_scale": 0.1, "x_zero_point": 128, "y_scale": 0.1, "y_zero_point": 128, "residual": true});
    attributes.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    let view = Given::Input(View::of(&[2, c, 4, 5], &x));
    let out = run("QuantizedSqueezeExcite", &[view, w1(), Given::Absent, w2(), bias()], attributes, 1);
    let numbers: Vec<f32> = x.iter().map(|&x| real(x, 0.1, 128)).collect();
    let view = Given::Input(View::of(&[2, c, 4, 5], &numbers));
    let mut attributes = gates;
    attributes["residual"] = json!(true);
    let given = [view, w1(), Given::Absent, w2(), bias()];
    let exact = run_at(Isa::SCALAR, "SqueezeExcite", &given, &attributes, 1, false).unwrap();
    for (y, f) in out[0].slice::<u8>().iter().zip(exact[0].slice::<f32>()) {
        let expected = (f / 0.1 + 128.0).clamp(0.0, 255.0);
        // Half a step of rounding, and what float32 adds where the exact number is near a half.
        assert!((f32::from(*y) - expected).abs() < 0.501, "{y} {expected}");
    }
}

#[test]
fn parameters_that_mean_nothing_are_refused() {
    let x = [1u8, 2, 3];
    let view = || Given::Input(View::of(&[3], &x));
    let with = |scale: f64, zero_point: i64| json!({"a_scale": scale, "b_scale": 1.0, "y_scale": 1.0, "a_zero_point": zero_point});
    for attributes in [with(0.0, 0), with(-1.0, 0), with(1.0, 256), json!({"a_scale": 1.0})] {
        refusal("QuantizedAdd", &[view(), view()], attributes);
    }
    let activation = json!({"a_scale": 1.0, "b_scale": 1.0, "y_scale": 1.0, "activation": {"kind": "tanh"}});
    assert!(refusal("QuantizedAdd", &[view(), view()], activation).contains("make it a table"));
    let flat = refusal("QuantizedGlobalAveragePool", &[view()], json!({"x_scale": 1.0}));
    assert!(flat.contains("one to three spatial axes"), "{flat}");
}

#[test]
fn numbers_become_bytes_and_back_by_tensor_channel_and_block() {
    let shape = [2, 4, 3, 5];
    let x: Vec<f32> = (0..120).map(|i| (i as f32 - 60.0) * 0.37).collect();
    let view = || Given::Input(View::of(&shape, &x));
    let scale = |values: &[f32]| floats(&[values.len()], values);
    let one = |zero: u8| Given::Constant(Tensor::from_slice(&[], &[zero]));
    let q = |x: f32, scale: f32, zero: u8| {
        ((x / scale).round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8
    };
    let out = run("QuantizeLinear", &[view(), scale(&[0.1]), one(100)], json!({}), 1);
    let by_tensor: Vec<u8> = x.iter().map(|&x| q(x, 0.1, 100)).collect();
    assert_eq!(out[0].slice::<u8>(), by_tensor);
    let bytes = Given::Input(View::of(&shape, &by_tensor));
    let out = run("DequantizeLinear", &[bytes, scale(&[0.1]), one(100)], json!({}), 1);
    let back: Vec<f32> = by_tensor.iter().map(|&q| (f32::from(q) - 100.0) * 0.1).collect();
    assert_eq!(out[0].slice::<f32>(), back);
    let (scales, zeros) = ([0.1f32, 0.2, 0.3, 0.4], [1u8, 2, 3, 250]);
    let out = run("QuantizeLinear", &[view(), scale(&scales), constant(&zeros)], json!({"axis": 1}), 1);
    let channel = |i: usize| i / 15 % 4;
    let expected: Vec<u8> =
        x.iter().enumerate().map(|(i, &x)| q(x, scales[channel(i)], zeros[channel(i)])).collect();
    assert_eq!(out[0].slice::<u8>(), expected);
    // Blocks of two along the last axis, the last of which is half full.
    let scales: Vec<f32> = (0..72).map(|i| 0.1 + i as f32 * 0.01).collect();
    let block = |i: usize| i / 5 * 3 + i % 5 / 2;
    let scales_of = || floats(&[2, 4, 3, 3], &scales);
    let out = run(
        "QuantizeLinear",
        &[view(), scales_of()],
        json!({"axis": -1, "block_size": 2, "output_dtype": "int16"}),
        1,
    );
    let expected: Vec<i16> =
        x.iter().enumerate().map(|(i, x)| (x / scales[block(i)]).round_ties_even() as i16).collect();
    assert_eq!(out[0].slice::<i16>(), expected);
    let input = Given::Input(View::of(&shape, &expected));
    let out = run("DequantizeLinear", &[input, scales_of()], json!({"axis": -1, "block_size": 2}), 1);
    let back: Vec<f32> = expected.iter().enumerate().map(|(i, &q)| f32::from(q) * scales[block(i)]).collect();
    assert_eq!(out[0].slice::<f32>(), back);
    let wrong = refusal("QuantizeLinear", &[view(), scales_of()], json!({"axis": -1, "block_size": 3}));
    assert!(wrong.contains("for these blocks"), "{wrong}");
}

#[test]
fn weights_by_blocks_multiply_any_rows() {
    let (n, groups, group) = (20, 3, 16);
    let b = bytes(n * groups * group / 2, 8);
    let scales: Vec<f32> = bytes(n * groups, 4).iter().map(|&x| f32::from(x) * 0.001).collect();
    let zeros: Vec<u8> = bytes(n * groups, 5).iter().map(|x| x % 16).collect();
    let bias: Vec<f32> = (0..n).map(|i| i as f32 * 0.5).collect();
    let x: Vec<f32> = bytes(2 * 5 * groups * group, 6).iter().map(|&x| f32::from(x) - 99.0).collect();
    let given = || {
        [
            Given::Input(View::of(&[2, 5, groups * group], &x)),
            Given::Constant(Tensor::from_slice(&[n, groups, group / 2], &b)),
            floats(&[n, groups], &scales),
            Given::Constant(Tensor::from_slice(&[n, groups], &zeros)),
            floats(&[n], &bias),
        ]
    };
    let attributes = json!({"bits": 4, "group_size": group, "activation": {"kind": "relu"}});
    let out = run("BlockQuantizedMatMul", &given(), attributes.clone(), 1);
    assert_eq!(out[0].shape(), [2, 5, n]);
    let depth = groups * group;
    for (i, &y) in out[0].slice::<f32>().iter().enumerate() {
        let (row, column) = (&x[i / n * depth..][..depth], i % n);
        let (mut exact, mut bound) = (bias[column], 1e-3f32);
        for (k, &x) in row.iter().enumerate() {
            let q = b[(column * depth + k) / 2] >> (k % 2 * 4) & 15;
            let entry = column * groups + k / group;
            let w = (f32::from(q) - f32::from(zeros[entry])) * scales[entry];
            exact += x * w;
            // Half a step of rounding of each activation, of which none is above 156.
            bound += w.abs() * 156.0 / 127.0 * 0.51;
        }
        assert!((y - exact.max(0.0)).abs() <= bound, "{y} {exact} {bound}");
    }
    let wrong = refusal("BlockQuantizedMatMul", &given(), json!({"bits": 8, "group_size": group}));
    assert!(wrong.contains("packed weights"), "{wrong}");
    let mut free = given();
    free[1] = Given::Input(View::of(&[n, groups, group / 2], &b));
    assert!(refusal("BlockQuantizedMatMul", &free, attributes).contains("no constants"));
}

#[test]
fn standard_integer_products_take_zero_points_by_row_column_and_channel() {
    let (a, b) = (bytes(2 * 3 * 4, 1), bytes(2 * 4 * 5, 2));
    let b: Vec<i8> = b.into_iter().map(|x| x as i8).collect();
    let rows = Given::Constant(Tensor::from_slice(&[3], &[10u8, 200, 0]));
    let columns = Given::Constant(Tensor::from_slice(&[5], &[-5i8, 0, 100, -128, 3]));
    let (zero_a, zero_b) = ([10, 200, 0], [-5, 0, 100, -128, 3]);
    let (a_view, b_view) =
        (|| Given::Input(View::of(&[2, 3, 4], &a)), || Given::Input(View::of(&[2, 4, 5], &b)));
    let sum = |i: usize, with_rows: bool| {
        let (n, m, column) = (i / 15, i / 5 % 3, i % 5);
        let zero = if with_rows { zero_a[m] } else { 100 };
        (0..4)
            .map(|k| {
                (i32::from(a[(n * 3 + m) * 4 + k]) - zero)
                    * (i32::from(b[(n * 4 + k) * 5 + column]) - zero_b[column])
            })
            .sum::<i32>()
    };
    let out = run("MatMulInteger", &[a_view(), b_view(), rows, columns], json!({}), 1);
    assert_eq!(out[0].slice::<i32>(), (0..30).map(|i| sum(i, true)).collect::<Vec<_>>());
    let one = |value: f32| floats(&[], &[value]);
    let scales = [0.01f32, 0.02, 0.03, 0.04, 0.05];
    let given = [
        a_view(),
        one(0.1),
        Given::Constant(Tensor::from_slice(&[1], &[100u8])),
        b_view(),
        floats(&[5], &scales),
        Given::Constant(Tensor::from_slice(&[5], &[-5i8, 0, 100, -128, 3])),
        one(3.0),
        Given::Constant(Tensor::from_slice(&[], &[50u8])),
    ];
    let out = run("QLinearMatMul", &given, json!({}), 1);
    let expected: Vec<u8> = (0..30)
        .map(|i| {
            let multiplier = f64::from(0.1f32 * scales[i % 5] / 3.0);
            ((f64::from(sum(i, false)) * multiplier).round_ties_even() + 50.0).clamp(0.0, 255.0) as u8
        })
        .collect();
    assert_eq!(out[0].slice::<u8>(), expected);
    let wrong = [a_view(), b_view(), Given::Constant(Tensor::from_slice(&[1], &[1i8]))];
    assert!(refusal("MatMulInteger", &wrong, json!({})).contains("expected a uint8"));
}

#[test]
fn depthwise_convolutions_follow_the_formula() {
    let (c, h, w) = (70, 6, 7);
    let x = bytes(c * h * w, 1);
    let weights: Vec<i8> = bytes(c * 9, 2).into_iter().map(|w| w as i8).collect();
    let multiplier: Vec<f32> = (0..c).map(|c| 1e-4 * (c + 1) as f32).collect();
    let given = [
        Given::Input(View::of(&[1, c, h, w], &x)),
        Given::Constant(Tensor::from_slice(&[c, 1, 3, 3], &weights)),
        floats(&[c], &multiplier),
    ];
    let attributes = json!({
        "group": c, "pads": [1, 1, 1, 1], "x_zero_point": 99, "y_scale": 0.05, "y_zero_point": 12,
        "activation": {"kind": "relu"},
    });
    let out = run("QuantizedConv", &given, attributes, 1);
    for (i, &y) in out[0].slice::<u8>().iter().enumerate() {
        let (channel, row, column) = (i / (h * w), i / w % h, i % w);
        let mut sum = 0;
        for ky in 0..3 {
            for kx in 0..3 {
                let (row, column) = (row + ky, column + kx);
                if (1..=h).contains(&row) && (1..=w).contains(&column) {
                    let x = i32::from(x[(channel * h + row - 1) * w + column - 1]) - 99;
                    sum += x * i32::from(weights[channel * 9 + ky * 3 + kx]);
                }
            }
        }
        // Counted in steps of the output.
        let steps = sum as f32 * (f64::from(multiplier[channel]) / f64::from(0.05f32)) as f32;
        assert_eq!(y, byte(steps.max(0.0), 1.0, 12));
    }
}

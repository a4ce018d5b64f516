pub(crate) mod allocation;
mod random_programs;
mod strips;
mod toy;

use crate::op::EngineError;
use crate::ops::Build;
use crate::{Engine, Options, Program};
use serde_json::{Value, json};
use vedette_tensor::{DType, Tensor, View};

/// A program over `values` values whose first are inputs of these shapes (float32 unless `int64`), then constants.
pub(super) struct Builder {
    inputs: Vec<Value>,
    constants: Vec<usize>,
    tensors: Vec<Tensor>,
    nodes: Vec<Value>,
    values: usize,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder { inputs: vec![], constants: vec![], tensors: vec![], nodes: vec![], values: 0 }
    }

    fn value(&mut self) -> usize {
        self.values += 1;
        self.values - 1
    }

    pub(super) fn input(&mut self, dtype: &str, shape: Value) -> usize {
        let value = self.value();
        let name = format!("in{}", self.inputs.len());
        self.inputs.push(json!({"value": value, "name": name, "dtype": dtype, "shape": shape}));
        value
    }

    pub(super) fn constant(&mut self, tensor: Tensor) -> usize {
        let value = self.value();
        self.constants.push(value);
        self.tensors.push(tensor);
        value
    }

    pub(super) fn ints(&mut self, values: &[i64]) -> usize {
        self.constant(Tensor::from_slice(&[values.len()], values))
    }

    pub(super) fn nodes(
        &mut self,
        op: &str,
        inputs: &[usize],
        outputs: usize,
        attributes: Value,
    ) -> Vec<usize> {
        let made: Vec<usize> = (0..outputs).map(|_| self.value()).collect();
        let name = format!("n{}", self.nodes.len());
        self.nodes.push(
            json!({"op": op, "name": name, "inputs": inputs, "outputs": made, "attributes": attributes}),
        );
        made
    }

    pub(super) fn node(&mut self, op: &str, inputs: &[usize]) -> usize {
        self.nodes(op, inputs, 1, json!({}))[0]
    }

    pub(super) fn transpose(&mut self, input: usize, perm: &[usize]) -> usize {
        self.nodes("Transpose", &[input], 1, json!({"perm": perm}))[0]
    }

    pub(super) fn build_with(
        self,
        outputs: &[usize],
        memory_limit: Option<usize>,
    ) -> Result<Engine, EngineError> {
        self.build_of(outputs, memory_limit, toy::find)
    }

    /// An engine of these operators.
    fn build_of(
        self,
        outputs: &[usize],
        memory_limit: Option<usize>,
        find: fn(&str) -> Option<Build>,
    ) -> Result<Engine, EngineError> {
        self.engine(outputs, Options { threads: 2, memory_limit, ..Options::default() }, find)
    }

    /// An engine of these operators that runs in that way.
    fn engine(
        self,
        outputs: &[usize],
        options: Options,
        find: fn(&str) -> Option<Build>,
    ) -> Result<Engine, EngineError> {
        let outputs: Vec<Value> =
            outputs.iter().map(|id| json!({"value": id, "name": format!("v{id}")})).collect();
        let text = json!({
            "version": 1, "values": self.values, "inputs": self.inputs, "outputs": outputs,
            "constants": self.constants, "nodes": self.nodes,
        });
        Engine::with_operators(Program::parse(&text.to_string())?, self.tensors, options, find)
    }

    pub(super) fn build(self, outputs: &[usize]) -> Engine {
        self.build_with(outputs, None).unwrap()
    }
}

fn count(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

fn arena_of(engine: &Engine) -> usize {
    engine.memory().arena
}

#[test]
fn a_chain_of_steps_runs_in_the_memory_of_its_output() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let a = b.node("Double", &[x]);
    let c = b.node("Add", &[a, x]);
    let d = b.node("Add", &[c, x]);
    let engine = b.build(&[d]);
    let data = count(1000);
    let y = engine.run(&[View::of(&[1000], &data)]).unwrap();
    assert_eq!(y[0].slice::<f32>(), data.iter().map(|x| x * 4.0).collect::<Vec<_>>());
    // Only the scratch memory of the first step: every value was made where the output is.
    assert_eq!(arena_of(&engine), 4032);
}

#[test]
fn in_place_spares_whatever_is_still_read() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([6]));
    let a = b.node("Double", &[x]);
    let halves = b.nodes("Halves", &[a], 2, json!({}));
    let sum = b.node("Add", &[halves[0], halves[1]]);
    let twice = b.node("Add", &[a, a]);
    let again = b.node("Add", &[twice, a]);
    let engine = b.build(&[sum, again, a, x]);
    let data = count(6);
    let y = engine.run(&[View::of(&[6], &data)]).unwrap();
    assert_eq!(y[0].slice::<f32>(), [6., 10., 14.]);
    assert_eq!(y[1].slice::<f32>(), [0., 6., 12., 18., 24., 30.]);
    assert_eq!(y[2].slice::<f32>(), [0., 2., 4., 6., 8., 10.]);
    assert_eq!(y[3].slice::<f32>(), data);
}

#[test]
fn transposing_a_channels_last_tensor_and_back_costs_nothing() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, null, null]));
    let last = b.node("ChannelsLast", &[x]);
    let turned = b.transpose(last, &[0, 2, 1]);
    let shape = b.node("Shape", &[turned]);
    let y = b.node("Reshape", &[turned, shape]);
    let engine = b.build(&[y]);
    let data = count(24);
    let view = View::of(&[2, 3, 4], &data);
    let (out, profile) = engine.profile(std::slice::from_ref(&view)).unwrap();
    assert_eq!(out[0].slice::<f32>(), view.permuted(&[0, 2, 1]).to_vec::<f32>());
    assert_eq!(profile.iter().map(|entry| entry.op.as_str()).collect::<Vec<_>>(), ["ChannelsLast"]);
    assert_eq!(arena_of(&engine), 0);
}

#[test]
fn what_is_transposed_and_reshaped_is_written_in_that_order() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([2, 3, 4]));
    let doubled = b.node("Double", &[x]);
    let turned = b.transpose(doubled, &[2, 0, 1]);
    let shape = b.ints(&[4, 6]);
    let y = b.node("Reshape", &[turned, shape]);
    let engine = b.build(&[y]);
    let data = count(24);
    let (out, profile) = engine.profile(&[View::of(&[2, 3, 4], &data)]).unwrap();
    assert_eq!(out[0].slice::<f32>()[..4], [0., 8., 16., 24.]);
    assert_eq!(profile.iter().map(|entry| entry.op.as_str()).collect::<Vec<_>>(), ["Double"]);
}

#[test]
fn what_only_shapes_decide_is_computed_while_planning() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, 2]));
    let big = b.node("Double", &[x]);
    let shape = b.node("Shape", &[big]);
    let zeros = b.node("Zeros", &[shape]);
    let y = b.node("Add", &[zeros, zeros]);
    let dead = b.node("Double", &[big]);
    let engine = b.build(&[y]);
    let _ = dead;
    let (out, profile) = engine.profile(&[View::of(&[2, 2], &count(4))]).unwrap();
    assert_eq!((out[0].shape(), out[0].slice::<f32>()), ([2, 2].as_slice(), [0.0; 4].as_slice()));
    assert_eq!(profile.iter().map(|entry| entry.op.as_str()).collect::<Vec<_>>(), ["Copy"]);
}

#[test]
fn values_of_the_run_decide_shapes() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let shape = b.input("int64", json!([null]));
    let n = b.input("int64", json!([1]));
    let a = b.node("Double", &[x]);
    let early = b.node("Add", &[a, x]);
    let b1 = b.node("Reshape", &[a, shape]);
    let c = b.node("Add", &[b1, b1]);
    let range = b.node("Range", &[n]);
    let d = b.node("Add", &[range, a]);
    let engine = b.build(&[c, early, d, a]);
    let data = count(6);
    for (shape, n) in [([2i64, 3], 6i64), ([3, 2], 6), ([6, 1], 6), ([2, 3], 6)] {
        let inputs =
            [View::of(&[6], &data), View::of(&[2], &shape), View::of(&[1], std::slice::from_ref(&n))];
        let y = engine.run(&inputs).unwrap();
        assert_eq!(y[0].shape(), shape.map(|dim| dim as usize));
        assert_eq!(y[0].slice::<f32>(), [0., 4., 8., 12., 16., 20.]);
        assert_eq!(y[1].slice::<f32>(), [0., 3., 6., 9., 12., 15.]);
        assert_eq!(y[2].slice::<f32>(), [0., 3., 6., 9., 12., 15.]);
        assert_eq!(y[3].slice::<f32>(), [0., 2., 4., 6., 8., 10.]);
    }
    let wrong = [View::of(&[6], &data), View::of(&[2], &[2i64, 3]), View::of(&[1], &[5i64])];
    assert!(matches!(engine.run(&wrong), Err(EngineError::Invalid(_))));
}

#[test]
fn packed_constants_are_dropped_once_nobody_reads_them() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let weights = b.constant(Tensor::from_slice(&[4], &[1.0f32, 2.0, 3.0, 4.0]));
    let unread = b.ints(&[1; 100]);
    let a = b.node("AddPacked", &[x, weights]);
    let y = b.node("AddPacked", &[a, weights]);
    let engine = b.build(&[y]);
    let _ = unread;
    assert_eq!((engine.memory().constants, engine.memory().packed), (16, 0));
    for _ in 0..2 {
        let y = engine.run(&[View::of(&[4], &[0.0f32; 4])]).unwrap();
        assert_eq!(y[0].slice::<f32>(), [2., 4., 6., 8.]);
        let y = engine.run(&[View::of(&[2, 2], &[0.0f32; 4])]);
        assert!(y.is_err());
        assert_eq!((engine.memory().constants, engine.memory().packed), (0, 32));
    }
}

#[test]
fn the_first_run_leaves_nothing_to_whoever_kept_the_constants() {
    let owner = std::sync::Arc::new([1.0f32, 2.0, 3.0, 4.0]);
    // SAFETY: the array lives as long as its owner, and nobody writes it.
    let kept = || unsafe { Tensor::kept_by(owner.clone(), &View::of(&[4], &owner[..])) };
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let [packed, read, folded, seen] = std::array::from_fn(|_| b.constant(kept()));
    let mut y = b.node("AddPacked", &[x, packed]);
    let doubled = b.node("Double", &[folded]);
    for operand in [read, doubled] {
        y = b.node("Add", &[y, operand]);
    }
    let halves = b.nodes("Halves", &[seen], 2, json!({}));
    let engine = b.build(&[y, halves[1]]);
    assert_eq!(std::sync::Arc::strong_count(&owner), 5);
    for _ in 0..2 {
        let y = engine.run(&[View::of(&[4], &[0.0f32; 4])]).unwrap();
        assert_eq!(
            (y[0].slice::<f32>(), y[1].slice::<f32>()),
            (&[4.0, 8.0, 12.0, 16.0][..], &[3.0, 4.0][..])
        );
        assert_eq!(std::sync::Arc::strong_count(&owner), 1);
    }
}

#[test]
fn nodes_that_read_constants_only_run_once_for_all_plans() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let c = b.constant(Tensor::from_slice(&[2], &[1.0f32, 2.0]));
    let c2 = b.node("Double", &[c]);
    let halves = b.nodes("Halves", &[c2], 2, json!({}));
    let y = b.node("Add", &[x, halves[1]]);
    let engine = b.build(&[y, c2]);
    for n in [1, 1] {
        let y = engine.run(&[View::of(&[n], &[1.0f32])]).unwrap();
        assert_eq!(y[0].slice::<f32>(), [5.0]);
        assert_eq!(y[1].slice::<f32>(), [2.0, 4.0]);
    }
    // The constant itself is gone; its double is read as an output.
    assert_eq!(engine.memory().constants, 8);
}

#[test]
fn inputs_of_any_strides_are_read() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, null]));
    let y = b.node("Double", &[x]);
    let engine = b.build(&[y]);
    let data = count(12);
    let view = View::of(&[3, 4], &data);
    let turned = view.permuted(&[1, 0]);
    // SAFETY: every other column, and the rows backwards, are within the 12 elements.
    let sliced = unsafe { view.reinterpret([3, 2].as_slice().into(), [-4, 2].as_slice().into(), 8) };
    for input in [view.clone(), turned, sliced, view.broadcast_to(&[3, 4]).unwrap()] {
        let y = engine.run(std::slice::from_ref(&input)).unwrap();
        assert_eq!(y[0].slice::<f32>(), input.to_vec::<f32>().iter().map(|x| x * 2.0).collect::<Vec<_>>());
    }
}

#[test]
fn empty_tensors_pass_through() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, 3]));
    let a = b.node("Double", &[x]);
    let t = b.transpose(a, &[1, 0]);
    let y = b.node("Add", &[t, t]);
    let engine = b.build(&[y]);
    let y = engine.run(&[View::of::<f32>(&[0, 3], &[])]).unwrap();
    assert_eq!(y[0].shape(), [3, 0]);
}

#[test]
fn refusals_name_the_input_or_the_node() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, 3]));
    let t = b.transpose(x, &[1, 0]);
    let y = b.node("Add", &[x, t]);
    let engine = b.build(&[y]);
    let say = |views: &[View<'_>]| engine.run(views).unwrap_err().to_string();
    assert_eq!(say(&[]), "expected 1 input, got 0");
    assert_eq!(
        say(&[View::of(&[3], &[0f64; 3])]),
        "input \"in0\": expected float32 [?, 3], got float64 (3,)"
    );
    assert_eq!(
        say(&[View::of(&[1, 2], &[0f32; 2])]),
        "input \"in0\": expected float32 [?, 3], got float32 (1, 2)"
    );
    assert_eq!(say(&[View::of(&[1, 3], &[0f32; 3])]), "node \"n1\" (Add): shapes [1, 3] and [3, 1] differ");
    assert!(engine.run(&[View::of(&[3, 3], &[0f32; 9])]).is_ok());

    let mut b = Builder::new();
    let x = b.input("float32", json!([2]));
    let y = b.node("Nothing", &[x]);
    let z = b.node("Nowhere", &[y]);
    let Err(EngineError::Unsupported(message)) = b.build_with(&[z], None) else { panic!("unsupported") };
    assert!(message.contains("n0") && message.contains("n1") && message.contains("2 of 2 nodes"));
}

#[test]
fn operators_cannot_lead_outside_their_memory_or_wait_for_ever() {
    for op in ["Stray", "AsksAgain"] {
        let mut b = Builder::new();
        let x = b.input("float32", json!([2]));
        let y = b.node(op, &[x]);
        let engine = b.build(&[y]);
        assert!(matches!(engine.run(&[View::of(&[2], &[0f32; 2])]), Err(EngineError::Invalid(_))));
    }
}

#[test]
fn more_memory_than_allowed_is_refused_before_it_is_taken() {
    let sizes: [&[i64]; 4] = [&[1 << 40], &[1 << 31, 1 << 31, 1 << 31], &[-1], &[1 << 20]];
    for shape in sizes {
        let mut b = Builder::new();
        let x = b.input("int64", json!([null]));
        let a = b.node("Zeros", &[x]);
        let y = b.node("Double", &[a]);
        let engine = b.build_with(&[y], Some(1 << 20)).unwrap();
        let result = engine.run(&[View::of(&[shape.len()], shape)]);
        assert!(matches!(result, Err(EngineError::Memory(_))), "{shape:?}");
    }
    // Each tensor fits, all together do not.
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let made: Vec<usize> = (0..8).map(|_| b.node("Double", &[x])).collect();
    let engine = b.build_with(&made, Some(1 << 16)).unwrap();
    assert!(engine.run(&[View::of(&[100], &count(100))]).is_ok());
    let result = engine.run(&[View::of(&[4000], &count(4000))]);
    assert!(matches!(result, Err(EngineError::Memory(_))));
}

#[test]
fn several_threads_run_one_engine_at_different_shapes() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, null]));
    let mut last = x;
    for i in 0..12 {
        let a = b.node(if i % 3 == 0 { "ChannelsLast" } else { "Double" }, &[last]);
        last = b.node("Add", &[a, x]);
    }
    let engine = b.build(&[last]);
    let expected = |data: &[f32], n: usize| {
        data[..n]
            .iter()
            .map(|&x| (0..12).fold(x, |y, i| if i % 3 == 0 { y + x } else { 2.0 * y + x }))
            .collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (engine, expected) = (&engine, &expected);
            scope.spawn(move || {
                let data = count(4000);
                for round in 0..60 {
                    let rows = 1 + (thread * 7 + round) % 40;
                    let y = engine.run(&[View::of(&[rows, 100], &data[..rows * 100])]).unwrap();
                    assert_eq!(y[0].slice::<f32>(), expected(&data, rows * 100));
                }
            });
        }
    });
}

#[test]
fn outputs_are_reused_where_they_fit() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let y = b.node("Double", &[x]);
    let engine = b.build(&[y]);
    let mut outputs = vec![Tensor::zeros(DType::F32, &[3]).unwrap()];
    let before = outputs[0].as_ptr();
    engine.run_into(&[View::of(&[3], &[1f32, 2., 3.])], &mut outputs).unwrap();
    assert_eq!((outputs[0].as_ptr(), outputs[0].slice::<f32>()), (before, [2f32, 4., 6.].as_slice()));
    engine.run_into(&[View::of(&[1], &[4f32])], &mut outputs).unwrap();
    assert_eq!(outputs[0].slice::<f32>(), [8.0]);
}

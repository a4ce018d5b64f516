//! Programs from arbitrary bytes, for fuzzing: whatever they say, the engine runs them or refuses them.

use serde_json::{Map, Value, json};
use vedette_engine::{Engine, Options, Program, supported_operators};
use vedette_tensor::{DType, Tensor};

/// Bytes that a fuzzed program may use, so that hostile sizes are refused rather than computed.
const MEMORY_LIMIT: usize = 1 << 20;

/// Attribute names of the operators, each with values that are likely to get past the first check.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    (
        "activation",
        &[r#"{"kind": "relu"}"#, r#"{"kind": "clip", "min": 1, "max": 0}"#, r#"{"kind": "silu"}"#],
    ),
    ("auto_pad", &[r#""NOTSET""#, r#""SAME_UPPER""#, r#""SAME_LOWER""#, r#""VALID""#]),
    (
        "mode",
        &[r#""nearest""#, r#""linear""#, r#""cubic""#, r#""reflect""#, r#""wrap""#, r#""edge""#, r#""CRD""#],
    ),
    ("coordinate_transformation_mode", &[r#""half_pixel""#, r#""align_corners""#, r#""tf_crop_and_resize""#]),
    ("keep_aspect_ratio_policy", &[r#""stretch""#, r#""not_larger""#, r#""not_smaller""#]),
    ("reduction", &[r#""none""#, r#""add""#, r#""max""#]),
    ("to", &[r#""float32""#, r#""int64""#, r#""bool""#, r#""float16""#, r#""uint8""#, "1", "7"]),
    ("dtype", &[r#""float32""#, r#""int64""#]),
    ("direction", &[r#""LEFT""#, r#""RIGHT""#]),
    ("inner", &[r#"{"kind": "relu"}"#]),
    ("gate", &[r#"{"kind": "hard_sigmoid"}"#]),
];

const INTEGERS: &[&str] = &[
    "axis",
    "group",
    "ceil_mode",
    "keepdims",
    "blocksize",
    "largest",
    "sorted",
    "select_last_index",
    "num_outputs",
    "batch_dims",
    "count_include_pad",
    "noop_with_empty_axes",
    "exclusive",
    "reverse",
    "trans_a",
    "trans_b",
    "p",
    "size",
    "start",
    "end",
    "allowzero",
    "center_point_box",
    "residual",
    "antialias",
    "exclude_outside",
    "upper",
    "block_size",
    "x_zero_point",
    "y_zero_point",
    "a_zero_point",
    "b_zero_point",
    "residual_zero_point",
    "bits",
    "group_size",
];

const LISTS: &[&str] = &[
    "perm",
    "axes",
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "output_padding",
    "output_shape",
    "split",
    "zero_points",
    "scales",
];

const NUMBERS: &[&str] = &[
    "alpha",
    "beta",
    "epsilon",
    "gamma",
    "bias",
    "lambd",
    "cubic_coeff_a",
    "extrapolation_value",
    "x_scale",
    "y_scale",
    "a_scale",
    "b_scale",
    "residual_scale",
];

/// Choices read from bytes, and when these run out, from a generator seeded by them.
struct Choices<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl<'a> Choices<'a> {
    fn new(bytes: &'a [u8]) -> Choices<'a> {
        // FNV-1a.
        let state = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |state, &byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Choices { bytes, state: state | 1 }
    }

    fn below(&mut self, n: usize) -> usize {
        if let Some((&byte, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            return usize::from(byte) % n;
        }
        // xorshift64.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Mostly small, sometimes as large as integers get.
    fn integer(&mut self) -> i64 {
        match self.below(60) {
            0 => i64::MAX,
            1 => i64::MIN,
            2 => 1 << 31,
            3 => 100_000,
            n => n as i64 % 6 - 1,
        }
    }

    fn number(&mut self) -> f64 {
        match self.below(12) {
            0 => 1e30,
            1 => -0.0,
            n => n as f64 / 4.0 - 1.0,
        }
    }

    fn integers(&mut self) -> Vec<i64> {
        (0..self.below(5)).map(|_| self.integer()).collect()
    }

    fn dim(&mut self) -> usize {
        [1, 2, 3, 4, 5, 8, 2, 3, 4, 1, 2, 0][self.below(12)]
    }

    /// A shape that often fits another.
    fn shape_near(&mut self, base: &[usize]) -> Vec<usize> {
        match self.below(4) {
            0 | 1 => base.to_vec(),
            2 => base.iter().map(|&dim| if self.one_in(2) { 1 } else { dim }).collect(),
            _ => (0..self.below(6)).map(|_| self.dim()).collect(),
        }
    }

    fn attributes(&mut self) -> Map<String, Value> {
        let mut attributes = Map::new();
        for &(name, choices) in ATTRIBUTES {
            if !self.one_in(6) {
                let text = choices[self.below(choices.len())];
                attributes.insert(name.to_owned(), serde_json::from_str(text).unwrap_or_default());
            }
        }
        for &name in INTEGERS {
            if self.one_in(3) {
                attributes.insert(name.to_owned(), json!(self.integer()));
            }
        }
        for &name in LISTS {
            if self.one_in(3) {
                attributes.insert(name.to_owned(), json!(self.integers()));
            }
        }
        for &name in NUMBERS {
            if self.one_in(3) {
                attributes.insert(name.to_owned(), json!(self.number()));
            }
        }
        attributes
    }

    fn tensor(&mut self, dtype: DType, shape: &[usize]) -> Option<Tensor> {
        let count: usize = shape.iter().product();
        match dtype {
            DType::I64 => {
                Some(Tensor::from_slice(shape, &(0..count).map(|_| self.integer()).collect::<Vec<_>>()))
            }
            DType::F32 => {
                let numbers: Vec<f32> = (0..count).map(|_| self.number() as f32).collect();
                Some(Tensor::from_slice(shape, &numbers))
            }
            dtype => Tensor::zeros(dtype, shape).ok(),
        }
    }

    fn dtype(&mut self) -> DType {
        [
            DType::F32,
            DType::F32,
            DType::F32,
            DType::I64,
            DType::I64,
            DType::Bool,
            DType::U8,
            DType::U8,
            DType::U8,
            DType::I8,
            DType::F64,
            DType::F16,
        ][self.below(12)]
    }
}

/// Reads a program out of the bytes, as JSON text or as choices among the engine's operators, and runs it.
///
/// # Panics
/// Where the engine has a defect.
pub fn fuzz_program(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    if kind == 0 {
        if let Ok(program) = Program::parse(&String::from_utf8_lossy(rest)) {
            run(program, Vec::new(), &mut Choices::new(rest));
        }
        return;
    }
    let mut choices = Choices::new(rest);
    let (text, constants) = generate(&mut choices);
    let Ok(program) = Program::parse(&text) else { unreachable!("generated programs are sound") };
    run(program, constants, &mut choices);
}

fn generate(choices: &mut Choices<'_>) -> (String, Vec<Tensor>) {
    let operators = supported_operators();
    let (mut inputs, mut constants, mut tensors, mut nodes) = (vec![], vec![], vec![], vec![]);
    let mut values = 0usize;
    let base: Vec<usize> = (0..[4, 4, 4, 3, 2, 1, 5, 7][choices.below(8)]).map(|_| choices.dim()).collect();
    for i in 0..=choices.below(3) {
        let (dtype, shape) = (choices.dtype().name(), choices.shape_near(&base));
        let dims: Vec<Value> = shape.iter().map(|&dim| json!(dim)).collect();
        inputs.push(json!({"value": values, "name": format!("in{i}"), "dtype": dtype, "shape": dims}));
        values += 1;
    }
    for _ in 0..choices.below(5) {
        let (dtype, shape) = match choices.below(3) {
            // Axes, sizes, pads.
            0 => (DType::I64, vec![[1, 1, 2, base.len(), 2 * base.len()][choices.below(5)]]),
            // Weights.
            1 => {
                let rank = base.len().max(2);
                let channels = base.get(1).copied().unwrap_or(1);
                let shape: Vec<usize> =
                    (0..rank).map(|axis| if axis == 1 { channels } else { choices.dim() }).collect();
                ([DType::F32, DType::I8][choices.below(2)], shape)
            }
            _ => (choices.dtype(), choices.shape_near(&base)),
        };
        if let Some(tensor) = choices.tensor(dtype, &shape) {
            tensors.push(tensor);
            constants.push(values);
            values += 1;
        }
    }
    let made_from = values;
    for i in 0..[1, 1, 2, 3, 5][choices.below(5)] {
        let op = operators.get(choices.below(operators.len().max(1))).copied().unwrap_or("Add");
        let read: Vec<Option<usize>> = (0..[1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 0][choices.below(11)])
            // Later values are read more often, so that chains form.
            .map(|_| {
                let id = values - 1 - choices.below(values).min(choices.below(values));
                if choices.one_in(20) { None } else { Some(id) }
            })
            .collect();
        let outputs: Vec<usize> =
            (0..[1, 1, 1, 1, 1, 1, 2, 3][choices.below(8)]).map(|k| values + k).collect();
        values += outputs.len();
        nodes.push(json!({
            "op": op, "name": format!("n{i}"), "inputs": read, "outputs": outputs,
            "attributes": choices.attributes(),
        }));
    }
    let outputs: Vec<Value> = (made_from..values)
        .filter(|id| choices.below(2) == 0 || id + 1 == values)
        .map(|id| json!({"value": id, "name": format!("v{id}")}))
        .collect();
    let program = json!({
        "version": 1, "values": values, "inputs": inputs, "outputs": outputs, "constants": constants, "nodes": nodes,
    });
    (program.to_string(), tensors)
}

fn run(program: Program, constants: Vec<Tensor>, choices: &mut Choices<'_>) {
    let mut inputs = Vec::new();
    for input in &program.inputs {
        let shape: Vec<usize> =
            input.shape.iter().map(|dim| dim.unwrap_or_else(|| choices.below(5))).collect();
        let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
        if count.is_none_or(|count| count > 1 << 12) {
            return;
        }
        let Some(tensor) = choices.tensor(input.dtype, &shape) else { return };
        inputs.push(tensor);
    }
    let options = Options { threads: 1, isa: None, memory_limit: Some(MEMORY_LIMIT), ..Options::default() };
    let Ok(engine) = Engine::new(program, constants, options) else { return };
    let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
    // The second run uses what the first left: plans, packed weights, memory.
    for _ in 0..2 {
        let _refusal_is_fine = engine.run(&views);
    }
}

//! The program: what Python lowers a model to. Parsed from outside text, so nothing in it is trusted.

use crate::attributes::Attributes;
use crate::op::EngineError;
use serde::Deserialize;
use serde_json::{Map, Value};
use vedette_tensor::DType;

/// Index of a value: an input, a constant or the output of a node.
pub type ValueId = usize;

/// Bytes of JSON beyond which a program is refused. Large models have a few megabytes; the parsed form of dense text
/// can be some 30 times as large.
const MAX_TEXT: usize = 32 << 20;

/// Axes beyond which an input is refused; NumPy's own limit is 64.
const MAX_RANK: usize = 32;

/// An input of the program.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// The value it becomes.
    pub value: ValueId,
    /// Its name, for messages.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Shape; `None` where any size is accepted.
    pub shape: Vec<Option<usize>>,
}

/// An output of the program.
#[derive(Clone, Debug, Deserialize)]
pub struct OutputSpec {
    /// The value it shows.
    pub value: ValueId,
    /// Its name, for messages.
    pub name: String,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// Operator name.
    pub op: String,
    /// The node's own name, for messages and profiles.
    pub name: String,
    /// Values read; `None` where an optional input is absent.
    pub inputs: Vec<Option<ValueId>>,
    /// Values made; `None` where nobody asks for an optional output.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes.
    pub attributes: Attributes,
}

impl Node {
    /// `"name" (op)`, cut to a length fit for a message.
    pub fn label(&self) -> String {
        format!("node \"{}\" ({})", shorten(&self.name), shorten(&self.op))
    }
}

/// A validated program: ids are in range, every value is made once and before it is read.
#[derive(Clone, Debug)]
pub struct Program {
    /// Number of values; ids are below it.
    pub values: usize,
    /// Inputs, in the order of the caller's arguments.
    pub inputs: Vec<InputSpec>,
    /// Outputs, in the order they are returned.
    pub outputs: Vec<OutputSpec>,
    /// Constant values, parallel to the tensors given beside the program.
    pub constants: Vec<ValueId>,
    /// Nodes, each after those whose outputs it reads.
    pub nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct RawProgram {
    version: u64,
    values: usize,
    inputs: Vec<RawInput>,
    outputs: Vec<OutputSpec>,
    constants: Vec<ValueId>,
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawInput {
    value: ValueId,
    name: String,
    dtype: String,
    shape: Vec<Option<usize>>,
}

#[derive(Deserialize)]
struct RawNode {
    op: String,
    #[serde(default)]
    name: String,
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<Option<ValueId>>,
    #[serde(default)]
    attributes: Map<String, Value>,
}

/// The text, cut to a length fit for a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn invalid(message: String) -> EngineError {
    EngineError::Invalid(message)
}

impl Program {
    /// Parses and validates the JSON form.
    pub fn parse(text: &str) -> Result<Program, EngineError> {
        if text.len() > MAX_TEXT {
            return Err(invalid(format!("the program has {} bytes, more than {MAX_TEXT}", text.len())));
        }
        let raw: RawProgram = serde_json::from_str(text)
            .map_err(|error| invalid(format!("the program is not as expected: {error}")))?;
        if raw.version != 1 {
            return Err(EngineError::Unsupported(format!(
                "program version {}; this engine reads version 1",
                raw.version
            )));
        }
        // Tables have one entry a value, so a number that no text of this length can use is refused before they are made.
        if raw.values > text.len() {
            return Err(invalid(format!("{} values in a program of {} bytes", raw.values, text.len())));
        }
        let inputs = raw.inputs.into_iter().map(InputSpec::try_from).collect::<Result<Vec<_>, _>>()?;
        let nodes = raw.nodes.into_iter().map(Node::from).collect();
        let program =
            Program { values: raw.values, inputs, outputs: raw.outputs, constants: raw.constants, nodes };
        program.check_order()?;
        Ok(program)
    }

    fn check_order(&self) -> Result<(), EngineError> {
        let mut made = vec![false; self.values];
        let mut make = |id: ValueId, by: &dyn Fn() -> String| match made.get_mut(id) {
            None => {
                Err(invalid(format!("{} makes value {id}, but there are only {} values", by(), self.values)))
            }
            Some(true) => Err(invalid(format!("{} makes value {id}, which is made already", by()))),
            Some(slot) => {
                *slot = true;
                Ok(())
            }
        };
        for input in &self.inputs {
            make(input.value, &|| format!("input \"{}\"", shorten(&input.name)))?;
        }
        for (i, &id) in self.constants.iter().enumerate() {
            make(id, &|| format!("constant {i}"))?;
        }
        // Outputs of later nodes are not made yet, so a cycle shows as reading a value before it is made.
        let mut order = vec![usize::MAX; self.values];
        for (index, node) in self.nodes.iter().enumerate() {
            for &id in node.outputs.iter().flatten() {
                make(id, &|| node.label())?;
                order[id] = index;
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for &id in node.inputs.iter().flatten() {
                match made.get(id) {
                    Some(true) if order[id] == usize::MAX || order[id] < index => {}
                    Some(true) => {
                        return Err(invalid(format!(
                            "{} reads value {id} before it is made (nodes must be in order and without cycles)",
                            node.label()
                        )));
                    }
                    _ => {
                        return Err(invalid(format!(
                            "{} reads value {id}, which nothing makes",
                            node.label()
                        )));
                    }
                }
            }
        }
        for output in &self.outputs {
            if made.get(output.value) != Some(&true) {
                let name = shorten(&output.name);
                return Err(invalid(format!(
                    "output \"{name}\" is value {}, which nothing makes",
                    output.value
                )));
            }
        }
        Ok(())
    }
}

impl TryFrom<RawInput> for InputSpec {
    type Error = EngineError;

    fn try_from(raw: RawInput) -> Result<InputSpec, EngineError> {
        let name = shorten(&raw.name);
        let dtype = DType::from_name(&raw.dtype).ok_or_else(|| {
            invalid(format!("input \"{name}\" has the unknown dtype \"{}\"", shorten(&raw.dtype)))
        })?;
        if raw.shape.len() > MAX_RANK {
            return Err(invalid(format!(
                "input \"{name}\" has {} axes, more than {MAX_RANK}",
                raw.shape.len()
            )));
        }
        Ok(InputSpec { value: raw.value, name: raw.name, dtype, shape: raw.shape })
    }
}

impl From<RawNode> for Node {
    fn from(raw: RawNode) -> Node {
        let RawNode { op, name, inputs, outputs, attributes } = raw;
        Node { op, name, inputs, outputs, attributes: Attributes(attributes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(values: &str, rest: &str) -> String {
        format!(r#"{{"version": 1, "values": {values}, {rest}}}"#)
    }

    const INPUT: &str = r#""inputs": [{"value": 0, "name": "x", "dtype": "float32", "shape": [null, 3]}]"#;

    fn with_nodes(nodes: &str) -> String {
        program(
            "4",
            &format!(
                r#"{INPUT}, "constants": [1], "outputs": [{{"value": 2, "name": "y"}}], "nodes": [{nodes}]"#
            ),
        )
    }

    fn refusal(text: &str) -> String {
        Program::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_sound_program_is_read_in_full() {
        let text = with_nodes(
            r#"{"op": "Add", "name": "a", "inputs": [0, 1, null], "outputs": [2, null], "attributes": {"k": [1]}}"#,
        );
        let program = Program::parse(&text).unwrap();
        assert_eq!(program.inputs[0].shape, [None, Some(3)]);
        assert_eq!(program.nodes[0].inputs, [Some(0), Some(1), None]);
        assert_eq!(program.nodes[0].outputs, [Some(2), None]);
        assert_eq!(program.nodes[0].attributes.ints("k").unwrap(), Some(vec![1]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(refusal("{").contains("not as expected"));
        assert!(refusal(&"[".repeat(100_000)).contains("not as expected"));
        assert!(refusal(&program("1e3", INPUT)).contains("not as expected"));
        assert!(refusal(&with_nodes("")).contains("output \"y\" is value 2, which nothing makes"));
        let node = |inputs: &str, outputs: &str| {
            with_nodes(&format!(r#"{{"op": "Add", "name": "a", "inputs": {inputs}, "outputs": {outputs}}}"#))
        };
        assert!(refusal(&node("[0]", "[4]")).contains("only 4 values"));
        assert!(refusal(&node("[0]", "[1]")).contains("made already"));
        assert!(refusal(&node("[3]", "[2]")).contains("which nothing makes"));
        assert!(refusal(&node("[99]", "[2]")).contains("which nothing makes"));
        assert!(refusal(&node("[2]", "[2]")).contains("without cycles"));
        let huge = node("[0]", "[2]").replace("\"values\": 4", "\"values\": 4000000000");
        assert!(refusal(&huge).contains("4000000000 values"));
        let other = node("[0]", "[2]").replace("\"version\": 1", "\"version\": 2");
        assert!(matches!(Program::parse(&other), Err(EngineError::Unsupported(_))));
        let dtype = node("[0]", "[2]").replace("float32", "string");
        assert!(refusal(&dtype).contains("unknown dtype \"string\""));
    }
}

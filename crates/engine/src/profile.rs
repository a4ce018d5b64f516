use crate::op::TensorSpec;
use crate::plan::{Part, PlannedStep};
use crate::program::Program;
use std::time::Duration;

/// What each step of a run took.
#[derive(Debug, Default)]
pub struct Profile {
    steps: Vec<StepTime>,
}

#[derive(Debug)]
struct StepTime {
    node: Option<usize>,
    output: Option<TensorSpec>,
    elapsed: Duration,
    multiply_accumulates: u64,
    precision: &'static str,
    bytes: usize,
}

/// One line of a profile.
#[derive(Clone, Debug)]
pub struct ProfileEntry {
    /// Name of the node.
    pub name: String,
    /// Its operator; `Copy` for a copy into a program output.
    pub op: String,
    /// Shape of its first output.
    pub shape: Vec<usize>,
    /// Wall time.
    pub microseconds: f64,
    /// Multiplications with addition, 0 where unknown.
    pub multiply_accumulates: u64,
    /// What the operands of its products are rounded to; empty where that says nothing.
    pub precision: &'static str,
    /// Bytes of the operands.
    pub bytes: usize,
}

impl Profile {
    pub(crate) fn note(&mut self, step: &PlannedStep, elapsed: Duration) {
        let operands = step.inputs.iter().flatten().chain(&step.outputs);
        let bytes = operands.map(|operand| operand.spec.len() * operand.spec.dtype.size()).sum();
        if step.part != Part::Whole
            && let Some(known) = self.steps.iter_mut().find(|known| known.node == step.node)
        {
            known.elapsed += elapsed;
            if let (Part::Strip, Some(whole), [strip]) = (step.part, &mut known.output, &step.outputs[..]) {
                whole.shape[2] += strip.spec.shape[2];
                known.multiply_accumulates += step.step.multiply_accumulates();
                known.bytes += bytes;
            }
            return;
        }
        self.steps.push(StepTime {
            node: step.node,
            output: step.outputs.first().map(|operand| operand.spec.clone()),
            elapsed,
            multiply_accumulates: step.step.multiply_accumulates(),
            precision: step.step.precision(),
            bytes,
        });
    }

    pub(crate) fn entries(self, program: &Program) -> Vec<ProfileEntry> {
        let entry = |step: StepTime| {
            let (name, op) = match step.node {
                Some(node) => (program.nodes[node].name.clone(), program.nodes[node].op.clone()),
                None => ("output".to_owned(), "Copy".to_owned()),
            };
            ProfileEntry {
                name,
                op,
                shape: step.output.map(|spec| spec.shape.to_vec()).unwrap_or_default(),
                microseconds: step.elapsed.as_secs_f64() * 1e6,
                multiply_accumulates: step.multiply_accumulates,
                precision: step.precision,
                bytes: step.bytes,
            }
        };
        self.steps.into_iter().map(entry).collect()
    }
}

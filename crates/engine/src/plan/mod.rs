//! Plans: what a program comes to for inputs of given shapes. Every step, where each of its operands lies, and how
//! much memory that takes.

mod constants;
mod memory;
mod order;
mod pack;
mod planner;
mod strips;
mod value;

pub(crate) use constants::Constants;
pub(crate) use planner::{Parts, Planner, Settings, State};

use crate::op::{Step, TensorSpec};
use crate::program::ValueId;
use smallvec::SmallVec;
use std::sync::{Arc, Mutex};
use vedette_tensor::{Tensor, View};

/// The memory an operand lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// The arena of this plan.
    Arena,
    /// The tensor of that program output.
    Output(usize),
    /// Memory from outside the plan: a program input, or a value of the plan before a cut.
    External(usize),
    /// A tensor the plan holds.
    Known(usize),
}

/// Where a tensor lies and how.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) spec: TensorSpec,
    pub(crate) base: Base,
    /// Bytes from the base to the first element.
    pub(crate) offset: isize,
}

/// What a step is to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All there is to do.
    Whole,
    /// Some rows of its output.
    Strip,
    /// Keeping rows of its output for the next strip.
    Carry,
}

/// A step and its operands.
pub(crate) struct PlannedStep {
    /// The node it comes from; `None` for a copy to a program output.
    pub(crate) node: Option<usize>,
    pub(crate) part: Part,
    pub(crate) inputs: SmallVec<[Option<Operand>; 4]>,
    pub(crate) outputs: SmallVec<[Operand; 1]>,
    /// Offset and size of the scratch memory in the arena.
    pub(crate) scratch: (usize, usize),
    pub(crate) step: Arc<dyn Step>,
}

/// The work from one point of the program to its end, or to the next value that planning has to wait for.
pub(crate) struct Plan {
    pub(crate) steps: Vec<PlannedStep>,
    /// Program outputs that this plan makes.
    pub(crate) outputs: Vec<(usize, TensorSpec)>,
    /// Tensors that steps read besides the memory of the run.
    pub(crate) known: Vec<Arc<Tensor>>,
    pub(crate) arena_bytes: usize,
    /// Bytes of values that were computed for this plan alone.
    pub(crate) computed_bytes: usize,
    pub(crate) cut: Option<Cut>,
    /// Time it took to make.
    pub(crate) planning: std::time::Duration,
}

/// Where planning has to wait for a value.
pub(crate) struct Cut {
    /// The value waited for, and where it lies.
    pub(crate) value: ValueId,
    pub(crate) operand: Operand,
    /// Values that later nodes read: their memory becomes the next plan's external memory.
    pub(crate) carried: Vec<Operand>,
    /// What is known so far.
    pub(crate) state: State,
    continuations: Mutex<Vec<(Vec<u8>, Arc<Plan>)>>,
}

/// Bytes up to which a value that decides shapes is remembered with the plan it led to.
const REMEMBERED_BYTES: usize = 256;

/// Continuations remembered for one cut.
const REMEMBERED: usize = 4;

impl Cut {
    pub(crate) fn new(value: ValueId, operand: Operand, carried: Vec<Operand>, state: State) -> Cut {
        Cut { value, operand, carried, state, continuations: Mutex::default() }
    }

    /// The plan that followed when the value was this one.
    pub(crate) fn recall(&self, value: &View<'_>) -> Option<Arc<Plan>> {
        let bytes = small_bytes(value)?;
        let known = self.continuations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.iter().find(|entry| entry.0 == bytes).map(|entry| entry.1.clone())
    }

    /// Keeps the plan that follows this value.
    pub(crate) fn remember(&self, value: &View<'_>, plan: &Arc<Plan>) {
        let Some(bytes) = small_bytes(value) else { return };
        let mut known = self.continuations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() == REMEMBERED {
            known.remove(0);
        }
        known.push((bytes.to_vec(), plan.clone()));
    }
}

fn small_bytes<'a>(value: &'a View<'_>) -> Option<&'a [u8]> {
    let bytes = value.len() * value.dtype().size();
    if bytes > REMEMBERED_BYTES || !value.is_contiguous() {
        return None;
    }
    // SAFETY: a contiguous view has len() initialised elements from its pointer on.
    Some(unsafe { std::slice::from_raw_parts(value.as_ptr(), bytes) })
}

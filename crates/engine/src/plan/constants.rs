use super::value::{Home, Value};
use crate::op::{EngineError, TensorSpec};
use crate::program::{Program, ValueId};
use std::sync::Arc;
use vedette_tensor::Tensor;

/// Values that are the same in every plan: the constants of the program, and what nodes compute from them alone.
///
/// A constant is dropped once every node that reads it has been folded away or holds it in a form of its own.
pub(crate) struct Constants {
    values: Vec<Option<Value>>,
    /// Readers that still need the value.
    readers: Vec<usize>,
    /// Nodes whose outputs are constants by now.
    folded: Vec<bool>,
    /// Inputs each node has released.
    released: Vec<Vec<usize>>,
}

impl Constants {
    /// The constants of a program of which `live` nodes run.
    pub(crate) fn new(program: &Program, live: &[bool], tensors: Vec<Tensor>) -> Constants {
        let mut readers = vec![0; program.values];
        for (node, _) in program.nodes.iter().zip(live).filter(|(_, live)| **live) {
            node.inputs.iter().flatten().for_each(|&id| readers[id] += 1);
        }
        program.outputs.iter().for_each(|output| readers[output.value] += 1);
        let mut values: Vec<Option<Value>> = vec![None; program.values];
        for (&id, tensor) in program.constants.iter().zip(tensors) {
            if readers[id] > 0 {
                values[id] = Some(Value {
                    spec: TensorSpec::contiguous(tensor.dtype(), tensor.shape()),
                    home: Home::Known { tensor: Arc::new(tensor), offset: 0, constant: true },
                });
            }
        }
        let nodes = program.nodes.len();
        Constants { values, readers, folded: vec![false; nodes], released: vec![Vec::new(); nodes] }
    }

    pub(crate) fn get(&self, id: ValueId) -> Option<&Value> {
        self.values[id].as_ref()
    }

    /// Whether the node's outputs are constants.
    pub(crate) fn is_folded(&self, node: usize) -> bool {
        self.folded[node]
    }

    /// Keeps the outputs of a node that reads constants only, which never has to be planned again.
    pub(crate) fn fold(&mut self, program: &Program, node: usize, outputs: Vec<(ValueId, Value)>) {
        self.folded[node] = true;
        for (id, value) in outputs {
            if self.readers[id] > 0 {
                self.values[id] = Some(value);
            }
        }
        for position in 0..program.nodes[node].inputs.len() {
            self.release(program, node, position);
        }
    }

    /// Copies a constant that lies where somebody else keeps it, such as a mapped file: what runs read may not depend on
    /// what happens to the file.
    pub(crate) fn own(&mut self, id: ValueId) -> Result<(), EngineError> {
        if let Some(Value { home: Home::Known { tensor, .. }, .. }) = &mut self.values[id]
            && tensor.is_kept()
        {
            let copy = Tensor::copy_of(&tensor.view()).map_err(|error| EngineError::Memory(error.0))?;
            *tensor = Arc::new(copy);
        }
        Ok(())
    }

    /// Notes that the node no longer needs its input at that position.
    pub(crate) fn release(&mut self, program: &Program, node: usize, position: usize) {
        let Some(id) = program.nodes[node].inputs.get(position).copied().flatten() else { return };
        if self.values[id].is_none() || self.released[node].contains(&position) {
            return;
        }
        self.released[node].push(position);
        self.readers[id] -= 1;
        if self.readers[id] == 0
            && let Some(value) = &mut self.values[id]
        {
            value.home = Home::Released;
        }
    }

    /// Whether the node has released its input at that position.
    pub(crate) fn is_released(&self, node: usize, position: usize) -> bool {
        self.released[node].contains(&position)
    }

    /// Bytes of the constants still held.
    pub(crate) fn bytes(&self) -> usize {
        let mut tensors: Vec<&Arc<Tensor>> = self
            .values
            .iter()
            .flatten()
            .filter_map(|value| match &value.home {
                Home::Known { tensor, .. } => Some(tensor),
                _ => None,
            })
            .collect();
        tensors.sort_by_key(|tensor| Arc::as_ptr(tensor));
        tensors.dedup_by_key(|tensor| Arc::as_ptr(tensor));
        tensors.iter().map(|tensor| tensor.view().len() * tensor.dtype().size()).sum()
    }
}

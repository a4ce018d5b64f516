//! Memory of outputs whose arrays are gone, for outputs of later runs.

use std::sync::Mutex;
use vedette_tensor::{DType, Tensor};

/// Bytes of outputs that are kept: having the system map and clear as many anew takes longer than writing them.
const LEAST_BYTES: usize = 1 << 20;

/// For every output of a program a tensor that nobody has any more, if there is one. Locks are tried and never waited
/// for: in a forked child their holder may not exist.
pub struct SpareOutputs(Mutex<Vec<Option<Tensor>>>);

impl SpareOutputs {
    /// None yet.
    pub fn new() -> SpareOutputs {
        SpareOutputs(Mutex::default())
    }

    /// What there is for each output, an empty tensor where there is none.
    pub fn take(&self) -> Vec<Tensor> {
        let Ok(mut slots) = self.0.try_lock() else { return Vec::new() };
        let empty = || Tensor::zeros(DType::U8, &[0]);
        slots.drain(..).map_while(|slot| slot.or_else(|| empty().ok())).collect()
    }

    /// Keeps a tensor for the output of that number.
    pub fn give(&self, number: usize, tensor: Tensor) {
        if tensor.shape().iter().product::<usize>() * tensor.dtype().size() < LEAST_BYTES {
            return;
        }
        let Ok(mut slots) = self.0.try_lock() else { return };
        if slots.len() <= number {
            slots.resize_with(number + 1, || None);
        }
        slots[number] = Some(tensor);
    }
}

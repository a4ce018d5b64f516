use crate::op::TensorSpec;
use crate::plan::Plan;
use std::sync::Arc;
use vedette_tensor::View;

/// Plans kept for one engine: enough for the widths that a page of text lines comes in.
const CAPACITY: usize = 16;

/// The plans of the input layouts seen last.
#[derive(Default)]
pub(crate) struct PlanCache {
    entries: Vec<Entry>,
    clock: u64,
}

struct Entry {
    inputs: Vec<TensorSpec>,
    plan: Arc<Plan>,
    used: u64,
}

impl PlanCache {
    pub(crate) fn find(&mut self, inputs: &[View<'_>]) -> Option<Arc<Plan>> {
        self.clock += 1;
        let entry = self.entries.iter_mut().find(|entry| {
            entry.inputs.len() == inputs.len()
                && entry.inputs.iter().zip(inputs).all(|(spec, view)| {
                    spec.shape[..] == *view.shape() && spec.strides[..] == *view.strides()
                })
        })?;
        entry.used = self.clock;
        Some(entry.plan.clone())
    }

    pub(crate) fn insert(&mut self, inputs: Vec<TensorSpec>, plan: Arc<Plan>) {
        self.clock += 1;
        if self.entries.len() == CAPACITY
            && let Some(oldest) = (0..CAPACITY).min_by_key(|&i| self.entries[i].used)
        {
            self.entries.swap_remove(oldest);
        }
        self.entries.push(Entry { inputs, plan, used: self.clock });
    }

    pub(crate) fn plans(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.entries.iter().map(|entry| &entry.plan)
    }
}

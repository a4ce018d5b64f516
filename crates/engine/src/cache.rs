use crate::op::TensorSpec;
use crate::plan::Plan;
use std::sync::Arc;
use vedette_tensor::View;

/// Plans kept for one engine whatever they take.
const FEWEST: usize = 16;

/// Plans kept at most, enough for the widths that pages of text lines come in, and steps of all of them: maps that are
/// computed strip by strip have thousands.
const MOST: usize = 64;
const MOST_STEPS: usize = 8192;

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
        self.entries.push(Entry { inputs, plan, used: self.clock });
        while self.entries.len() > FEWEST && (self.entries.len() > MOST || self.steps() > MOST_STEPS) {
            let Some(oldest) = (0..self.entries.len()).min_by_key(|&i| self.entries[i].used) else { break };
            self.entries.swap_remove(oldest);
        }
    }

    fn steps(&self) -> usize {
        self.entries.iter().map(|entry| entry.plan.steps.len()).sum()
    }

    pub(crate) fn plans(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.entries.iter().map(|entry| &entry.plan)
    }
}

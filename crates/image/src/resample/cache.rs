use super::{Plan, Sampling, Taps};
use std::sync::{Arc, Mutex, PoisonError};

/// What a plan depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// The interval of the input's rows that becomes the output, as start and length.
    pub rows: [f64; 2],
    /// The interval of the input's columns.
    pub columns: [f64; 2],
    /// The convention.
    pub sampling: Sampling,
    /// Whether columns are stored back to front.
    pub mirrored: bool,
}

impl Geometry {
    /// All of the input onto all of the output.
    pub fn whole(input: [usize; 2], output: [usize; 2], sampling: Sampling) -> Geometry {
        let [rows, columns] = input.map(|len| [0.0, len as f64]);
        Geometry { input, output, rows, columns, sampling, mirrored: false }
    }

    fn plan(&self) -> Plan {
        let taps = |axis: usize, [origin, length]: [f64; 2]| {
            Taps::new(self.input[axis], self.output[axis], origin, length, self.sampling)
        };
        let columns = taps(1, self.columns);
        let columns = if self.mirrored { columns.mirrored() } else { columns };
        Plan::new(&taps(0, self.rows), &columns, self.sampling)
    }
}

/// The plans used last, so that a stream of frames of one size computes its weights once.
#[derive(Debug)]
pub struct PlanCache {
    plans: Mutex<Vec<(Geometry, Arc<Plan>)>>,
}

/// Plans kept: enough for the cameras of one process, few enough to search in order.
const KEPT: usize = 32;

impl PlanCache {
    /// An empty cache.
    pub const fn new() -> PlanCache {
        PlanCache { plans: Mutex::new(Vec::new()) }
    }

    /// The plan for a geometry, made if it is not there.
    pub fn get(&self, geometry: Geometry) -> Arc<Plan> {
        let lock = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut plans = lock();
            if let Some(found) = plans.iter().position(|(key, _)| *key == geometry) {
                plans[..=found].rotate_right(1);
                return plans[0].1.clone();
            }
        }
        let plan = Arc::new(geometry.plan());
        let mut plans = lock();
        plans.truncate(KEPT - 1);
        plans.insert(0, (geometry, plan.clone()));
        plan
    }
}

impl Default for PlanCache {
    fn default() -> PlanCache {
        PlanCache::new()
    }
}

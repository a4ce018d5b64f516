mod machine;
mod throttle;
mod workers;

pub use machine::{available_isas, cpu_features, effective_cores, get_num_threads, isa, set_num_threads};
pub use throttle::{CpuThrottle, process_clocks};
pub use workers::WorkerPool;

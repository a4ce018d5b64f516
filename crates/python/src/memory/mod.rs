//! Pools, arenas, mapped files and memory pressure.
//!
//! Blocks come back when a Python object dies: that may be on any thread, in the middle of anything. Nothing here
//! therefore calls Python while it holds a lock, and the crate below knows no Python at all.

mod arena;
mod export;
mod heap;
mod map;
mod pool;
mod pressure;
mod shape;
mod trace;

pub use arena::Arena;
pub use heap::trim_heap;
pub use map::map_file;
pub use pool::{Buffer, BufferPool, leased};
pub use pressure::{PressureMonitor, memory_pressure};

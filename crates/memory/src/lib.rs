//! Memory whose owner and lifetime are plain to see: owned buffers, pools that recycle blocks, arenas, mapped
//! files, and a monitor that gives memory back when the machine runs short.
//!
//! Nothing here knows Python, and nothing waits for another thread on a path that acquires or releases a block.

pub mod arena;
mod buffer;
mod clock;
mod lock;
pub mod map;
pub mod pool;
pub mod pressure;

mod usage;

pub use arena::Arena;
pub use buffer::AlignedBuffer;
pub use map::MappedFile;
pub use pool::{BufferPool, Lease, default_pool};
pub use usage::{PageFaults, page_faults, resident_bytes, trim_heap};

/// Alignment of every buffer: a cache line, which is also the widest vector register.
pub const ALIGNMENT: usize = 64;

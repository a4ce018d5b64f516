//! Elements picked and placed by indices that are themselves data.
//!
//! Indices count from the end where they are negative. Those that are still out of range are brought to the nearest end:
//! a step cannot fail, and what it reads must be there.

mod gather;
mod scatter;
mod top_k;

pub use gather::Gather;
pub use scatter::{Scatter, ScatterReduction};
pub use top_k::{OneHot, TopK, keep_triangle};

use crate::{DType, View};

/// One axis that an index selects along.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    /// Bytes from the first index of a tuple to this one.
    index_offset: isize,
    /// Length of the axis.
    dim: usize,
    /// Bytes from one element along the axis to the next.
    step: isize,
}

/// An index type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IndexType {
    I32,
    I64,
}

impl IndexType {
    fn of(dtype: DType) -> Option<IndexType> {
        match dtype {
            DType::I32 => Some(IndexType::I32),
            DType::I64 => Some(IndexType::I64),
            _ => None,
        }
    }

    /// # Safety
    /// `pointer` must be a readable index of this type.
    #[inline(always)]
    unsafe fn read(self, pointer: *const u8) -> i64 {
        // SAFETY: as granted by the caller.
        unsafe {
            match self {
                IndexType::I32 => i64::from(pointer.cast::<i32>().read()),
                IndexType::I64 => pointer.cast::<i64>().read(),
            }
        }
    }
}

/// The byte offset that a tuple of indices selects.
///
/// # Safety
/// The indices that the lookups name from `pointer` on must be readable.
#[inline(always)]
unsafe fn select(lookups: &[Lookup], kind: IndexType, pointer: *const u8) -> isize {
    let mut offset = 0;
    for lookup in lookups {
        // SAFETY: as granted by the caller.
        let index = unsafe { kind.read(pointer.offset(lookup.index_offset)) };
        let dim = lookup.dim as i64;
        let index = if index < 0 { index.saturating_add(dim) } else { index };
        offset += index.clamp(0, (dim - 1).max(0)) as isize * lookup.step;
    }
    offset
}

/// The first index that is out of range for an axis of `dim` elements, if any.
pub fn find_out_of_range(indices: &View<'_>, dim: usize) -> Option<i64> {
    let dim = i64::try_from(dim).unwrap_or(i64::MAX);
    let outside = |index: &i64| !(-dim..dim).contains(index);
    match indices.dtype() {
        DType::I32 => indices.to_vec::<i32>().into_iter().map(i64::from).find(outside),
        DType::I64 => indices.to_vec::<i64>().into_iter().find(outside),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

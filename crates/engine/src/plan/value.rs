//! Values while planning: what is known of them, and where they lie.

use crate::op::TensorSpec;
use std::sync::Arc;
use vedette_tensor::{Tensor, View};

/// Where a value lies while planning; offsets count elements.
#[derive(Clone, Debug)]
pub(crate) enum Home {
    /// A buffer that gets its memory when all steps are known.
    Buffer { id: usize, offset: isize },
    /// Memory from outside the plan.
    External { id: usize, offset: isize },
    /// Elements known now; `constant` where they are the same in every plan.
    Known { tensor: Arc<Tensor>, offset: isize, constant: bool },
    /// A constant that every reader holds in a form of its own.
    Released,
}

/// A value while planning.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) spec: TensorSpec,
    pub(crate) home: Home,
}

impl Value {
    pub(super) fn view(&self) -> Option<View<'_>> {
        let Home::Known { tensor, offset, .. } = &self.home else { return None };
        let start = offset * self.spec.dtype.size() as isize;
        // SAFETY: known values are whole tensors, or views of them whose reach was checked when they were planned.
        Some(unsafe {
            View::from_raw_parts(
                self.spec.dtype,
                self.spec.shape.clone(),
                self.spec.strides.clone(),
                tensor.as_ptr().offset(start),
            )
        })
    }

    pub(super) fn is_constant(&self) -> bool {
        matches!(self.home, Home::Known { constant: true, .. } | Home::Released)
    }

    /// The buffer of this plan that it lies in.
    pub(super) fn buffer(&self) -> Option<usize> {
        match self.home {
            Home::Buffer { id, .. } => Some(id),
            _ => None,
        }
    }
}

/// The offsets of the first and the last element of a piece of memory, seen from its base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(super) first: isize,
    pub(super) last: isize,
}

impl Extent {
    pub(super) const NOTHING: Extent = Extent { first: 0, last: -1 };

    /// What the elements of a tensor reach.
    pub(super) fn of(shape: &[usize], strides: &[isize]) -> Option<Extent> {
        if shape.contains(&0) {
            return Some(Extent::NOTHING);
        }
        let mut extent = Extent { first: 0, last: 0 };
        for (&dim, &stride) in shape.iter().zip(strides) {
            let reach = stride.checked_mul(isize::try_from(dim).ok()? - 1)?;
            let end = if reach < 0 { &mut extent.first } else { &mut extent.last };
            *end = end.checked_add(reach)?;
        }
        Some(extent)
    }

    pub(super) fn moved(self, offset: isize) -> Option<Extent> {
        Some(Extent { first: self.first.checked_add(offset)?, last: self.last.checked_add(offset)? })
    }

    pub(super) fn holds(self, other: Extent) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

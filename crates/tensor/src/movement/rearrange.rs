use super::Copy;
use crate::elementwise::Layout;
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, element_count};
use vedette_runtime::ThreadPool;

/// Where elements are read or written in a tensor's memory, apart from how its own shape sees them.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// Strides in elements, one for each axis of the copy.
    pub strides: &'a [isize],
    /// Elements from the tensor's first element.
    pub offset: isize,
}

/// A copy from one tensor to another, both seen through a shape of the copy's own.
#[derive(Clone, Debug)]
pub struct Rearrange {
    copy: Copy,
    dtype: DType,
    from: (Dims, Strides),
    to: (Dims, Strides),
    /// Bytes from the first elements of the tensors to those of the copy.
    offsets: [isize; 2],
}

/// Offsets of the first and last element reached; `None` where they overflow.
fn reach(shape: &[usize], strides: &[isize], offset: isize) -> Option<(isize, isize)> {
    let mut reach = (offset, offset);
    for (&dim, &stride) in shape.iter().zip(strides) {
        let step = stride.checked_mul(isize::try_from(dim).ok()? - 1)?;
        let end = if step < 0 { &mut reach.0 } else { &mut reach.1 };
        *end = end.checked_add(step)?;
    }
    Some(reach)
}

/// Whether every index of the shape has an element of its own.
fn is_distinct(shape: &[usize], strides: &[isize]) -> bool {
    let mut axes: Vec<(usize, usize)> = shape
        .iter()
        .zip(strides)
        .filter(|axis| *axis.0 > 1)
        .map(|(&dim, &stride)| (stride.unsigned_abs(), dim))
        .collect();
    axes.sort_unstable();
    let mut room = 1;
    axes.iter().all(|&(stride, dim)| {
        let fits = stride >= room;
        room = stride.saturating_mul(dim);
        fits
    })
}

impl Rearrange {
    /// Plans a copy of elements seen as `shape` in both tensors.
    pub fn new(
        shape: &[usize],
        from: Layout<'_>,
        read: Placement<'_>,
        to: Layout<'_>,
        written: Placement<'_>,
    ) -> Result<Rearrange, TensorError> {
        let wrong = |what: &str| {
            let (from, to) = (from.shape, to.shape);
            TensorError(format!("cannot copy {from:?} to {to:?} as {shape:?}: {what}"))
        };
        if from.dtype != to.dtype || read.strides.len() != shape.len() || written.strides.len() != shape.len()
        {
            return Err(wrong("dtypes or ranks differ"));
        }
        if element_count(shape).is_none_or(|count| count > 0) {
            for (own, place) in [(from, read), (to, written)] {
                let whole = reach(own.shape, own.strides, 0).filter(|_| !own.shape.contains(&0));
                let part = reach(shape, place.strides, place.offset);
                let fits =
                    whole.zip(part).is_some_and(|(whole, part)| whole.0 <= part.0 && part.1 <= whole.1);
                if !fits {
                    return Err(wrong("it reaches outside"));
                }
            }
            if !is_distinct(shape, written.strides) {
                return Err(wrong("elements would be written twice"));
            }
        }
        let size = from.dtype.size();
        Ok(Rearrange {
            copy: Copy::new(shape, read.strides, written.strides, size),
            dtype: from.dtype,
            from: (from.shape.into(), from.strides.into()),
            to: (to.shape.into(), to.strides.into()),
            offsets: [read.offset, written.offset].map(|offset| offset * size as isize),
        })
    }

    /// Copies.
    ///
    /// # Panics
    /// Where a tensor does not lie as planned.
    pub fn run(&self, from: &View<'_>, to: &mut ViewMut<'_>, pool: &ThreadPool) {
        assert!(from.dtype() == self.dtype && to.dtype() == self.dtype);
        assert!(from.shape() == &self.from.0[..] && from.strides() == &self.from.1[..]);
        assert!(to.shape() == &self.to.0[..] && to.strides() == &self.to.1[..]);
        let read = from.as_ptr().wrapping_offset(self.offsets[0]);
        let written = to.as_mut_ptr().wrapping_offset(self.offsets[1]);
        // SAFETY: planning made sure that the copy reaches no further than the tensors (both of which lie as
        // planned), and that no element is written twice. Between the ends of a tensor all memory is its own or that
        // of the tensor it is a view of.
        unsafe { self.copy.run_raw(read, written, pool) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_reach_outside_or_write_twice_are_refused() {
        let from = Layout { dtype: DType::F32, shape: &[2, 3], strides: &[3, 1] };
        let to = Layout { dtype: DType::F32, shape: &[6], strides: &[1] };
        let plan = |strides: &[isize], offset, written: &[isize]| {
            Rearrange::new(
                &[3, 2],
                from,
                Placement { strides, offset },
                to,
                Placement { strides: written, offset: 0 },
            )
        };
        assert!(plan(&[1, 3], 0, &[2, 1]).is_ok());
        assert!(plan(&[-1, 3], 2, &[2, 1]).is_ok());
        assert!(plan(&[0, 3], 0, &[2, 1]).is_ok());
        assert!(plan(&[1, 3], 1, &[2, 1]).is_err());
        assert!(plan(&[2, 3], 0, &[2, 1]).is_err());
        assert!(plan(&[1, 3], 0, &[1, 1]).is_err());
        assert!(plan(&[1, 3], 0, &[3, 1]).is_err());
        let turned = plan(&[-1, 3], 2, &[2, 1]).unwrap();
        let (data, mut found) = ([0f32, 1., 2., 3., 4., 5.], [0f32; 6]);
        turned.run(&View::of(&[2, 3], &data), &mut ViewMut::of(&[6], &mut found), &ThreadPool::new(1));
        assert_eq!(found, [2., 5., 1., 4., 0., 3.]);
    }
}

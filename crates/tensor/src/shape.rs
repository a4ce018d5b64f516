use crate::TensorError;
use smallvec::SmallVec;

/// A shape, held inline up to rank 6.
pub type Dims = SmallVec<[usize; 6]>;

/// Strides in elements, held inline up to rank 6.
pub type Strides = SmallVec<[isize; 6]>;

/// Elements of a shape, or `None` where the count overflows.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim))
}

/// Strides of C order.
pub fn contiguous_strides(shape: &[usize]) -> Strides {
    ordered_strides(shape, (0..shape.len()).rev())
}

/// Strides of `[N, ..., C]` memory for a logical `[N, C, ...]` shape; C order below rank 3.
pub fn channels_last_strides(shape: &[usize]) -> Strides {
    if shape.len() < 3 {
        return contiguous_strides(shape);
    }
    ordered_strides(shape, std::iter::once(1).chain((2..shape.len()).rev()).chain(std::iter::once(0)))
}

fn ordered_strides(shape: &[usize], fastest_first: impl Iterator<Item = usize>) -> Strides {
    let mut strides = Strides::from_elem(0, shape.len());
    let mut step = 1isize;
    for axis in fastest_first {
        strides[axis] = step;
        step = step.saturating_mul(shape[axis].max(1) as isize);
    }
    strides
}

/// The shape two shapes broadcast to, by NumPy's rules.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Dims, TensorError> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| {
        let missing = rank - shape.len();
        if axis < missing { 1 } else { shape[axis - missing] }
    };
    (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(TensorError(format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_follow_the_memory_order() {
        assert_eq!(contiguous_strides(&[2, 3, 4]).as_slice(), [12, 4, 1]);
        assert_eq!(channels_last_strides(&[2, 3, 4, 5]).as_slice(), [60, 1, 15, 3]);
        assert_eq!(channels_last_strides(&[2, 3]).as_slice(), [3, 1]);
        assert_eq!(element_count(&[usize::MAX, 2]), None);
        assert_eq!(element_count(&[]), Some(1));
    }

    #[test]
    fn broadcasting_is_numpys() {
        assert_eq!(broadcast_shape(&[3, 1], &[2, 1, 4]).unwrap().as_slice(), [2, 3, 4]);
        assert_eq!(broadcast_shape(&[], &[5]).unwrap().as_slice(), [5]);
        assert_eq!(broadcast_shape(&[1, 0], &[4, 1]).unwrap().as_slice(), [4, 0]);
        assert!(broadcast_shape(&[2], &[3]).is_err());
    }
}

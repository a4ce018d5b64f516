use crate::{Dims, Strides};

/// Strides that show the same elements in the same logical order under another shape, if any do.
///
/// Both shapes must have the same number of elements.
pub fn reshape_strides(shape: &[usize], strides: &[isize], new_shape: &[usize]) -> Option<Strides> {
    if shape.contains(&0) {
        return Some(crate::contiguous_strides(new_shape));
    }
    let axes: Vec<(usize, isize)> =
        shape.iter().copied().zip(strides.iter().copied()).filter(|axis| axis.0 != 1).collect();
    let mut new_strides = Strides::from_elem(0, new_shape.len());
    let (mut old, mut new) = (0, 0);
    while old < axes.len() || new < new_shape.len() {
        // The shortest runs of old and new axes with as many elements, which must be evenly spaced in memory.
        let (old_start, new_start) = (old, new);
        let (mut old_count, mut new_count) = (1, 1);
        if old < axes.len() {
            old_count = axes[old].0;
            old += 1;
        }
        while new_count < old_count || (new < new_shape.len() && new_shape[new] == 1) || new == new_start {
            if new == new_shape.len() {
                break;
            }
            new_count *= new_shape[new];
            new += 1;
            while old_count < new_count && old < axes.len() {
                old_count *= axes[old].0;
                old += 1;
            }
        }
        for pair in axes[old_start..old].windows(2) {
            if pair[0].1 != pair[1].1 * pair[1].0 as isize {
                return None;
            }
        }
        let mut step = axes[old_start..old].last().map_or(1, |axis| axis.1);
        for axis in (new_start..new).rev() {
            new_strides[axis] = step;
            step *= new_shape[axis] as isize;
        }
    }
    Some(new_strides)
}

/// Dense strides for `shape` in the memory order of a tensor with these strides.
pub fn dense_strides_like(shape: &[usize], strides: &[isize]) -> Strides {
    let mut order: Dims = (0..shape.len()).collect();
    order.sort_by_key(|&axis| std::cmp::Reverse(strides[axis].unsigned_abs()));
    dense_strides_in_order(shape, &order)
}

/// Dense strides for `shape` with the axes in this order, slowest first.
pub fn dense_strides_in_order(shape: &[usize], order: &[usize]) -> Strides {
    let mut dense = Strides::from_elem(0, shape.len());
    let mut step = 1isize;
    for &axis in order.iter().rev() {
        dense[axis] = step;
        step = step.saturating_mul(shape[axis].max(1) as isize);
    }
    dense
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::for_each_offset;
    use crate::{View, channels_last_strides, contiguous_strides};

    fn offsets(shape: &[usize], strides: &[isize]) -> Vec<isize> {
        let mut offsets = Vec::new();
        for_each_offset(shape, strides, |offset| offsets.push(offset));
        offsets
    }

    #[test]
    fn reshapes_without_a_copy_show_the_same_elements() {
        let shapes: [&[usize]; 7] =
            [&[2, 3, 4, 5], &[6, 20], &[2, 12, 5], &[1, 2, 3, 1, 4, 5, 1], &[120], &[2, 3, 20], &[8, 15]];
        for from in shapes {
            let contiguous = contiguous_strides(from);
            for to in shapes {
                let strides = reshape_strides(from, &contiguous, to).unwrap();
                assert_eq!(offsets(to, &strides), offsets(from, &contiguous), "{from:?} {to:?}");
            }
        }
        let image = channels_last_strides(&[2, 3, 4, 5]);
        let flat = reshape_strides(&[2, 3, 4, 5], &image, &[2, 3, 20]).unwrap();
        assert_eq!(flat.as_slice(), [60, 1, 3]);
        assert!(reshape_strides(&[2, 3, 4, 5], &image, &[2, 60]).is_none());
        let split =
            reshape_strides(&[2, 6, 4, 5], &channels_last_strides(&[2, 6, 4, 5]), &[2, 2, 3, 4, 5]).unwrap();
        assert_eq!(split.as_slice(), [120, 3, 1, 30, 6]);
        assert_eq!(reshape_strides(&[1, 1], &[9, 9], &[]).unwrap().as_slice(), [0isize; 0]);
        assert_eq!(reshape_strides(&[], &[], &[1, 1]).unwrap().len(), 2);
        let negative = reshape_strides(&[6, 2], &[-2, -1], &[3, 4]).unwrap();
        assert_eq!(offsets(&[3, 4], &negative), offsets(&[6, 2], &[-2, -1]));
    }

    #[test]
    fn dense_orders_follow_the_original() {
        let like = dense_strides_like(&[2, 3, 4, 5], &channels_last_strides(&[2, 3, 8, 5]));
        assert_eq!(like, channels_last_strides(&[2, 3, 4, 5]));
        assert_eq!(dense_strides_like(&[2, 3], &[-3, 1]).as_slice(), [3, 1]);
        let data = [0u8; 12];
        let view = View::of(&[3, 4], &data);
        assert_eq!(dense_strides_like(view.shape(), view.strides()).as_slice(), view.strides());
    }
}

//! Max pooling of any ordered type, with the places of the maxima: plain loops, and the oracle of the fast form.

use super::window::PoolShape;
use crate::conv::five;
use crate::{Element, View, ViewMut};

/// The largest value under each window, and where it was: its index in the C-order input, in which, `column_major`, the
/// first spatial axis runs fastest instead of the last.
///
/// # Panics
/// Where the views are not of the shapes of `shape`, of type `T` (indices: `i64`).
pub fn max_pool<T: Element + PartialOrd>(
    shape: &PoolShape,
    column_major: bool,
    x: &View<'_>,
    out: &mut ViewMut<'_>,
    mut indices: Option<&mut ViewMut<'_>>,
) {
    assert_eq!(out.shape(), shape.output().as_slice());
    assert!(indices.as_ref().is_none_or(|indices| indices.shape() == out.shape()));
    let [depth, height, width] = shape.axes;
    assert_eq!(x.len(), shape.batch * shape.channels * depth.input * height.input * width.input);
    let (x_strides, out_strides) = (five(x.strides()), five(out.strides()));
    let at = |strides: &[isize; 5], index: [usize; 5]| -> isize {
        strides.iter().zip(index).map(|(stride, index)| stride * index as isize).sum()
    };
    let from = x.as_ptr_of::<T>();
    let to = out.as_mut_ptr_of::<T>();
    for n in 0..shape.batch {
        for c in 0..shape.channels {
            let plane = (n * shape.channels + c) * depth.input * height.input * width.input;
            for oz in 0..depth.output {
                for oy in 0..height.output {
                    for ox in 0..width.output {
                        let mut best: Option<(T, [usize; 3])> = None;
                        for kz in 0..depth.kernel {
                            for ky in 0..height.kernel {
                                for kx in 0..width.kernel {
                                    let within = (depth.at(oz, kz), height.at(oy, ky), width.at(ox, kx));
                                    let (Some(z), Some(y), Some(x)) = within else { continue };
                                    // SAFETY: an index within the shape of x.
                                    let value = unsafe { *from.offset(at(&x_strides, [n, c, z, y, x])) };
                                    if best.is_none_or(|(largest, _)| value > largest) {
                                        best = Some((value, [z, y, x]));
                                    }
                                }
                            }
                        }
                        let (value, [z, y, x]) = best.unwrap_or((T::default(), [0; 3]));
                        let index = [n, c, oz, oy, ox];
                        // SAFETY: an index within the shape of the output.
                        unsafe { to.offset(at(&out_strides, index)).write(value) };
                        if let Some(indices) = &mut indices {
                            let place = if column_major {
                                (x * height.input + y) * depth.input + z
                            } else {
                                (z * height.input + y) * width.input + x
                            };
                            let strides = five(indices.strides());
                            let to = indices.as_mut_ptr_of::<i64>();
                            // SAFETY: as above, the shapes are the same.
                            unsafe { to.offset(at(&strides, index)).write((plane + place) as i64) };
                        }
                    }
                }
            }
        }
    }
}

//! Products of the other number types: plain loops.

use crate::shape::Dims;
use crate::{DType, Element, View, ViewMut};

/// A number with the arithmetic ONNX gives its type; integers wrap.
trait Number: Element {
    /// `a x b + c`
    fn multiply_add(a: Self, b: Self, c: Self) -> Self;
}

macro_rules! number {
    (float $($float:ty),*) => {
        $(impl Number for $float {
            #[inline(always)]
            fn multiply_add(a: Self, b: Self, c: Self) -> Self {
                a * b + c
            }
        })*
    };
    (integer $($integer:ty),*) => {
        $(impl Number for $integer {
            #[inline(always)]
            fn multiply_add(a: Self, b: Self, c: Self) -> Self {
                a.wrapping_mul(b).wrapping_add(c)
            }
        })*
    };
}

number!(float f32, f64);
number!(integer i8, u8, i16, u16, i32, u32, i64, u64);

/// `out = a x b` by `numpy.matmul`'s rules, the last two axes of an operand swapped where its flag says so.
///
/// # Panics
/// Where the shapes do not fit, or the views are not of one number type (16-bit floats are none).
pub fn multiply_generic(a: (&View<'_>, bool), b: (&View<'_>, bool), out: &mut ViewMut<'_>) {
    match out.dtype() {
        DType::F32 => multiply::<f32>(a, b, out),
        DType::F64 => multiply::<f64>(a, b, out),
        DType::I8 => multiply::<i8>(a, b, out),
        DType::U8 => multiply::<u8>(a, b, out),
        DType::I16 => multiply::<i16>(a, b, out),
        DType::U16 => multiply::<u16>(a, b, out),
        DType::I32 => multiply::<i32>(a, b, out),
        DType::U32 => multiply::<u32>(a, b, out),
        DType::I64 => multiply::<i64>(a, b, out),
        DType::U64 => multiply::<u64>(a, b, out),
        dtype => panic!("no matrix product of {dtype}"),
    }
}

fn multiply<T: Number>(a: (&View<'_>, bool), b: (&View<'_>, bool), out: &mut ViewMut<'_>) {
    let (a_vector, b_vector) = (a.0.rank() == 1, b.0.rank() == 1);
    // Every operand as [batch..., rows, columns], by strides.
    let matrix = |(view, swapped): (&View<'_>, bool), as_column: bool| {
        let (mut shape, mut strides): (Vec<usize>, Vec<isize>) = (view.shape().into(), view.strides().into());
        if view.rank() == 1 {
            let at = usize::from(as_column);
            shape.insert(at, 1);
            strides.insert(at, 0);
        } else if swapped {
            let rank = shape.len();
            shape.swap(rank - 2, rank - 1);
            strides.swap(rank - 2, rank - 1);
        }
        (shape, strides)
    };
    let (a_shape, a_strides) = matrix(a, false);
    let (b_shape, b_strides) = matrix(b, true);
    let (mut out_shape, mut out_strides): (Vec<usize>, Vec<isize>) =
        (out.shape().into(), out.strides().into());
    if b_vector {
        out_shape.push(1);
        out_strides.push(0);
    }
    if a_vector {
        out_shape.insert(out_shape.len() - 1, 1);
        out_strides.insert(out_strides.len() - 1, 0);
    }
    let rank = out_shape.len();
    let (m, k, n) = (out_shape[rank - 2], a_shape[a_shape.len() - 1], out_shape[rank - 1]);
    assert!(a_shape[a_shape.len() - 2] == m && b_shape[b_shape.len() - 2..] == [k, n]);
    // Stride of an operand along a batch axis of the output: 0 where it is broadcast.
    let stride_of = |shape: &[usize], strides: &[isize], axis: usize| {
        let missing = rank - shape.len();
        if axis < missing || shape[axis - missing] == 1 { 0 } else { strides[axis - missing] }
    };
    let (from_a, from_b, to) = (a.0.as_ptr_of::<T>(), b.0.as_ptr_of::<T>(), out.as_mut_ptr_of::<T>());
    let batch: Dims = out_shape[..rank - 2].into();
    let last = |strides: &[isize]| (strides[strides.len() - 2], strides[strides.len() - 1]);
    let ((a_row, a_column), (b_row, b_column), (out_row, out_column)) =
        (last(&a_strides), last(&b_strides), last(&out_strides));
    for index in 0..batch.iter().product::<usize>() {
        let (mut rest, mut at_a, mut at_b, mut at_out) = (index, 0, 0, 0);
        for axis in (0..batch.len()).rev() {
            let i = (rest % batch[axis]) as isize;
            rest /= batch[axis];
            at_a += i * stride_of(&a_shape, &a_strides, axis);
            at_b += i * stride_of(&b_shape, &b_strides, axis);
            at_out += i * out_strides[axis];
        }
        for i in 0..m as isize {
            for j in 0..n as isize {
                let mut sum = T::default();
                for l in 0..k as isize {
                    // SAFETY: indices within the shapes of the views.
                    sum = unsafe {
                        let x = *from_a.offset(at_a + i * a_row + l * a_column);
                        let y = *from_b.offset(at_b + l * b_row + j * b_column);
                        T::multiply_add(x, y, sum)
                    };
                }
                // SAFETY: as above.
                unsafe { to.offset(at_out + i * out_row + j * out_column).write(sum) };
            }
        }
    }
}

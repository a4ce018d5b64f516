use super::map::Kernel;
use super::number::{Number, with_integer};
use crate::DType;

/// `saturate(round(x / scale) + zero_point)`: operands are the output, x, scale, zero point.
pub fn quantize(to: DType) -> Option<Kernel<4>> {
    with_integer!(to, Q => {
        let rows = |[to, x, scale, zero_point]: [*mut u8; 4], n: usize| {
            let (to, zero_point) = (to.cast::<Q>(), zero_point.cast::<Q>());
            let (x, scale) = (x.cast::<f32>(), scale.cast::<f32>());
            for i in 0..n {
                // SAFETY: the kernel's contract grants n elements of these types at each pointer.
                unsafe {
                    let steps = f64::from((x.add(i).read() / scale.add(i).read()).round_ties_even());
                    to.add(i).write(Q::from_f64(steps + zero_point.add(i).read().to_f64()));
                }
            }
        };
        // SAFETY: as above, only the n elements are accessed.
        unsafe { Kernel::new([to, DType::F32, DType::F32, to], rows) }
    })
}

/// `(q - zero_point) scale`: operands are the output, q, scale, zero point.
pub fn dequantize(from: DType) -> Option<Kernel<4>> {
    with_integer!(from, Q => {
        let rows = |[to, q, scale, zero_point]: [*mut u8; 4], n: usize| {
            let (q, zero_point) = (q.cast::<Q>(), zero_point.cast::<Q>());
            let (to, scale) = (to.cast::<f32>(), scale.cast::<f32>());
            for i in 0..n {
                // SAFETY: the kernel's contract grants n elements of these types at each pointer.
                unsafe {
                    let steps = q.add(i).read().to_f64() - zero_point.add(i).read().to_f64();
                    to.add(i).write(steps as f32 * scale.add(i).read());
                }
            }
        };
        // SAFETY: as above, only the n elements are accessed.
        unsafe { Kernel::new([DType::F32, from, DType::F32, from], rows) }
    })
}

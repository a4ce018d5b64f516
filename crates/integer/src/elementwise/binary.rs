//! Sums and products of bytes that stand for real numbers.

use super::block::map2;
use crate::at_level;
use crate::{Quantization, Requantize};
use vedette_simd::Isa;
use vedette_tensor::DType;
use vedette_tensor::elementwise::Kernel;

/// The requantised sum of two reals, each its own product rounded by itself: operands are the output, a, b.
pub fn add(isa: Isa, a: Quantization, b: Quantization, to: Requantize) -> Kernel<3> {
    let rows = move |pointers: [*mut u8; 3], n: usize| {
        // SAFETY: the kernel's contract grants n elements at each pointer.
        at_level!(isa, unsafe {
            map2(
                pointers,
                n,
                #[inline(always)]
                |x: u8, y: u8| to.apply(a.real(x) + b.real(y)),
            )
        });
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([DType::U8; 3], rows) }
}

/// The requantised product: that of the steps is exact, then taken times the product of the scales.
pub fn multiply(isa: Isa, a: Quantization, b: Quantization, to: Requantize) -> Kernel<3> {
    let scale = a.scale() * b.scale();
    let (a_zero, b_zero) = (f32::from(a.zero_point()), f32::from(b.zero_point()));
    let rows = move |pointers: [*mut u8; 3], n: usize| {
        // SAFETY: the kernel's contract grants n elements at each pointer.
        at_level!(isa, unsafe {
            map2(
                pointers,
                n,
                #[inline(always)]
                |x: u8, y: u8| to.apply((f32::from(x) - a_zero) * (f32::from(y) - b_zero) * scale),
            )
        });
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([DType::U8; 3], rows) }
}

//! QuantizeLinear and DequantizeLinear between float32 and bytes.

use super::block::{map1, map3};
use crate::at_level;
use crate::requantize::{ROUNDING, clamp};
use vedette_simd::Isa;
use vedette_tensor::DType;
use vedette_tensor::elementwise::Kernel;

/// A type of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Bytes {
    U8,
    I8,
}

impl Bytes {
    /// The type of that element type.
    pub fn new(dtype: DType) -> Option<Bytes> {
        match dtype {
            DType::U8 => Some(Bytes::U8),
            DType::I8 => Some(Bytes::I8),
            _ => None,
        }
    }

    fn dtype(self) -> DType {
        match self {
            Bytes::U8 => DType::U8,
            Bytes::I8 => DType::I8,
        }
    }

    /// The smallest and the largest value.
    fn range(self) -> (f32, f32) {
        match self {
            Bytes::U8 => (0.0, 255.0),
            Bytes::I8 => (-128.0, 127.0),
        }
    }

    #[inline(always)]
    pub(crate) fn value(self, byte: u8) -> f32 {
        match self {
            Bytes::U8 => f32::from(byte),
            Bytes::I8 => f32::from(byte as i8),
        }
    }
}

/// The byte of a quotient, where `range` is that of the bytes.
#[inline(always)]
pub(crate) fn byte(quotient: f32, zero_point: f32, (least, most): (f32, f32)) -> u8 {
    let steps = clamp(quotient, least - zero_point, most - zero_point);
    // A whole number as its low bits, like the rounded one: a conversion would saturate, which takes longer.
    ((steps + ROUNDING).to_bits() as u8).wrapping_add((zero_point + ROUNDING).to_bits() as u8)
}

/// `saturate(rint(x / scale) + zero_point)` with one scale and zero point (the bits of the type) for all elements:
/// operands are the output and x.
pub fn quantize(isa: Isa, to: Bytes, scale: f32, zero_point: u8) -> Kernel<2> {
    let (zero, range) = (to.value(zero_point), to.range());
    let rows = move |pointers: [*mut u8; 2], n: usize| {
        // SAFETY: the kernel's contract grants n elements at each pointer.
        at_level!(isa, unsafe {
            map1(
                pointers,
                n,
                #[inline(always)]
                |x: f32| byte(x / scale, zero, range),
            )
        });
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([to.dtype(), DType::F32], rows) }
}

/// The same with a scale and zero point for each element: operands are the output, x, scale, zero point.
pub fn quantize_by(isa: Isa, to: Bytes) -> Kernel<4> {
    let range = to.range();
    let rows = move |pointers: [*mut u8; 4], n: usize| {
        // SAFETY: the kernel's contract grants n elements at each pointer.
        at_level!(isa, unsafe {
            map3(
                pointers,
                n,
                #[inline(always)]
                |x: f32, scale: f32, zero_point: u8| byte(x / scale, to.value(zero_point), range),
            )
        });
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([to.dtype(), DType::F32, DType::F32, to.dtype()], rows) }
}

/// `(q - zero_point) scale` with one scale and zero point (the bits of the type) for all elements: operands are the
/// output and q.
pub fn dequantize(isa: Isa, from: Bytes, scale: f32, zero_point: u8) -> Kernel<2> {
    let zero = from.value(zero_point);
    let rows = move |pointers: [*mut u8; 2], n: usize| {
        // SAFETY: the kernel's contract grants n elements at each pointer.
        at_level!(isa, unsafe {
            map1(
                pointers,
                n,
                #[inline(always)]
                |q: u8| (from.value(q) - zero) * scale,
            )
        });
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([DType::F32, from.dtype()], rows) }
}

/// The same with a scale and zero point for each element: operands are the output, q, scale, zero point.
pub fn dequantize_by(isa: Isa, from: Bytes) -> Kernel<4> {
    let rows = move |pointers: [*mut u8; 4], n: usize| {
        // SAFETY: the kernel's contract grants n elements at each pointer.
        at_level!(isa, unsafe {
            map3(
                pointers,
                n,
                #[inline(always)]
                |q: u8, scale: f32, zero_point: u8| (from.value(q) - from.value(zero_point)) * scale,
            )
        });
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([DType::F32, from.dtype(), DType::F32, from.dtype()], rows) }
}

use super::cast::through_f32;
use super::map::Kernel;
use super::number::{Float, Integer, Number, with_float, with_integer, with_number};
use crate::activation::math;
use crate::{Activation, DType, Element};
use vedette_simd::{Isa, Simd, dispatch};

/// Functions of one element, named as in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UnaryOp {
    Abs,
    Neg,
    Sign,
    Floor,
    Ceil,
    Round,
    Sqrt,
    Reciprocal,
    Exp,
    Log,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    Not,
    BitwiseNot,
    IsNaN,
}

/// The kernel of `f` on elements of one type, giving another.
pub(super) fn map1<A: Element, B: Element>(f: impl Fn(A) -> B + Send + Sync + 'static) -> Kernel<2> {
    let rows = move |[to, from]: [*mut u8; 2], n: usize| {
        let (to, from) = (to.cast::<B>(), from.cast::<A>());
        for i in 0..n {
            // SAFETY: the kernel's contract grants n elements of these types at each pointer.
            unsafe { to.add(i).write(f(from.add(i).read())) }
        }
    };
    // SAFETY: the loop accesses n elements of each, and writes only the first.
    unsafe { Kernel::new([B::DTYPE, A::DTYPE], rows) }
}

/// The kernel of a function on vectors of f32: `vectors!(isa, S, x => expression)`.
macro_rules! vectors {
    ($isa:expr, $simd:ident, $x:ident => $body:expr) => {{
        let isa = $isa;
        let rows = move |[to, from]: [*mut u8; 2], n: usize| {
            let (to, from) = (to.cast::<f32>(), from.cast::<f32>());
            // SAFETY: the kernel's contract grants n elements at each pointer, the same block or separate ones.
            dispatch!(isa, $simd => unsafe {
                crate::activation::map::<$simd>(from, to, n, #[inline(always)] |$x| $body)
            });
        };
        // SAFETY: as above, only the n elements are accessed.
        unsafe { Kernel::new([DType::F32; 2], rows) }
    }};
}

/// The kernel of `op` on elements of that type, if it is defined there.
pub fn unary(op: UnaryOp, dtype: DType, isa: Isa) -> Option<Kernel<2>> {
    if matches!(dtype, DType::F16 | DType::BF16) {
        return through_f32(unary(op, DType::F32, isa)?, [dtype; 2]);
    }
    match (op, dtype) {
        (UnaryOp::Not, DType::Bool) => Some(map1(|x: bool| !x)),
        (UnaryOp::Not, _) => None,
        (UnaryOp::BitwiseNot, _) => with_integer!(dtype, T => map1(T::not)),
        (UnaryOp::IsNaN, _) => with_float!(dtype, T => map1(<T as Number>::is_nan)),
        (UnaryOp::Abs, DType::F32) => Some(vectors!(isa, S, x => S::abs(x))),
        (UnaryOp::Neg, DType::F32) => Some(vectors!(isa, S, x => S::mul(x, S::splat(-1.0)))),
        (UnaryOp::Sqrt, DType::F32) => Some(vectors!(isa, S, x => S::sqrt(x))),
        (UnaryOp::Reciprocal, DType::F32) => Some(vectors!(isa, S, x => S::div(S::splat(1.0), x))),
        (UnaryOp::Round, DType::F32) => Some(vectors!(isa, S, x => S::round(x))),
        (UnaryOp::Exp, DType::F32) => Some(vectors!(isa, S, x => math::exp::<S>(x))),
        (UnaryOp::Tanh, DType::F32) => Some(vectors!(isa, S, x => math::tanh::<S>(x))),
        (UnaryOp::Erf, DType::F32) => Some(vectors!(isa, S, x => math::erf::<S>(x))),
        (UnaryOp::Abs, _) => with_number!(dtype, T => map1(<T as Number>::abs)),
        (UnaryOp::Neg, _) => with_number!(dtype, T => map1(<T as Number>::neg)),
        (UnaryOp::Sign, _) => with_number!(dtype, T => map1(<T as Number>::sign)),
        _ => with_float!(dtype, T => {
            let f: Option<fn(T) -> T> = float_function(op);
            map1(f?)
        }),
    }
}

fn float_function<T: Float>(op: UnaryOp) -> Option<fn(T) -> T> {
    Some(match op {
        UnaryOp::Floor => T::floor,
        UnaryOp::Ceil => T::ceil,
        UnaryOp::Round => T::round_ties_even,
        UnaryOp::Sqrt => T::sqrt,
        UnaryOp::Reciprocal => |x| T::ONE.div(x),
        UnaryOp::Exp => T::exp,
        UnaryOp::Log => T::ln,
        UnaryOp::Sin => T::sin,
        UnaryOp::Cos => T::cos,
        UnaryOp::Tan => T::tan,
        UnaryOp::Asin => T::asin,
        UnaryOp::Acos => T::acos,
        UnaryOp::Atan => T::atan,
        UnaryOp::Sinh => T::sinh,
        UnaryOp::Cosh => T::cosh,
        UnaryOp::Tanh => T::tanh,
        UnaryOp::Asinh => T::asinh,
        UnaryOp::Acosh => T::acosh,
        UnaryOp::Atanh => T::atanh,
        _ => return None,
    })
}

/// Whether an element is an infinity of a sign asked for.
pub fn is_inf(dtype: DType, negative: bool, positive: bool) -> Option<Kernel<2>> {
    if matches!(dtype, DType::F16 | DType::BF16) {
        return through_f32(is_inf(DType::F32, negative, positive)?, [DType::Bool, dtype]);
    }
    with_float!(dtype, T => map1(move |x: T| {
        Float::is_infinite(x) && if x > 0.0 { positive } else { negative }
    }))
}

/// An element to a fixed power: the usual ones without a general power function.
pub fn power(exponent: f32, isa: Isa) -> Kernel<2> {
    if exponent == 2.0 {
        vectors!(isa, S, x => S::mul(x, x))
    } else if exponent == 3.0 {
        vectors!(isa, S, x => S::mul(S::mul(x, x), x))
    } else if exponent == 0.5 {
        vectors!(isa, S, x => S::sqrt(x))
    } else if exponent == 1.0 {
        vectors!(isa, S, x => x)
    } else if exponent == -1.0 {
        vectors!(isa, S, x => S::div(S::splat(1.0), x))
    } else {
        map1(move |x: f32| x.powf(exponent))
    }
}

/// An element times a factor, of f32 or f64.
pub fn scale(factor: f64, dtype: DType, isa: Isa) -> Option<Kernel<2>> {
    match dtype {
        DType::F32 => {
            let factor = factor as f32;
            Some(vectors!(isa, S, x => S::mul(x, S::splat(factor))))
        }
        DType::F64 => {
            let rows = move |[to, from]: [*mut u8; 2], n: usize| {
                let (to, from) = (to.cast::<f64>(), from.cast::<f64>());
                dispatch!(isa, _S => for i in 0..n {
                    // SAFETY: the kernel's contract grants n elements at each pointer.
                    unsafe { to.add(i).write(from.add(i).read() * factor) }
                });
            };
            // SAFETY: as above, only the n elements are accessed.
            Some(unsafe { Kernel::new([DType::F64; 2], rows) })
        }
        _ => None,
    }
}

/// The kernel of an activation; f32, and f16 and bf16 computed in f32, and f64.
pub fn activation(activation: Activation, dtype: DType, isa: Isa) -> Option<Kernel<2>> {
    match dtype {
        DType::F32 => {
            let rows = move |[to, from]: [*mut u8; 2], n: usize| {
                let (to, from) = (to.cast::<f32>(), from.cast::<f32>());
                // SAFETY: the kernel's contract grants n elements at each pointer, one block or separate ones.
                dispatch!(isa, S => unsafe { activation.map_raw::<S>(from, to, n) });
            };
            // SAFETY: as above, only the n elements are accessed.
            Some(unsafe { Kernel::new([DType::F32; 2], rows) })
        }
        DType::F16 | DType::BF16 => through_f32(self::activation(activation, DType::F32, isa)?, [dtype; 2]),
        _ => None,
    }
}

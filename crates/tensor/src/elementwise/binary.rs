use super::cast::through_f32;
use super::map::Kernel;
use super::number::{Integer, Number, with_integer, with_number};
use crate::{DType, Element};
use vedette_simd::{Isa, Simd, dispatch};

/// Functions of two elements, named as in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    /// Remainder with the sign of the divisor.
    Modulo,
    /// Remainder with the sign of the dividend.
    Fmod,
    Pow,
    Min,
    Max,
    /// `x` where it is above 0, else `x slope`.
    PRelu,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    ShiftLeft,
    ShiftRight,
}

impl BinaryOp {
    /// Whether the result is a truth value.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        matches!(self, Equal | Less | LessOrEqual | Greater | GreaterOrEqual)
    }
}

/// Writes `f` of `n` pairs of elements.
///
/// # Safety
/// `to`, `a` and `b` are `n` elements of these types; `to` is one of the others or separate.
#[inline(always)]
unsafe fn map_each<A: Element, B: Element>([to, a, b]: [*mut u8; 3], n: usize, f: impl Fn(A, A) -> B) {
    let (to, a, b) = (to.cast::<B>(), a.cast::<A>(), b.cast::<A>());
    for i in 0..n {
        // SAFETY: i < n, which the caller grants.
        unsafe { to.add(i).write(f(a.add(i).read(), b.add(i).read())) }
    }
}

/// The kernel of `f` on elements of one type, giving another.
fn map2<A: Element, B: Element>(f: impl Fn(A, A) -> B + Send + Sync + 'static) -> Kernel<3> {
    // SAFETY: the kernel's contract grants n elements at each pointer, and only those are accessed.
    unsafe { Kernel::new([B::DTYPE, A::DTYPE, A::DTYPE], move |pointers, n| map_each(pointers, n, &f)) }
}

/// As [`map2`], compiled for each level so that the compiler can use its vectors.
macro_rules! compiled_for_levels {
    ($isa:expr, $of:ty, $result:ty, $f:expr) => {{
        let isa = $isa;
        let rows = move |pointers: [*mut u8; 3], n: usize| {
            // SAFETY: the kernel's contract grants n elements at each pointer.
            dispatch!(isa, S => unsafe { map_each::<$of, $result>(pointers, n, $f) });
        };
        // SAFETY: as above, only the n elements are accessed.
        unsafe { Kernel::new([<$result>::DTYPE, <$of>::DTYPE, <$of>::DTYPE], rows) }
    }};
}

/// Writes `f` of `n` pairs.
///
/// # Safety
/// `a` and `b` are readable and `to` writable for `n` values; `to` is one of them or separate.
#[inline(always)]
unsafe fn map_pairs<S: Simd>([to, a, b]: [*mut f32; 3], n: usize, f: impl Fn(S::V, S::V) -> S::V) {
    let mut i = 0;
    // SAFETY: every access is at i.. with at most n - i values, as the caller grants.
    unsafe {
        while i + S::LANES <= n {
            S::store(to.add(i), f(S::load(a.add(i)), S::load(b.add(i))));
            i += S::LANES;
        }
        if i < n {
            let rest = n - i;
            let value = f(S::load_partial(a.add(i), rest), S::load_partial(b.add(i), rest));
            S::store_partial(to.add(i), value, rest);
        }
    }
}

/// The kernel of a function on pairs of vectors of f32: `vectors!(isa, S, (a, b) => expression)`.
macro_rules! vectors {
    ($isa:expr, $simd:ident, ($a:ident, $b:ident) => $body:expr) => {{
        let isa = $isa;
        let rows = move |pointers: [*mut u8; 3], n: usize| {
            let pointers = pointers.map(|pointer| pointer.cast::<f32>());
            // SAFETY: the kernel's contract grants n elements at each pointer, and that the first is one of the others
            // or separate.
            dispatch!(isa, $simd => unsafe {
                map_pairs::<$simd>(pointers, n, #[inline(always)] |$a, $b| $body)
            });
        };
        // SAFETY: as above, only the n elements are accessed.
        unsafe { Kernel::new([DType::F32; 3], rows) }
    }};
}

/// The kernel of `op` on two elements of that type, if it is defined there.
pub fn binary(op: BinaryOp, dtype: DType, isa: Isa) -> Option<Kernel<3>> {
    if matches!(dtype, DType::F16 | DType::BF16) {
        let output = if op.is_comparison() { DType::Bool } else { dtype };
        return through_f32(binary(op, DType::F32, isa)?, [output, dtype, dtype]);
    }
    if dtype == DType::Bool {
        return boolean(op);
    }
    if dtype == DType::F32
        && let Some(kernel) = float_vectors(op, isa)
    {
        return Some(kernel);
    }
    if dtype == DType::F64
        && let Some(kernel) = doubles(op, isa)
    {
        return Some(kernel);
    }
    match op {
        BinaryOp::Add => with_number!(dtype, T => map2(<T as Number>::add)),
        BinaryOp::Sub => with_number!(dtype, T => map2(<T as Number>::sub)),
        BinaryOp::Mul => with_number!(dtype, T => map2(<T as Number>::mul)),
        BinaryOp::Div => with_number!(dtype, T => map2(<T as Number>::div)),
        BinaryOp::Modulo => with_number!(dtype, T => map2(<T as Number>::modulo)),
        BinaryOp::Fmod => with_number!(dtype, T => map2(<T as Number>::remainder)),
        BinaryOp::Pow => with_number!(dtype, T => map2(<T as Number>::pow)),
        BinaryOp::Min => with_number!(dtype, T => map2(<T as Number>::min)),
        BinaryOp::Max => with_number!(dtype, T => map2(<T as Number>::max)),
        BinaryOp::PRelu => with_number!(dtype, T => map2(|x: T, slope: T| {
            if x > T::ZERO { x } else { <T as Number>::mul(x, slope) }
        })),
        BinaryOp::Equal => with_number!(dtype, T => map2(|a: T, b: T| a == b)),
        BinaryOp::Less => with_number!(dtype, T => map2(|a: T, b: T| a < b)),
        BinaryOp::LessOrEqual => with_number!(dtype, T => map2(|a: T, b: T| a <= b)),
        BinaryOp::Greater => with_number!(dtype, T => map2(|a: T, b: T| a > b)),
        BinaryOp::GreaterOrEqual => with_number!(dtype, T => map2(|a: T, b: T| a >= b)),
        BinaryOp::BitwiseAnd => with_integer!(dtype, T => map2(<T as Integer>::and)),
        BinaryOp::BitwiseOr => with_integer!(dtype, T => map2(<T as Integer>::or)),
        BinaryOp::BitwiseXor => with_integer!(dtype, T => map2(<T as Integer>::xor)),
        BinaryOp::ShiftLeft => with_integer!(dtype, T => map2(<T as Integer>::shift_left)),
        BinaryOp::ShiftRight => with_integer!(dtype, T => map2(<T as Integer>::shift_right)),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => None,
    }
}

fn boolean(op: BinaryOp) -> Option<Kernel<3>> {
    Some(match op {
        BinaryOp::And | BinaryOp::Min | BinaryOp::Mul => map2(|a: bool, b: bool| a & b),
        BinaryOp::Or | BinaryOp::Max | BinaryOp::Add => map2(|a: bool, b: bool| a | b),
        BinaryOp::Xor => map2(|a: bool, b: bool| a ^ b),
        BinaryOp::Equal => map2(|a: bool, b: bool| a == b),
        _ => return None,
    })
}

fn float_vectors(op: BinaryOp, isa: Isa) -> Option<Kernel<3>> {
    Some(match op {
        BinaryOp::Add => vectors!(isa, S, (a, b) => S::add(a, b)),
        BinaryOp::Sub => vectors!(isa, S, (a, b) => S::sub(a, b)),
        BinaryOp::Mul => vectors!(isa, S, (a, b) => S::mul(a, b)),
        BinaryOp::Div => vectors!(isa, S, (a, b) => S::div(a, b)),
        BinaryOp::Min => compiled_for_levels!(isa, f32, f32, <f32 as Number>::min),
        BinaryOp::Max => compiled_for_levels!(isa, f32, f32, <f32 as Number>::max),
        BinaryOp::Equal => compiled_for_levels!(isa, f32, bool, |a, b| a == b),
        BinaryOp::Less => compiled_for_levels!(isa, f32, bool, |a, b| a < b),
        BinaryOp::LessOrEqual => compiled_for_levels!(isa, f32, bool, |a, b| a <= b),
        BinaryOp::Greater => compiled_for_levels!(isa, f32, bool, |a, b| a > b),
        BinaryOp::GreaterOrEqual => compiled_for_levels!(isa, f32, bool, |a, b| a >= b),
        BinaryOp::PRelu => vectors!(isa, S, (x, slope) => {
            S::select_lt(S::splat(0.0), x, x, S::mul(x, slope))
        }),
        _ => return None,
    })
}

fn doubles(op: BinaryOp, isa: Isa) -> Option<Kernel<3>> {
    Some(match op {
        BinaryOp::Add => compiled_for_levels!(isa, f64, f64, <f64 as Number>::add),
        BinaryOp::Sub => compiled_for_levels!(isa, f64, f64, <f64 as Number>::sub),
        BinaryOp::Mul => compiled_for_levels!(isa, f64, f64, <f64 as Number>::mul),
        BinaryOp::Div => compiled_for_levels!(isa, f64, f64, <f64 as Number>::div),
        _ => return None,
    })
}

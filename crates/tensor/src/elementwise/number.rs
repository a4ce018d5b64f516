//! Arithmetic that generic kernels need of their element types, as ONNX (that is, NumPy) defines it.

use crate::Element;

/// A number: floats, and integers that wrap around.
pub(crate) trait Number: Element + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// The smallest value, minus infinity for floats.
    const LOWEST: Self;
    /// The largest value, infinity for floats.
    const HIGHEST: Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// Quotient; truncated for integers, and 0 where an integer is divided by 0.
    fn div(self, other: Self) -> Self;
    /// Remainder with the sign of `self` (C's `fmod`); 0 where an integer is divided by 0.
    fn remainder(self, other: Self) -> Self;
    /// Remainder with the sign of `other` (Python's `%`); 0 where an integer is divided by 0.
    fn modulo(self, other: Self) -> Self;
    /// The smaller, NaN if either is.
    fn min(self, other: Self) -> Self;
    /// The larger, NaN if either is.
    fn max(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    /// -1, 0, 1, or NaN.
    fn sign(self) -> Self;
    fn pow(self, exponent: Self) -> Self;
    fn to_f64(self) -> f64;
    /// Truncated and saturated for integers.
    fn from_f64(x: f64) -> Self;
    fn is_nan(self) -> bool;
}

/// A number with bits to work on.
pub(crate) trait Integer: Number {
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    /// Zeros come in; 0 where the shift is as wide as the type.
    fn shift_left(self, by: Self) -> Self;
    /// Copies of the sign come in for signed types.
    fn shift_right(self, by: Self) -> Self;
}

/// A float the CPU computes with.
pub(crate) trait Float: Number {
    fn is_infinite(self) -> bool;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round_ties_even(self) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tan(self) -> Self;
    fn asin(self) -> Self;
    fn acos(self) -> Self;
    fn atan(self) -> Self;
    fn sinh(self) -> Self;
    fn cosh(self) -> Self;
    fn tanh(self) -> Self;
    fn asinh(self) -> Self;
    fn acosh(self) -> Self;
    fn atanh(self) -> Self;
}

macro_rules! float {
    ($t:ident) => {
        impl Number for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $t::NEG_INFINITY;
            const HIGHEST: Self = $t::INFINITY;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                self / other
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                self % other
            }
            #[inline(always)]
            fn modulo(self, other: Self) -> Self {
                let rest = self % other;
                if rest == 0.0 {
                    (0.0 as $t).copysign(other)
                } else if (rest < 0.0) != (other < 0.0) {
                    rest + other
                } else {
                    rest
                }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if self < other || self != self { self } else { other }
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if self > other || self != self { self } else { other }
            }
            #[inline(always)]
            fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                if self == 0.0 || self != self { self } else { (1.0 as $t).copysign(self) }
            }
            #[inline(always)]
            fn pow(self, exponent: Self) -> Self {
                self.powf(exponent)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
        }

        impl Float for $t {
            #[inline(always)]
            fn is_infinite(self) -> bool {
                $t::is_infinite(self)
            }
            float!(@std $t: floor ceil round_ties_even sqrt exp ln sin cos tan asin acos atan sinh cosh
                tanh asinh acosh atanh);
        }
    };
    (@std $t:ident: $($name:ident)*) => {
        $(
            #[inline(always)]
            fn $name(self) -> Self {
                $t::$name(self)
            }
        )*
    };
}

macro_rules! integer {
    ($($t:ident, $neg:expr, $abs:expr, $sign:expr);* $(;)?) => { $(
        impl Number for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = $t::MIN;
            const HIGHEST: Self = $t::MAX;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            #[allow(unused_comparisons, reason = "the same text serves unsigned types")]
            fn modulo(self, other: Self) -> Self {
                let rest = self.remainder(other);
                if rest != 0 && (rest < 0) != (other < 0) { rest.wrapping_add(other) } else { rest }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                Ord::min(self, other)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Ord::max(self, other)
            }
            #[inline(always)]
            fn neg(self) -> Self {
                $neg(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $abs(self)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                $sign(self)
            }
            #[inline(always)]
            #[allow(unused_comparisons, reason = "the same text serves unsigned types")]
            fn pow(self, exponent: Self) -> Self {
                if exponent < 0 {
                    // The reciprocal of an integral power, truncated.
                    return match self {
                        1 => 1,
                        base if base.wrapping_add(1) == 0 => if exponent & 1 == 0 { 1 } else { base },
                        _ => 0,
                    };
                }
                let (mut base, mut exponent, mut power) = (self, exponent as u64, 1 as $t);
                while exponent > 0 {
                    if exponent & 1 == 1 {
                        power = power.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    exponent >>= 1;
                }
                power
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
        }

        impl Integer for $t {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn shift_left(self, by: Self) -> Self {
                self.checked_shl(u32::try_from(by).unwrap_or(u32::MAX)).unwrap_or(0)
            }
            #[inline(always)]
            fn shift_right(self, by: Self) -> Self {
                // Beyond the width only copies of the sign remain, in two steps as the last one of a shift may not fit.
                let by = u32::try_from(by).unwrap_or(u32::MAX);
                self.checked_shr(by).unwrap_or((self >> ($t::BITS - 1)) >> 1)
            }
        }
    )* };
}

float!(f32);
float!(f64);
integer! {
    i8, i8::wrapping_neg, i8::wrapping_abs, i8::signum;
    i16, i16::wrapping_neg, i16::wrapping_abs, i16::signum;
    i32, i32::wrapping_neg, i32::wrapping_abs, i32::signum;
    i64, i64::wrapping_neg, i64::wrapping_abs, i64::signum;
    u8, u8::wrapping_neg, std::convert::identity, |x| u8::from(x != 0);
    u16, u16::wrapping_neg, std::convert::identity, |x| u16::from(x != 0);
    u32, u32::wrapping_neg, std::convert::identity, |x| u32::from(x != 0);
    u64, u64::wrapping_neg, std::convert::identity, |x| u64::from(x != 0);
}

/// `Some` of the expression with `$t` the element type, `None` where the dtype is none of those named.
macro_rules! with_types {
    ($dtype:expr, $t:ident, $body:expr; $($name:ident: $rust:ty),*) => {
        match $dtype {
            $($crate::DType::$name => {
                type $t = $rust;
                Some($body)
            })*
            #[allow(unreachable_patterns, reason = "some lists name every type")]
            _ => None,
        }
    };
}

/// `with_integer!(dtype, T => expression)`
macro_rules! with_integer {
    ($dtype:expr, $t:ident => $body:expr) => {
        $crate::elementwise::with_types!($dtype, $t, $body;
            I8: i8, U8: u8, I16: i16, U16: u16, I32: i32, U32: u32, I64: i64, U64: u64)
    };
}

/// `with_float!(dtype, T => expression)`: the floats that the CPU computes with.
macro_rules! with_float {
    ($dtype:expr, $t:ident => $body:expr) => {
        $crate::elementwise::with_types!($dtype, $t, $body; F32: f32, F64: f64)
    };
}

/// `with_number!(dtype, T => expression)`
macro_rules! with_number {
    ($dtype:expr, $t:ident => $body:expr) => {
        $crate::elementwise::with_types!($dtype, $t, $body; F32: f32, F64: f64,
            I8: i8, U8: u8, I16: i16, U16: u16, I32: i32, U32: u32, I64: i64, U64: u64)
    };
}

pub(crate) use {with_float, with_integer, with_number, with_types};

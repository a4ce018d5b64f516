//! Unary activations, alone or in the epilogue of a matrix product or convolution.

use vedette_simd::{Isa, Simd, dispatch};

/// A unary function of `f32` and its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the parameters are those of the ONNX operators of the same name")]
pub enum Activation {
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    Clip {
        min: f32,
        max: f32,
    },
    Sigmoid,
    /// `clip(alpha x + beta, 0, 1)`
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x clip(alpha x + beta, 0, 1)`; HardSwish has alpha 1/6 and beta 1/2.
    ScaledHardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x sigmoid(alpha x)`
    Silu {
        alpha: f32,
    },
    Tanh,
    /// `x/2 (1 + erf(x / sqrt 2))`
    Gelu,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`
    GeluTanh,
    Elu {
        alpha: f32,
    },
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Celu {
        alpha: f32,
    },
    Mish,
    Softplus,
    Softsign,
    ThresholdedRelu {
        alpha: f32,
    },
    Erf,
    Exp,
}

mod approximate_gelu;
pub(crate) mod math;

pub use approximate_gelu::approximate_gelu;

/// Runs `$body` with `$f` bound to the activation's function of a vector, the kind chosen outside of `$body`, so
/// that a loop in it has no branch.
///
/// The functions must be inlined always: compiled apart they would lack the level's instructions, and every intrinsic
/// in them would be a call.
macro_rules! with_function {
    ($activation:expr, $simd:ident, $f:ident => $body:expr) => {
        with_function!(@arms $activation, $simd, $f, $body;
            Relu => |x| $simd::max($simd::splat(0.0), x);
            LeakyRelu { alpha } => |x| {
                $simd::select_lt(x, $simd::splat(0.0), $simd::mul(x, $simd::splat(alpha)), x)
            };
            Clip { min, max } => |x| $simd::min($simd::splat(max), $simd::max($simd::splat(min), x));
            Sigmoid => |x| math::sigmoid::<$simd>(x);
            HardSigmoid { alpha, beta } => |x| clip_line::<$simd>(x, alpha, beta);
            ScaledHardSigmoid { alpha, beta } => |x| $simd::mul(x, clip_line::<$simd>(x, alpha, beta));
            Silu { alpha } => |x| {
                let e = math::exp::<$simd>($simd::mul(x, $simd::splat(-alpha)));
                $simd::div(x, $simd::add(e, $simd::splat(1.0)))
            };
            Tanh => |x| math::tanh::<$simd>(x);
            Gelu => |x| {
                let e = math::erf::<$simd>($simd::mul(x, $simd::splat(std::f32::consts::FRAC_1_SQRT_2)));
                let half = $simd::mul(x, $simd::splat(0.5));
                $simd::mul_add(half, e, half)
            };
            GeluTanh => |x| {
                let cubic = $simd::mul($simd::mul(x, x), $simd::splat(0.044_715 * 0.797_884_6));
                let inner = $simd::mul(x, $simd::add(cubic, $simd::splat(0.797_884_6)));
                let half = $simd::mul(x, $simd::splat(0.5));
                $simd::mul_add(half, math::tanh::<$simd>(inner), half)
            };
            Elu { alpha } => |x| {
                let below = $simd::mul(math::expm1_negative::<$simd>(x), $simd::splat(alpha));
                $simd::select_lt(x, $simd::splat(0.0), below, x)
            };
            Selu { alpha, gamma } => |x| {
                let below = $simd::mul(math::expm1_negative::<$simd>(x), $simd::splat(alpha));
                $simd::mul($simd::select_lt(x, $simd::splat(0.0), below, x), $simd::splat(gamma))
            };
            Celu { alpha } => |x| {
                let zero = $simd::splat(0.0);
                let scaled = $simd::div(x, $simd::splat(alpha));
                let above = $simd::sub(math::exp::<$simd>(scaled), $simd::splat(1.0));
                let curve = $simd::select_lt(scaled, zero, math::expm1_negative::<$simd>(scaled), above);
                let below = $simd::min(zero, $simd::mul(curve, $simd::splat(alpha)));
                $simd::add($simd::max(zero, x), below)
            };
            Mish => |x| math::mish::<$simd>(x);
            Softplus => |x| math::softplus::<$simd>(x);
            Softsign => |x| $simd::div(x, $simd::add($simd::abs(x), $simd::splat(1.0)));
            ThresholdedRelu { alpha } => |x| $simd::select_lt($simd::splat(alpha), x, x, $simd::splat(0.0));
            Erf => |x| math::erf::<$simd>(x);
            Exp => |x| math::exp::<$simd>(x);
        )
    };
    (@arms $activation:expr, $simd:ident, $f:ident, $body:expr;
     $($kind:ident $({ $($parameter:ident),* })? => |$x:ident| $function:expr;)*) => {
        match $activation {
            $(Activation::$kind $({ $($parameter),* })? => {
                let $f = ::core::convert::identity(
                    #[inline(always)]
                    |$x: <$simd as Simd>::V| $function,
                );
                $body
            })*
        }
    };
}

/// `clip(alpha x + beta, 0, 1)`
#[inline(always)]
fn clip_line<S: Simd>(x: S::V, alpha: f32, beta: f32) -> S::V {
    let line = S::mul_add(x, S::splat(alpha), S::splat(beta));
    S::max(S::splat(0.0), S::min(S::splat(1.0), line))
}

/// Writes `f` of `n` values.
///
/// # Safety
/// `from` is readable and `to` writable for `n` values; they are the same block or separate ones.
#[inline(always)]
pub(crate) unsafe fn map<S: Simd>(from: *const f32, to: *mut f32, n: usize, f: impl Fn(S::V) -> S::V) {
    let mut i = 0;
    // SAFETY: every access is at i.. with at most n - i values, as the caller grants.
    unsafe {
        while i + S::LANES <= n {
            S::store(to.add(i), f(S::load(from.add(i))));
            i += S::LANES;
        }
        if i < n {
            S::store_partial(to.add(i), f(S::load_partial(from.add(i), n - i)), n - i);
        }
    }
}

impl Activation {
    /// The activation of one vector. In a loop, prefer [`apply_slice`](Self::apply_slice), which chooses the kind once.
    #[inline(always)]
    pub fn eval<S: Simd>(self, v: S::V) -> S::V {
        with_function!(self, S, f => f(v))
    }

    /// Replaces every value by its activation; to be called inside [`vedette_simd::dispatch!`].
    #[inline(always)]
    pub fn apply_slice<S: Simd>(self, data: &mut [f32]) {
        let (pointer, n) = (data.as_mut_ptr(), data.len());
        // SAFETY: both pointers are the slice of n values.
        unsafe { self.map_raw::<S>(pointer, pointer, n) }
    }

    /// Writes the activation of `n` values; to be called inside [`vedette_simd::dispatch!`].
    ///
    /// # Safety
    /// `from` is readable and `to` writable for `n` values; they are the same block or separate ones.
    #[inline(always)]
    pub unsafe fn map_raw<S: Simd>(self, from: *const f32, to: *mut f32, n: usize) {
        // SAFETY: as granted by the caller.
        with_function!(self, S, f => unsafe { map::<S>(from, to, n, f) });
    }

    /// Replaces every value by its activation.
    pub fn apply(self, isa: Isa, data: &mut [f32]) {
        dispatch!(isa, S => self.apply_slice::<S>(&mut *data));
    }

    /// Writes the activation of every value of `from`.
    ///
    /// # Panics
    /// Where the slices differ in length.
    pub fn apply_to(self, isa: Isa, from: &[f32], to: &mut [f32]) {
        assert_eq!(from.len(), to.len());
        // SAFETY: the slices are separate and of the same length.
        dispatch!(isa, S => unsafe { self.map_raw::<S>(from.as_ptr(), to.as_mut_ptr(), from.len()) });
    }
}

#[cfg(test)]
mod tests;

//! CPU facts, instruction-set levels, and the vector trait that kernels are written over.
//!
//! A kernel is generic code over [`Simd`]; [`dispatch!`] instantiates it once per level inside a
//! function compiled for that level. A level is a value ([`Isa`]) that only exists where the CPU has it,
//! so one process can run every level it owns against the scalar oracle.

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf16;
mod features;
mod prefetch;
mod real;
mod store;
mod vector;

#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_doubles;

pub use bf16::{Runs, bf16_bits, bf16_value, copy_runs, round_runs_to_bf16, round_to_bf16};
pub use features::{CpuFeatures, Isa, features, isa};
pub use prefetch::{Fetch, end_of_stream, prefetch, prefetch_ahead, prefetch_to_l2};
pub use real::{Doubles, Real};
#[cfg(target_arch = "x86_64")]
pub use store::ByUnits;
pub use store::{AsBfloat16, AsFloat32, Store};
pub use vector::{Scalar, Simd};
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// Runs a generic kernel at a level: `dispatch!(isa, S => kernel::<S>(arguments))`.
///
/// The expression is compiled once per level in a function with that level's target features, so
/// `#[inline(always)]` generics inside become straight vector code. Arguments are captured by reference.
#[macro_export]
macro_rules! dispatch {
    ($isa:expr, $simd:ident => $body:expr) => {{
        match $isa.level() {
            #[cfg(target_arch = "x86_64")]
            $crate::Level::Avx512 => {
                type $simd = $crate::Avx512;
                // Made outside of the unsafe block, so that unsafe code in the body must say so.
                let body = $crate::called_once(
                    #[inline(always)]
                    || $body,
                );
                // SAFETY: an `Isa` of this level exists only where the CPU has its features.
                unsafe { $crate::call_avx512(body) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::Level::Avx2 => {
                type $simd = $crate::Avx2;
                let body = $crate::called_once(
                    #[inline(always)]
                    || $body,
                );
                // SAFETY: as above.
                unsafe { $crate::call_avx2(body) }
            }
            _ => {
                type $simd = $crate::Scalar;
                $body
            }
        }
    }};
}

/// Its argument. Seen through this bound, a closure is called directly; otherwise the call would go through a function
/// that lacks the level's instructions, and every intrinsic inside would become a call.
#[doc(hidden)]
#[inline(always)]
pub fn called_once<R, F: FnOnce() -> R>(body: F) -> F {
    body
}

pub use features::Level;
#[cfg(target_arch = "x86_64")]
pub use x86::{call_avx2, call_avx512, call_avx512_bf16};

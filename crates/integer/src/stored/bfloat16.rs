//! Arrays kept as bfloat16.

use super::{SPAN, in_parts};
use crate::at_level;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// The nearest bfloat16 of finite numbers, halves to even, as their bits.
pub fn to_bfloat16(isa: Isa, x: &[f32], out: &mut [u16], pool: &ThreadPool) {
    assert_eq!(x.len(), out.len());
    let count = x.len();
    in_parts(
        pool,
        count,
        SPAN,
        |step| x.chunks(step).zip(out.chunks_mut(step)).collect(),
        |_, (x, out)| {
            at_level!(isa, {
                for (to, x) in out.iter_mut().zip(x) {
                    let bits = x.to_bits();
                    *to = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
                }
            });
        },
    );
}

/// The float32 of the bits of bfloat16.
pub fn from_bfloat16(isa: Isa, x: &[u16], out: &mut [f32], pool: &ThreadPool) {
    assert_eq!(x.len(), out.len());
    let count = x.len();
    in_parts(
        pool,
        count,
        SPAN,
        |step| x.chunks(step).zip(out.chunks_mut(step)).collect(),
        |_, (x, out)| {
            at_level!(isa, {
                for (to, &x) in out.iter_mut().zip(x) {
                    *to = f32::from_bits(u32::from(x) << 16);
                }
            });
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_rounds_to_even() {
        let pool = ThreadPool::new(2);
        let x = [1.0, 1.0 + 0.5f32.powi(8), 1.0 + 3.0 * 0.5f32.powi(8), -65504.0, 0.0, f32::MIN_POSITIVE];
        for isa in Isa::available() {
            let (mut bits, mut back) = ([0; 6], [0.0; 6]);
            to_bfloat16(isa, &x, &mut bits, &pool);
            from_bfloat16(isa, &bits, &mut back, &pool);
            assert_eq!(back, [1.0, 1.0, 1.0 + 0.5f32.powi(6), -65536.0, 0.0, f32::MIN_POSITIVE]);
        }
    }
}

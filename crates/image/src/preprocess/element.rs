use half::f16;

/// An element type of batches.
pub trait Element: Copy + Send + Sync + 'static {
    /// The nearest value, halves to even, saturating.
    fn from_f32(value: f32) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }
}

impl Element for f16 {
    #[inline(always)]
    fn from_f32(value: f32) -> f16 {
        f16::from_f32(value)
    }
}

/// Added to a number of less than 22 bits, it leaves the nearest whole number, halves to even, in the low bits: unlike a
/// conversion that saturates, that is no more than an addition to the compiler's vectors.
const ROUNDING: f32 = 12_582_912.0;

#[inline(always)]
fn rounded(value: f32, lowest: f32, highest: f32) -> u32 {
    // `max` passes over NaN.
    (value.max(lowest).min(highest) + ROUNDING).to_bits()
}

impl Element for u8 {
    #[inline(always)]
    fn from_f32(value: f32) -> u8 {
        rounded(value, 0.0, 255.0) as u8
    }
}

impl Element for i8 {
    #[inline(always)]
    fn from_f32(value: f32) -> i8 {
        rounded(value, -128.0, 127.0) as u8 as i8
    }
}

/// `value * scale + offset`, not fused, so that every level gives the same bits.
#[inline(always)]
pub fn affine<S, T: Element>(row: &[i16], scale: f32, offset: f32, out: &mut [T]) {
    let _level = std::marker::PhantomData::<S>;
    for (target, &value) in out.iter_mut().zip(row) {
        *target = T::from_f32(f32::from(value) * scale + offset);
    }
}

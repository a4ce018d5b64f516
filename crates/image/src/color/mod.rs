//! Conversions between colour spaces, with OpenCV's arithmetic.

mod convert;
#[cfg(target_arch = "x86_64")]
mod rearrange;
mod space;
mod yuv;

pub use convert::{Conversion, Tone};
pub use yuv::decode_yuv;

use crate::{Frame, FrameMut};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Pixels a thread converts at least.
const GRAIN: usize = 1 << 15;

/// Converts each pixel. Both may be the same image.
///
/// # Panics
/// Where sizes differ, or channels are not those of the conversion, or it is not [plain](Conversion::is_plain) and the
/// elements are not bytes.
pub fn convert<T: Tone>(
    isa: Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    conversion: Conversion,
    pool: &ThreadPool,
) {
    assert!(image.height() == out.height() && image.width() == out.width());
    assert!(image.channels() == conversion.from_channels() && out.channels() == conversion.to_channels());
    assert!(conversion.is_plain() || size_of::<T>() == 1, "no hue or chroma but of bytes");
    if out.is_empty() {
        return;
    }
    let in_place = image.row_ptr(0) == out.row_ptr(0).cast_const();
    pool.run_ranges(out.height(), GRAIN / image.width() + 1, 1, |range| {
        let (mut scratch, mut target, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for y in range {
            let mut row = image.row(y, &mut scratch);
            if in_place {
                held.clear();
                held.extend_from_slice(row);
                row = &held;
            }
            // SAFETY: the ranges are disjoint, so this row is this thread's alone, and what is read is not it.
            unsafe {
                out.write_row(y, &mut target, |out| {
                    if conversion.is_copy() {
                        out.copy_from_slice(row);
                    } else {
                        T::convert(isa, conversion, row, out);
                    }
                });
            }
        }
    });
}

//! Conversions between colour spaces, with OpenCV's arithmetic.

mod convert;
mod yuv;

pub use convert::Conversion;
pub use yuv::decode_yuv;

use crate::{Frame, FrameMut};
use vedette_runtime::ThreadPool;

/// Pixels a thread converts at least.
const GRAIN: usize = 1 << 15;

/// Converts each pixel.
///
/// # Panics
/// Where sizes differ, or channels are not those of the conversion.
pub fn convert(image: Frame<'_, u8>, out: FrameMut<'_, u8>, conversion: Conversion, pool: &ThreadPool) {
    assert!(image.height() == out.height() && image.width() == out.width());
    assert!(image.channels() == conversion.from_channels() && out.channels() == conversion.to_channels());
    if out.is_empty() {
        return;
    }
    pool.run_ranges(out.height(), GRAIN / image.width() + 1, 1, |range| {
        let (mut scratch, mut target) = (Vec::new(), Vec::new());
        for y in range {
            let row = image.row(y, &mut scratch);
            // SAFETY: the ranges are disjoint, so this row is this thread's alone.
            unsafe { out.write_row(y, &mut target, |out| conversion.row(row, out)) }
        }
    });
}

//! Camera formats to RGB: BT.601 with luma of 16 to 235, each chroma sample standing for its pixels, as in OpenCV.

use crate::preprocess::Source;
use crate::{Frame, FrameMut};
use vedette_runtime::ThreadPool;

/// Rows a thread converts at least.
const ROWS_PER_PART: usize = 64;

/// Converts an NV12, I420 or YUYV frame, laid out as [`SourceFrame::new`](crate::preprocess::SourceFrame::new) says, to
/// RGB, or to BGR if `reversed`.
///
/// # Panics
/// Where the shape of `out` is not the frame's height and width with three channels, or the source is another.
pub fn decode_yuv(
    array: Frame<'_, u8>,
    source: Source,
    out: FrameMut<'_, u8>,
    reversed: bool,
    pool: &ThreadPool,
) {
    let (height, width) = (out.height(), out.width());
    assert!(out.channels() == 3 && width % 2 == 0);
    match source {
        Source::Yuyv => assert!(array.height() == height && array.width() == width && array.channels() == 2),
        Source::Nv12 | Source::I420 => {
            assert!(array.height() == height / 2 * 3 && height % 2 == 0);
            assert!(array.width() == width && array.channels() == 1);
        }
        _ => panic!("{source:?} has no chroma to decode"),
    }
    pool.run_ranges(height, ROWS_PER_PART, 2, |range| {
        let (mut scratch, mut chroma_scratch, mut target) = (Vec::new(), Vec::new(), Vec::new());
        for y in range {
            let row = array.row(y, &mut scratch);
            // SAFETY: the ranges are disjoint, so this row is this thread's alone.
            unsafe {
                out.write_row(y, &mut target, |pixels| match source {
                    Source::Yuyv => {
                        for (two, quad) in
                            pixels.as_chunks_mut::<6>().0.iter_mut().zip(row.as_chunks::<4>().0)
                        {
                            *two = pair([quad[0], quad[2]], quad[1], quad[3], reversed);
                        }
                    }
                    Source::Nv12 => {
                        let chroma = array.row(height + y / 2, &mut chroma_scratch);
                        let samples = row.as_chunks::<2>().0.iter().zip(chroma.as_chunks::<2>().0);
                        for (two, (&luma, &[u, v])) in pixels.as_chunks_mut::<6>().0.iter_mut().zip(samples) {
                            *two = pair(luma, u, v, reversed);
                        }
                    }
                    _ => {
                        // A row of the array holds two rows of a chroma plane.
                        let place = |plane: usize, x: usize| {
                            let index = plane * (height / 2) * (width / 2) + y / 2 * (width / 2) + x;
                            array.get(height + index / width, index % width, 0)
                        };
                        for (x, two) in pixels.as_chunks_mut::<6>().0.iter_mut().enumerate() {
                            *two = pair([row[2 * x], row[2 * x + 1]], place(0, x), place(1, x), reversed);
                        }
                    }
                });
            }
        }
    });
}

/// Two pixels that share their chroma, in 20 fraction bits.
#[inline(always)]
fn pair(luma: [u8; 2], u: u8, v: u8, reversed: bool) -> [u8; 6] {
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    let half = 1 << 19;
    let mut rgb = [half + 1_673_527 * v, half - 852_492 * v - 409_993 * u, half + 2_116_026 * u];
    if reversed {
        rgb.reverse();
    }
    let mut out = [0; 6];
    for (pixel, luma) in out.as_chunks_mut::<3>().0.iter_mut().zip(luma) {
        let luma = (i32::from(luma) - 16).max(0) * 1_220_542;
        *pixel = rgb.map(|chroma| ((luma + chroma) >> 20).clamp(0, 255) as u8);
    }
    out
}

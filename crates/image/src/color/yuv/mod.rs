//! Camera formats to RGB: BT.601 with luma of 16 to 235, each chroma sample standing for its pixels, as in OpenCV.

mod row;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::preprocess::Source;
use crate::{Frame, FrameMut};
use row::{Chroma, Order};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Rows a thread converts at least.
const ROWS_PER_PART: usize = 64;

/// Converts an NV12, I420 or YUYV frame, laid out as [`SourceFrame::new`](crate::preprocess::SourceFrame::new) says, to
/// RGB, or to BGR if `reversed`, with an opaque alpha where `out` has four channels; with one channel, to its luma as it is.
///
/// # Panics
/// Where the shape of `out` is not the frame's height and width with one, three or four channels, or the source is
/// another.
pub fn decode_yuv(
    isa: Isa,
    array: Frame<'_, u8>,
    source: Source,
    out: FrameMut<'_, u8>,
    reversed: bool,
    pool: &ThreadPool,
) {
    let (height, width) = (out.height(), out.width());
    assert!(matches!(out.channels(), 1 | 3 | 4) && width % 2 == 0);
    match source {
        Source::Yuyv => assert!(array.height() == height && array.width() == width && array.channels() == 2),
        Source::Nv12 | Source::I420 => {
            assert!(array.height() == height / 2 * 3 && height % 2 == 0);
            assert!(array.width() == width && array.channels() == 1);
        }
        _ => panic!("{source:?} has no chroma to decode"),
    }
    let order = Order { channels: out.channels(), reversed };
    let gray = out.channels() == 1;
    pool.run_ranges(height, ROWS_PER_PART, 2, |range| {
        let (mut scratch, mut chroma_scratch, mut target) = (Vec::new(), Vec::new(), Vec::new());
        let mut luma = vec![0; if source == Source::Yuyv { width } else { 0 }];
        let mut pairs = vec![[0; 2]; width / 2];
        let mut planes = [Vec::new(), Vec::new()];
        let mut chroma = Chroma::new(if gray { 0 } else { width / 2 });
        for y in range {
            let mut row = array.row(y, &mut scratch);
            if source == Source::Yuyv {
                row::part(isa, row, &mut luma, &mut pairs);
                if !gray {
                    chroma.set(isa, &pairs);
                }
                row = &luma;
            } else if y % 2 == 0 && !gray {
                // Two rows have one chroma.
                if source == Source::Nv12 {
                    let row = array.row(height + y / 2, &mut chroma_scratch);
                    chroma.set(isa, row.as_chunks().0);
                } else {
                    for (plane, held) in planes.iter_mut().enumerate() {
                        // A row of the array holds two rows of a plane of chroma.
                        let start = (plane * (height / 2) + y / 2) * (width / 2);
                        let from = array.row(height + start / width, &mut chroma_scratch);
                        held.clear();
                        held.extend_from_slice(&from[start % width..][..width / 2]);
                    }
                    for ((pair, &u), &v) in pairs.iter_mut().zip(&planes[0]).zip(&planes[1]) {
                        *pair = [u, v];
                    }
                    chroma.set(isa, &pairs);
                }
            }
            // SAFETY: the ranges are disjoint, so this row is this thread's alone.
            unsafe {
                out.write_row(y, &mut target, |pixels| {
                    if gray {
                        pixels.copy_from_slice(row);
                    } else {
                        row::decode(isa, row, &chroma, order, pixels);
                    }
                });
            }
        }
    });
}

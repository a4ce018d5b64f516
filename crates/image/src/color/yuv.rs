//! Camera formats to RGB: BT.601 with luma of 16 to 235, each chroma sample standing for its pixels, as in OpenCV.

use super::space;
use crate::interleaved::{BLOCK, Interleaved};
use crate::preprocess::Source;
use crate::{Frame, FrameMut};
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, dispatch};

/// Rows a thread converts at least.
const ROWS_PER_PART: usize = 64;

/// Converts an NV12, I420 or YUYV frame, laid out as [`SourceFrame::new`](crate::preprocess::SourceFrame::new) says, to
/// RGB, or to BGR if `reversed`.
///
/// # Panics
/// Where the shape of `out` is not the frame's height and width with three channels, or the source is another.
pub fn decode_yuv(
    isa: Isa,
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
        let mut planes = Planes { luma: vec![0; width], u: vec![0; width / 2], v: vec![0; width / 2] };
        for y in range {
            let row = array.row(y, &mut scratch);
            match source {
                Source::Yuyv => dispatch!(isa, S => planes.take_pairs::<S>(row)),
                Source::Nv12 => {
                    planes.luma.copy_from_slice(row);
                    let chroma = array.row(height + y / 2, &mut chroma_scratch);
                    dispatch!(isa, S => planes.take_chroma::<S>(chroma));
                }
                _ => {
                    planes.luma.copy_from_slice(row);
                    for (plane, chroma) in [&mut planes.u, &mut planes.v].into_iter().enumerate() {
                        // A row of the array holds two rows of a plane of chroma.
                        let start = (plane * (height / 2) + y / 2) * (width / 2);
                        let from = array.row(height + start / width, &mut chroma_scratch);
                        chroma.copy_from_slice(&from[start % width..][..width / 2]);
                    }
                }
            }
            // SAFETY: the ranges are disjoint, so this row is this thread's alone.
            unsafe {
                out.write_row(y, &mut target, |pixels| {
                    dispatch!(isa, S => decode_row::<S>(&planes, reversed, pixels));
                });
            }
        }
    });
}

/// A row of a frame, its chroma half as wide as its luma.
struct Planes {
    luma: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

// Plain loops that the compiler turns into vector code, compiled once a level.
impl Planes {
    #[inline(always)]
    fn take_pairs<S>(&mut self, row: &[u8]) {
        let _level = std::marker::PhantomData::<S>;
        let chroma = self.u.iter_mut().zip(self.v.iter_mut());
        let pairs = self.luma.as_chunks_mut::<2>().0.iter_mut().zip(chroma);
        for ((luma, (u, v)), quad) in pairs.zip(row.as_chunks::<4>().0) {
            *luma = [quad[0], quad[2]];
            *u = quad[1];
            *v = quad[3];
        }
    }

    #[inline(always)]
    fn take_chroma<S>(&mut self, chroma: &[u8]) {
        let _level = std::marker::PhantomData::<S>;
        for ((u, v), pair) in self.u.iter_mut().zip(self.v.iter_mut()).zip(chroma.as_chunks::<2>().0) {
            *u = pair[0];
            *v = pair[1];
        }
    }
}

#[inline(always)]
fn decode_row<S: Interleaved>(row: &Planes, reversed: bool, out: &mut [u8]) {
    let chroma = row.u.chunks(BLOCK / 2).zip(row.v.chunks(BLOCK / 2));
    let pixels = out.chunks_mut(3 * BLOCK).zip(row.luma.chunks(BLOCK));
    for ((target, luma), (u, v)) in pixels.zip(chroma) {
        let mut planes = [[0; BLOCK]; 3];
        planes[0][..luma.len()].copy_from_slice(luma);
        for (plane, chroma) in planes[1..].iter_mut().zip([u, v]) {
            let mut held = [0; BLOCK / 2];
            held[..chroma.len()].copy_from_slice(chroma);
            for (two, &value) in plane.as_chunks_mut::<2>().0.iter_mut().zip(&held) {
                *two = [value; 2];
            }
        }
        let mut rgb = [[0; BLOCK]; 3];
        space::video_to_rgb(&planes[0], &planes[1], &planes[2], &mut rgb);
        if reversed {
            rgb.swap(0, 2);
        }
        let pixels = target.len() / 3;
        let mut joined = [[0; 3]; BLOCK];
        if let Some(whole) = target.as_chunks_mut::<3>().0.first_chunk_mut::<BLOCK>() {
            S::join(&rgb, whole);
        } else {
            S::join(&rgb, &mut joined);
            target.copy_from_slice(joined[..pixels].as_flattened());
        }
    }
}

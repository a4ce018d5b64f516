//! Lines of an image of any strides, copied channels-last.

use crate::matmul::split::{chunk, parts_for};
use vedette_runtime::ThreadPool;

/// Pixels transposed together: their channels' cache lines stay in L1 meanwhile.
const BLOCK: usize = 16;

/// Copies the pixels of a line so that the channels of each follow one another.
///
/// # Safety
/// Channel `c` of pixel `p` is at `from + c * channel_stride + p * pixel_stride`, readable for all channels and
/// `to.len() / channels` pixels.
pub(crate) unsafe fn interleave(
    from: *const f32,
    (channels, channel_stride): (usize, isize),
    pixel_stride: isize,
    to: &mut [f32],
) {
    let pixels = to.len() / channels.max(1);
    let plane = |c: usize| from.wrapping_offset(c as isize * channel_stride);
    // SAFETY: pixel p of channel c is at plane(c) + p * pixel_stride.
    unsafe {
        if channel_stride == 1 && (pixel_stride == channels as isize || pixels <= 1) {
            std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len());
        } else if channel_stride == 1 {
            for (p, to) in to.chunks_exact_mut(channels).enumerate() {
                let pixel = from.wrapping_offset(p as isize * pixel_stride);
                std::ptr::copy_nonoverlapping(pixel, to.as_mut_ptr(), channels);
            }
        } else if pixel_stride == 1 && channels == 3 {
            let [r, g, b] = [0, 1, 2].map(|c| std::slice::from_raw_parts(plane(c), pixels));
            for ((to, r), (g, b)) in to.chunks_exact_mut(3).zip(r).zip(g.iter().zip(b)) {
                to[0] = *r;
                to[1] = *g;
                to[2] = *b;
            }
        } else {
            for (block, to) in to.chunks_mut(BLOCK * channels).enumerate() {
                for c in 0..channels {
                    let from = plane(c).wrapping_offset((block * BLOCK) as isize * pixel_stride);
                    for (p, to) in to[c..].iter_mut().step_by(channels).enumerate() {
                        *to = *from.offset(p as isize * pixel_stride);
                    }
                }
            }
        }
    }
}

/// Copies a `[batch, channels, depth, height, width]` tensor of any strides to `[batch, depth, height, width, channels]`.
///
/// # Safety
/// `from` is the first element of such a tensor; `to` has room for its elements.
pub(crate) unsafe fn copy_channels_last(
    from: *const f32,
    strides: [isize; 5],
    batch: usize,
    channels: usize,
    [depth, height, width]: [usize; 3],
    to: *mut f32,
    pool: &ThreadPool,
) {
    let len = width * channels;
    let lines = batch * depth * height;
    let parts = parts_for((lines * len * 8) as u64, pool.threads());
    let pointers = (Shared(from.cast_mut()), Shared(to));
    pool.run(parts, |part| {
        let (from, to) = (&pointers.0, &pointers.1);
        for line in chunk(lines, parts, part, 1) {
            let (slice, y) = (line / height, line % height);
            let (image, z) = (slice / depth, slice % depth);
            let offset = image as isize * strides[0] + z as isize * strides[2] + y as isize * strides[3];
            // SAFETY: a line of the tensor, and its place in the copy, which is this part's own.
            unsafe {
                let to = std::slice::from_raw_parts_mut(to.0.add(line * len), len);
                interleave(from.0.wrapping_offset(offset), (channels, strides[1]), strides[4], to);
            }
        }
    });
}

struct Shared(*mut f32);

// SAFETY: the parts' lines are their own.
unsafe impl Sync for Shared {}

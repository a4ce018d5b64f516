//! One tap after the other: the oracle, and the form for levels without byte products.

use super::{CHANNELS, DepthwisePlan, Unit};
use crate::at_level;
use crate::conv::ConvArguments;

/// Pixels whose sums are finished together.
const PIXELS: usize = 8;

pub(super) fn scratch_bytes(_: &DepthwisePlan) -> usize {
    PIXELS * CHANNELS * size_of::<i32>()
}

/// Computes a unit.
///
/// # Safety
/// As for [`DepthwisePlan::run`], where the unit and the scratch memory are the caller's own.
pub(super) unsafe fn run(plan: &DepthwisePlan, arguments: &ConvArguments, unit: &Unit, scratch: *mut u8) {
    let width = &plan.axes[2];
    let sums = scratch.cast::<[i32; CHANNELS]>();
    for line in unit.line..unit.line + unit.lines {
        let lines = plan.input_lines(arguments, unit, line);
        for pixel in (0..width.output).step_by(PIXELS) {
            let pixels = PIXELS.min(width.output - pixel);
            // SAFETY: room for the sums of these pixels, taken for lines of the input.
            unsafe {
                for i in 0..pixels {
                    let sums = &mut *sums.add(i);
                    at_level!(plan.weights.isa(), sum(plan, unit, &lines, pixel + i, &mut *sums));
                }
                plan.finish(arguments, unit, (line, pixel, pixels), sums.cast());
            }
        }
    }
}

/// The sums of a pixel.
///
/// # Safety
/// The lines are those of the input under the pixel's.
#[inline(always)]
unsafe fn sum(
    plan: &DepthwisePlan,
    unit: &Unit,
    lines: &[*const u8],
    pixel: usize,
    sums: &mut [i32; CHANNELS],
) {
    let width = &plan.axes[2];
    let zero_point = i16::from(plan.zero_point);
    *sums = [0; CHANNELS];
    for (row, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_null()) {
        for kx in width.taps_within(pixel) {
            let Some(column) = width.at(pixel, kx) else { continue };
            let x = line.wrapping_offset(column as isize * plan.x[3]);
            let w = plan.weights.tap(row * width.kernel + kx, unit.channel);
            // SAFETY: the weights are padded to whole blocks; of the input only channels that exist are read.
            unsafe {
                let w = *w.cast::<[i8; CHANNELS]>();
                let mut values = [0u8; CHANNELS];
                if unit.count == CHANNELS {
                    values = *x.cast::<[u8; CHANNELS]>();
                } else {
                    std::ptr::copy_nonoverlapping(x, values.as_mut_ptr(), unit.count);
                }
                for i in 0..CHANNELS {
                    // The product fits 16 bits: 255 times -128.
                    sums[i] += i32::from((i16::from(values[i]) - zero_point) * i16::from(w[i]));
                }
            }
        }
    }
}

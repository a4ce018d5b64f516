//! Where the taps of a window lie: one small table an axis instead of one entry a pixel and tap.

use super::geometry::Axis;
use crate::matmul::product::RowSource;
use std::ops::Range;

/// Marks a tap that falls into the padding. Adding other offsets to it leaves it below [`PADDING_BELOW`].
pub(crate) const PADDING: isize = isize::MIN / 8;
const PADDING_BELOW: isize = isize::MIN / 16;

/// Offsets of every tap of every output position, by axis.
#[derive(Debug)]
pub(crate) struct WindowTables {
    /// `[output][kernel]` for depth, height and width.
    axes: [Vec<isize>; 3],
    outputs: [usize; 3],
    kernels: [usize; 3],
    batch_stride: isize,
    /// Values from the window of a pixel to that of the next.
    pixel_step: isize,
}

impl WindowTables {
    /// Tables for windows on a tensor with these `[batch, channel, depth, height, width]` strides.
    pub(crate) fn new(axes: &[Axis; 3], strides: [isize; 5]) -> WindowTables {
        let table = |i: usize| -> Vec<isize> {
            let axis = &axes[i];
            (0..axis.output)
                .flat_map(|output| (0..axis.kernel).map(move |tap| axis.at(output, tap)))
                .map(|position| position.map_or(PADDING, |position| position as isize * strides[i + 2]))
                .collect()
        };
        WindowTables::from_tables(
            [table(0), table(1), table(2)],
            axes.map(|axis| axis.output),
            axes.map(|axis| axis.kernel),
            strides[0],
            axes[2].stride as isize * strides[4],
        )
    }

    /// Tables made elsewhere, `[output][kernel]` each.
    pub(crate) fn from_tables(
        axes: [Vec<isize>; 3],
        outputs: [usize; 3],
        kernels: [usize; 3],
        batch_stride: isize,
        pixel_step: isize,
    ) -> WindowTables {
        WindowTables { axes, outputs, kernels, batch_stride, pixel_step }
    }

    /// Taps of a window.
    pub(crate) fn taps(&self) -> usize {
        self.kernels.iter().product()
    }
}

/// Output pixels as rows of a product: for each tap a run of channels of each of `N` inputs that lie alike.
pub(crate) struct WindowRows<'a, const N: usize> {
    pub tables: &'a WindowTables,
    pub bases: [*const f32; N],
    /// As many zeros as a tap is deep.
    pub zeros: *const f32,
}

// SAFETY: the pointers are only read through, by whoever vouches for them.
unsafe impl<const N: usize> Sync for WindowRows<'_, N> {}

impl<const N: usize> RowSource for WindowRows<'_, N> {
    #[inline(always)]
    fn pointers(&self, rows: Range<usize>, taps: Range<usize>, skip: usize, out: &mut [*const f32]) {
        let [_, height, width] = self.tables.outputs;
        let [depth_taps, height_taps, width_taps] = self.tables.kernels;
        let count = rows.len();
        let mut x = rows.start % width;
        let mut line = rows.start / width;
        let mut y = line % height;
        for i in 0..count {
            if x == width {
                x = 0;
                line += 1;
                y = line % height;
            }
            let slice = line / height;
            let depth = self.tables.outputs[0];
            let (batch, z) = if depth == 1 { (slice, 0) } else { (slice / depth, slice % depth) };
            let z_table = &self.tables.axes[0][z * depth_taps..(z + 1) * depth_taps];
            let y_table = &self.tables.axes[1][y * height_taps..(y + 1) * height_taps];
            let x_table = &self.tables.axes[2][x * width_taps..(x + 1) * width_taps];
            let image = batch as isize * self.tables.batch_stride;
            let mut tap = 0;
            for &z_offset in z_table {
                for &y_offset in y_table {
                    let line_offset = z_offset + y_offset;
                    for &x_offset in x_table {
                        let offset = line_offset + x_offset;
                        for base in self.bases {
                            if taps.contains(&tap) {
                                out[(tap - taps.start) * count + i] = if offset < PADDING_BELOW {
                                    self.zeros
                                } else {
                                    base.wrapping_offset(image + offset).wrapping_add(skip)
                                };
                            }
                            tap += 1;
                        }
                    }
                }
            }
            x += 1;
        }
    }

    fn step(&self) -> isize {
        self.tables.pixel_step
    }
}

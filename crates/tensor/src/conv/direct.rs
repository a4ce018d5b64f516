//! Convolution as a product on the input where it lies: its channels have unit stride, so each tap is a run.

use super::plan::{ConvArguments, ConvShape};
use super::rows::{WindowRows, WindowTables};
use crate::matmul::product::Product;
use crate::matmul::split::{Grid, ROW_MULTIPLE};
use vedette_memory::AlignedBuffer;
use vedette_runtime::ThreadPool;

pub(crate) struct Direct {
    tables: WindowTables,
    zeros: AlignedBuffer,
    in_channels: usize,
    out_channels: usize,
    grid: Grid,
}

impl Direct {
    /// `x` are the input's `[batch, channel, depth, height, width]` strides; `panels` those of one group.
    pub(crate) fn new(shape: &ConvShape, x: [isize; 5], panels: usize, threads: usize) -> Direct {
        let in_channels = shape.in_channels / shape.groups;
        Direct {
            tables: WindowTables::new(&shape.axes, x),
            zeros: AlignedBuffer::new(in_channels * size_of::<f32>()),
            in_channels,
            out_channels: shape.out_channels / shape.groups,
            grid: Grid::new(shape.groups, (shape.pixels(), ROW_MULTIPLE), panels, shape.work(), threads),
        }
    }

    /// Convolves an input whose channels lie in `inputs` tensors that lie alike, one after the other.
    ///
    /// # Safety
    /// As for [`super::ConvPlan::run`].
    pub(crate) unsafe fn run(
        &self,
        arguments: &ConvArguments,
        inputs: usize,
        product: &Product<'_>,
        pool: &ThreadPool,
    ) {
        // SAFETY: as the caller grants.
        unsafe {
            match (inputs, arguments.further) {
                (2, [b, ..]) => self.run_inputs([arguments.x, b], product, pool),
                (3, [b, c, _]) => self.run_inputs([arguments.x, b, c], product, pool),
                (4, [b, c, d]) => self.run_inputs([arguments.x, b, c, d], product, pool),
                _ => self.run_inputs([arguments.x], product, pool),
            }
        }
    }

    /// # Safety
    /// As for [`super::ConvPlan::run`], for every one of `inputs`.
    unsafe fn run_inputs<const N: usize>(
        &self,
        inputs: [*const f32; N],
        product: &Product<'_>,
        pool: &ThreadPool,
    ) {
        let inputs = Inputs(inputs);
        self.grid.run(pool, |_, group, rows, panels| {
            let source = WindowRows {
                tables: &self.tables,
                bases: { &inputs }.0.map(|x| x.wrapping_add(group * self.in_channels)),
                zeros: self.zeros.as_ptr().cast(),
            };
            let product = product.group(group, self.out_channels);
            // SAFETY: the tables stay within the inputs; cells do not overlap; the caller grants the rest.
            unsafe { product.run(&source, rows, panels) };
        });
    }
}

struct Inputs<const N: usize>([*const f32; N]);

// SAFETY: the pointers are only read through, by whoever vouches for them.
unsafe impl<const N: usize> Sync for Inputs<N> {}

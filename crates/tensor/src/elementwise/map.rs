use super::nest::{Nest, PARALLEL_GRAIN, Tile};
use crate::{DType, Dims, Strides, TensorError, View, ViewMut, broadcast_shape};
use smallvec::SmallVec;
use std::mem::MaybeUninit;
use vedette_runtime::ThreadPool;

/// Writes `n` elements of the first pointer from as many of each of the others, all contiguous.
pub(super) type Rows<const N: usize> = dyn Fn([*mut u8; N], usize) + Send + Sync;

/// An elementwise computation on contiguous elements: operand 0 is written, the others are read.
///
/// It must also be right where an input is the very memory that is written.
pub struct Kernel<const N: usize> {
    dtypes: [DType; N],
    rows: Box<Rows<N>>,
}

impl<const N: usize> Kernel<N> {
    /// The kernel that calls `rows` with pointers and a number of elements.
    ///
    /// # Safety
    /// `rows` must access only the `n` elements of these types at each pointer, and write only the first.
    pub unsafe fn new(
        dtypes: [DType; N],
        rows: impl Fn([*mut u8; N], usize) + Send + Sync + 'static,
    ) -> Kernel<N> {
        Kernel { dtypes, rows: Box::new(rows) }
    }

    /// Computes `n` contiguous elements.
    ///
    /// # Safety
    /// `n` elements of the kernel's types are readable at every pointer, and writable at the first.
    pub unsafe fn run_raw(&self, pointers: [*mut u8; N], n: usize) {
        (self.rows)(pointers, n);
    }

    /// Type of the elements written.
    pub fn output_dtype(&self) -> DType {
        self.dtypes[0]
    }

    /// Types of the operands, the written one first.
    pub fn dtypes(&self) -> [DType; N] {
        self.dtypes
    }

    /// Computes `n` elements that follow each other in every operand, on several threads where that pays.
    ///
    /// # Safety
    /// The first pointer is writable and the others readable for `n` elements of the kernel's types, aligned for them;
    /// the first is one of the others or apart from them.
    pub unsafe fn run_contiguous(&self, pointers: [*mut u8; N], n: usize, pool: &ThreadPool) {
        if n <= PARALLEL_GRAIN {
            (self.rows)(pointers, n);
            return;
        }
        let pointers = Pointers(pointers);
        pool.run_ranges(n, PARALLEL_GRAIN, 64, |range| {
            (self.rows)(pointers.at(range.start, self.dtypes.map(DType::size)), range.len());
        });
    }

    pub(super) fn into_rows(self) -> Box<Rows<N>> {
        self.rows
    }
}

/// Pointers of one run, shared by threads that use them at places of their own.
struct Pointers<const N: usize>([*mut u8; N]);

// SAFETY: the pointers are only values here; who dereferences them answers for it.
unsafe impl<const N: usize> Sync for Pointers<N> {}

impl<const N: usize> Pointers<N> {
    fn at(&self, element: usize, sizes: [usize; N]) -> [*mut u8; N] {
        std::array::from_fn(|k| self.0[k].wrapping_add(element * sizes[k]))
    }
}

/// Type, shape and strides of an operand.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    /// Element type.
    pub dtype: DType,
    /// Logical shape.
    pub shape: &'a [usize],
    /// Strides in elements.
    pub strides: &'a [isize],
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Operand {
    shape: Dims,
    strides: Strides,
}

/// A kernel planned for operands that lie in memory in a known way. Inputs broadcast to the output.
pub struct Map<const N: usize> {
    kernel: Kernel<N>,
    nest: Nest<N>,
    operands: [Operand; N],
}

/// Elements an operand that is not contiguous is gathered by before the kernel runs.
const CHUNK: usize = 512;

#[repr(align(64))]
struct Stage([MaybeUninit<u64>; CHUNK]);

impl<const N: usize> Map<N> {
    /// Plans `kernel`; the output, operand 0, must be dense.
    pub fn new(kernel: Kernel<N>, operands: [Layout<'_>; N]) -> Result<Map<N>, TensorError> {
        let shape = operands[0].shape;
        let mut strides: SmallVec<[Strides; N]> = SmallVec::new();
        for (k, operand) in operands.iter().enumerate() {
            if operand.dtype != kernel.dtypes[k] {
                return Err(TensorError(format!(
                    "operand {k} is {}, the kernel is for {}",
                    operand.dtype, kernel.dtypes[k]
                )));
            }
            strides.push(broadcast_strides(operand.shape, operand.strides, shape)?);
        }
        let sizes = kernel.dtypes.map(DType::size);
        let nest = Nest::new(shape, std::array::from_fn(|k| &strides[k][..]), sizes);
        if !nest.is_contiguous_inside(0, sizes[0]) {
            return Err(TensorError(format!(
                "the output must be dense, its strides are {:?}",
                operands[0].strides
            )));
        }
        let operands = operands.map(|o| Operand { shape: o.shape.into(), strides: o.strides.into() });
        Ok(Map { kernel, nest, operands })
    }

    /// Computes the output from the inputs (operands 1 and up).
    ///
    /// # Panics
    /// Where an operand does not lie as planned.
    pub fn run(&self, inputs: &[&View<'_>], output: &mut ViewMut<'_>, pool: &ThreadPool) {
        assert_eq!(inputs.len() + 1, N);
        assert!(self.is_as_planned(0, output.dtype(), output.shape(), output.strides()));
        for (k, input) in inputs.iter().enumerate() {
            assert!(self.is_as_planned(k + 1, input.dtype(), input.shape(), input.strides()), "operand {k}");
        }
        let written = output.as_mut_ptr();
        let pointers =
            std::array::from_fn(|k| if k == 0 { written } else { inputs[k - 1].as_ptr().cast_mut() });
        let sizes = self.kernel.dtypes.map(DType::size);
        self.nest.run(pool, pointers, &|tile| run_tile(tile, sizes, &*self.kernel.rows));
    }

    fn is_as_planned(&self, k: usize, dtype: DType, shape: &[usize], strides: &[isize]) -> bool {
        let operand = &self.operands[k];
        dtype == self.kernel.dtypes[k] && shape == &operand.shape[..] && strides == &operand.strides[..]
    }
}

/// Strides that make a tensor broadcast to `to`.
fn broadcast_strides(shape: &[usize], strides: &[isize], to: &[usize]) -> Result<Strides, TensorError> {
    if broadcast_shape(shape, to)?.as_slice() != to {
        return Err(TensorError(format!("shape {shape:?} does not broadcast to {to:?}")));
    }
    let missing = to.len() - shape.len();
    Ok((0..to.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(own) if shape[own] != 1 => strides[own],
            _ => 0,
        })
        .collect())
}

fn run_tile<const N: usize>(tile: &Tile<N>, sizes: [usize; N], rows: &Rows<N>) {
    let &Tile { rows: row_count, columns, row_strides, column_strides, .. } = tile;
    let contiguous: [bool; N] =
        std::array::from_fn(|k| columns == 1 || column_strides[k] == sizes[k] as isize);
    let follows =
        |k: usize| contiguous[k] && (row_count == 1 || row_strides[k] == (columns * sizes[k]) as isize);
    let repeats = |k: usize| k > 0 && row_strides[k] == 0;
    if (0..N).all(follows) {
        rows(tile.pointers, row_count * columns);
        return;
    }
    let mut stages = [const { Stage([MaybeUninit::uninit(); CHUNK]) }; N];
    if row_count > 1 && columns <= CHUNK / 2 && (0..N).all(|k| follows(k) || repeats(k)) {
        // One row, such as values per channel, serves all the others: repeated in the stage, it makes long runs.
        let period = CHUNK / columns * columns;
        for k in (0..N).filter(|&k| !follows(k)) {
            for repeat in 0..(period / columns).min(row_count) {
                gather(
                    &mut stages[k],
                    repeat * columns,
                    tile.pointers[k],
                    column_strides[k],
                    sizes[k],
                    columns,
                );
            }
        }
        for start in (0..row_count * columns).step_by(period) {
            let pointers = std::array::from_fn(|k| match follows(k) {
                true => tile.pointers[k].wrapping_add(start * sizes[k]),
                false => stages[k].0.as_mut_ptr().cast(),
            });
            rows(pointers, period.min(row_count * columns - start));
        }
        return;
    }
    let chunk = if contiguous.iter().all(|&c| c) { columns.max(1) } else { CHUNK };
    for row in 0..row_count {
        for start in (0..columns).step_by(chunk) {
            let n = chunk.min(columns - start);
            let mut pointers = tile.at(row, start);
            for k in (0..N).filter(|&k| !contiguous[k]) {
                let filled = column_strides[k] == 0 && (start > 0 || (row > 0 && row_strides[k] == 0));
                if !filled {
                    gather(&mut stages[k], 0, pointers[k], column_strides[k], sizes[k], n);
                }
                pointers[k] = stages[k].0.as_mut_ptr().cast();
            }
            rows(pointers, n);
        }
    }
}

/// Brings `n` elements at a stride together in the stage, from its element `to` on.
fn gather(stage: &mut Stage, to: usize, from: *const u8, stride: isize, size: usize, n: usize) {
    fn copy<T: Copy>(stage: &mut Stage, to: usize, from: *const u8, stride: isize, n: usize) {
        assert!((to + n) * size_of::<T>() <= size_of::<Stage>());
        let stage = stage.0.as_mut_ptr().cast::<T>();
        for i in 0..n {
            // SAFETY: the stage has room for the element, as checked; the source is an element of the operand, which
            // is aligned, as the nest visits only those.
            unsafe { stage.add(to + i).write(from.offset(stride * i as isize).cast::<T>().read()) }
        }
    }
    match size {
        1 => copy::<u8>(stage, to, from, stride, n),
        2 => copy::<u16>(stage, to, from, stride, n),
        4 => copy::<u32>(stage, to, from, stride, n),
        _ => copy::<u64>(stage, to, from, stride, n),
    }
}

//! The packed form of `B`: panels of columns, each `[k][width]`, padded with zeros to the panel's width.

use super::tile::{Kernel, kernels};
use std::ops::Range;
use vedette_memory::AlignedBuffer;
use vedette_simd::Isa;

/// A panel: which columns it holds, where it lies, and which kernel takes it.
pub(crate) struct Panel {
    pub kernel: &'static Kernel,
    pub columns: Range<usize>,
    /// Values before it in the packed block.
    pub offset: usize,
}

/// How a `k x n` matrix is cut into panels at a level.
pub struct PanelLayout {
    isa: Isa,
    k: usize,
    n: usize,
    pub(crate) panels: Vec<Panel>,
    len: usize,
}

impl std::fmt::Debug for PanelLayout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PanelLayout({} x {}, {} panels)", self.k, self.n, self.panels.len())
    }
}

/// The kernels for `n` columns: one main width as often as it fits, and one for the rest.
fn choose(isa: Isa, n: usize) -> (&'static Kernel, Option<&'static Kernel>) {
    let kernels = kernels(isa);
    let rest_of = |main: &Kernel| match n % main.width {
        0 => None,
        rest => kernels.iter().filter(|kernel| kernel.width >= rest).min_by(|a, b| a.cost.total_cmp(&b.cost)),
    };
    let cost =
        |main: &Kernel| (n / main.width) as f32 * main.cost + rest_of(main).map_or(0.0, |kernel| kernel.cost);
    let mut best = &kernels[kernels.len() - 1];
    for kernel in kernels.iter().rev() {
        if cost(kernel) < cost(best) {
            best = kernel;
        }
    }
    (best, rest_of(best))
}

impl PanelLayout {
    /// The layout of a `k x n` matrix.
    pub fn new(isa: Isa, k: usize, n: usize) -> PanelLayout {
        let (main, rest) = choose(isa, n);
        let mut layout = PanelLayout { isa, k, n, panels: Vec::new(), len: 0 };
        let mut column = 0;
        while column < n {
            let kernel = if n - column >= main.width { main } else { rest.unwrap_or(main) };
            let end = n.min(column + kernel.width);
            layout.panels.push(Panel { kernel, columns: column..end, offset: layout.len });
            layout.len += k * kernel.width;
            column = end;
        }
        layout
    }

    /// The level it is for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Rows of the matrix.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns of the matrix.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Values the packed matrix takes.
    pub fn packed_len(&self) -> usize {
        self.len
    }

    /// Values from one packed matrix to the next, a whole number of cache lines.
    pub fn packed_step(&self) -> usize {
        self.len.next_multiple_of(16)
    }

    /// Packs these panels of a matrix whose element `(k, n)` is at `source + row_offset(k) + column_offset(n)`, scaled by
    /// `scale`.
    ///
    /// # Safety
    /// Those elements are readable; `packed` is writable for [`packed_len`](Self::packed_len) values.
    pub unsafe fn pack(
        &self,
        panels: Range<usize>,
        source: *const f32,
        row_offset: impl Fn(usize) -> isize,
        column_offset: impl Fn(usize) -> isize,
        scale: f32,
        packed: *mut f32,
    ) {
        // A few rows for all panels, then the next: pages of the source are done with before too many others come.
        for first in (0..self.k).step_by(ROWS_TOGETHER) {
            for panel in &self.panels[panels.clone()] {
                let width = panel.kernel.width;
                let columns = panel.columns.len();
                for k in first..self.k.min(first + ROWS_TOGETHER) {
                    let row = source.wrapping_offset(row_offset(k));
                    // SAFETY: the panel's `width` values of row k lie within the packed block.
                    let to = unsafe {
                        std::slice::from_raw_parts_mut(packed.add(panel.offset + k * width), width)
                    };
                    let (values, padding) = to.split_at_mut(columns);
                    for (j, value) in values.iter_mut().enumerate() {
                        // SAFETY: j is a column of the matrix, which the caller grants.
                        *value = unsafe { *row.offset(column_offset(panel.columns.start + j)) } * scale;
                    }
                    padding.fill(0.0);
                }
            }
        }
    }
}

/// Rows that are packed for all panels before the next are.
const ROWS_TOGETHER: usize = 32;

impl PanelLayout {
    /// Packs these panels of a matrix with these strides, scaled by `scale`.
    ///
    /// # Safety
    /// As for [`pack`](Self::pack).
    pub(crate) unsafe fn pack_strided(
        &self,
        panels: Range<usize>,
        source: *const f32,
        (row_stride, column_stride): (isize, isize),
        scale: f32,
        packed: *mut f32,
    ) {
        if row_stride != 1 || column_stride == 1 {
            let offsets = |k: usize| k as isize * row_stride;
            // SAFETY: as the caller grants.
            unsafe {
                if column_stride == 1 {
                    // A stride the compiler knows makes a plain copy of each row.
                    self.pack(panels, source, offsets, |n| n as isize, scale, packed);
                } else {
                    self.pack(panels, source, offsets, |n| n as isize * column_stride, scale, packed);
                }
            }
            return;
        }
        for panel in &self.panels[panels] {
            let width = panel.kernel.width;
            // SAFETY: the panel lies within the packed block.
            let to = unsafe { std::slice::from_raw_parts_mut(packed.add(panel.offset), self.k * width) };
            if panel.columns.len() < width {
                to.fill(0.0);
            }
            for (j, column) in panel.columns.clone().enumerate() {
                // SAFETY: a column of the matrix, which is a run of k values.
                let from = unsafe {
                    std::slice::from_raw_parts(source.offset(column as isize * column_stride), self.k)
                };
                for (row, value) in to.chunks_exact_mut(width).zip(from) {
                    row[j] = *value * scale;
                }
            }
        }
    }
}

/// Matrices of one shape packed once, for products with many others.
#[derive(Debug)]
pub struct PackedMatrix {
    layout: PanelLayout,
    data: AlignedBuffer,
}

impl PackedMatrix {
    /// Packs matrices whose element `(k, n)` is at `source + start + row_offsets[k] + n * column_stride`, one for each
    /// of `starts`.
    ///
    /// # Safety
    /// Those elements are readable.
    pub unsafe fn new(
        isa: Isa,
        source: *const f32,
        starts: &[isize],
        row_offsets: &[isize],
        (n, column_stride): (usize, isize),
        scale: f32,
    ) -> PackedMatrix {
        let layout = PanelLayout::new(isa, row_offsets.len(), n);
        let mut data = AlignedBuffer::new(layout.packed_step() * starts.len() * size_of::<f32>());
        for (i, &start) in starts.iter().enumerate() {
            // SAFETY: the source is as the caller grants, and the buffer has room for each matrix.
            unsafe {
                let packed = data.as_mut_ptr().cast::<f32>().add(i * layout.packed_step());
                let source = source.wrapping_offset(start);
                let columns = |n| n as isize * column_stride;
                layout.pack(0..layout.panels.len(), source, |k| row_offsets[k], columns, scale, packed);
            }
        }
        PackedMatrix { layout, data }
    }

    /// The layout of each.
    pub fn layout(&self) -> &PanelLayout {
        &self.layout
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The packed values of matrix `i`.
    pub fn as_ptr(&self, i: usize) -> *const f32 {
        self.data.as_ptr().cast::<f32>().wrapping_add(i * self.layout.packed_step())
    }
}

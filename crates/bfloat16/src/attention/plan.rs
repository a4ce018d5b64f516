use super::weights::{ROOM, weigh};
use crate::kernel::BLOCK;
use crate::matmul::RowCopy;
use crate::product::{ColumnLayout, Product, Surface};
use crate::shared::Shared;
use std::f32::consts::LOG2_E;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};
use vedette_tensor::TensorError;
use vedette_tensor::matmul::{Epilogue, MatMulOperands, Matrix, chunk, parts_for};
use vedette_tensor::{Dims, broadcast_shape};

/// Rows of queries whose scores are made at once: two tiles, and those of a few hundred keys stay in L1.
const ROWS: usize = 32;

/// What parts begin at multiples of: a tile.
const ROW_MULTIPLE: usize = 16;

/// Work of an exponential and what goes with it, in multiply-accumulates.
const EXPONENTIAL: usize = 32;

/// Shapes and strides of queries `[..., N, D]`, keys `[..., D, M]` and values `[..., M, E]`, in elements.
#[derive(Clone, Copy, Debug)]
pub struct AttentionOperands<'a> {
    /// Shape and strides of the queries.
    pub q: (&'a [usize], &'a [isize]),
    /// Shape and strides of the keys.
    pub k: (&'a [usize], &'a [isize]),
    /// Shape and strides of the values.
    pub v: (&'a [usize], &'a [isize]),
}

impl AttentionOperands<'_> {
    fn matrices(&self) -> Result<[Matrix; 3], TensorError> {
        let product = |a: (&[usize], &[isize]), b: (&[usize], &[isize])| {
            MatMulOperands {
                a_shape: a.0,
                a_strides: a.1,
                trans_a: false,
                b_shape: b.0,
                b_strides: b.1,
                trans_b: false,
            }
            .matrices()
        };
        if [self.q, self.k, self.v].iter().any(|operand| operand.0.len() < 2) {
            return Err(TensorError("queries, keys and values need two axes at least".into()));
        }
        let (q, k) = product(self.q, self.k)?;
        // Weights have as many columns as there are keys.
        let (_, v) = product((&[q.rows, k.columns], &[0, 1]), self.v)?;
        Ok([q, k, v])
    }

    /// The shape of the output.
    pub fn output(&self) -> Result<Dims, TensorError> {
        let [q, k, v] = self.matrices()?;
        let mut shape = broadcast_shape(&broadcast_shape(&q.batch, &k.batch)?, &v.batch)?;
        shape.extend([q.rows, v.columns]);
        Ok(shape)
    }
}

/// What a run reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct AttentionArguments {
    /// First query.
    pub q: *const f32,
    /// First key.
    pub k: *const f32,
    /// First value.
    pub v: *const f32,
    /// First element of the output.
    pub out: *mut f32,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for AttentionArguments {}

/// A matrix of every head, packed in every run.
#[derive(Debug)]
struct Side {
    layout: ColumnLayout,
    offsets: Vec<isize>,
    strides: (isize, isize),
    scale: f32,
}

impl Side {
    fn new(isa: Isa, matrix: &Matrix, scale: f32) -> Side {
        let layout = ColumnLayout::new(isa, matrix.columns, (1, matrix.rows), true);
        let strides = (matrix.row_stride, matrix.column_stride);
        Side { layout, offsets: matrix.own_offsets(), strides, scale }
    }

    fn bytes(&self) -> usize {
        self.offsets.len() * self.layout.packed_len() * size_of::<u16>()
    }

    fn tasks(&self) -> usize {
        self.offsets.len() * self.layout.blocks()
    }

    /// Packs the block of that number, of all matrices.
    ///
    /// # Safety
    /// `from` is the first element of the tensor; `to` has room for all matrices.
    unsafe fn pack(&self, task: usize, from: *const f32, to: *mut u16) {
        let (number, block) = (task / self.layout.blocks(), task % self.layout.blocks());
        let to = to.wrapping_add(number * self.layout.packed_len());
        let from = from.wrapping_offset(self.offsets[number]);
        // SAFETY: as granted by the caller.
        unsafe { self.layout.pack_strided(block..block + 1, from, self.strides, self.scale, to) };
    }
}

/// A planned attention of float32 tensors: queries, keys (times `alpha`), weights and values are rounded to bfloat16.
#[derive(Debug)]
pub struct AttentionPlan {
    isa: Isa,
    rows: usize,
    /// For every head: offset of the queries, numbers of the keys and values, offset in the output.
    heads: Vec<(isize, usize, usize, isize)>,
    q_row: isize,
    copy: RowCopy,
    keys: Side,
    values: Side,
    out_row: isize,
    /// Chunks of rows of a head, and parts that all of them are shared among.
    chunks: usize,
    parts: usize,
}

impl AttentionPlan {
    /// Plans an attention. `out_strides` are those of the output, whose last axis has unit stride.
    pub fn new(
        isa: Isa,
        threads: usize,
        operands: &AttentionOperands<'_>,
        out_strides: &[isize],
        alpha: f32,
    ) -> Result<AttentionPlan, TensorError> {
        let [q, k, v] = operands.matrices()?;
        let output = operands.output()?;
        let axes = output.len() - 2;
        let batch = &output[..axes];
        let out = Matrix {
            batch: batch.into(),
            batch_strides: out_strides[..axes].into(),
            rows: q.rows,
            columns: v.columns,
            row_stride: out_strides[axes],
            column_stride: 1,
        };
        let (from_q, from_k, from_v) =
            (q.batch_offsets(batch), k.batch_offsets(batch), v.batch_offsets(batch));
        let heads: Vec<_> = from_q
            .into_iter()
            .zip(from_k.into_iter().zip(from_v))
            .zip(out.own_offsets())
            .map(|(((q, _), ((_, k), (_, v))), out)| (q, k, v, out))
            .collect();
        // The scale goes into the keys, with what makes powers of e powers of 2.
        let keys = Side::new(isa, &k, alpha * LOG2_E);
        let values = Side::new(isa, &v, 1.0);
        let copy = RowCopy::new(isa, q.columns, q.column_stride, keys.layout.run_len());
        let chunks = q.rows.div_ceil(ROWS);
        let products = (q.columns + v.columns) as u64 / keys.layout.kernel().speed + EXPONENTIAL as u64;
        let work = (heads.len() * q.rows * k.columns) as u64 * products;
        let parts = parts_for(work, threads).min((heads.len() * chunks).max(1));
        Ok(AttentionPlan {
            isa,
            rows: q.rows,
            heads,
            q_row: q.row_stride,
            copy,
            keys,
            values,
            out_row: out_strides[axes],
            chunks,
            parts,
        })
    }

    /// Scores from one row to the next: whole vectors.
    fn score_step(&self) -> usize {
        self.keys.layout.columns().next_multiple_of(ROOM)
    }

    /// Bytes of the copies of some queries, of their scores and of their weights.
    fn part_bytes(&self) -> [usize; 3] {
        let rows = ROWS.min(self.rows);
        let values = size_of::<u16>();
        [
            rows * self.copy.len * values,
            rows * self.score_step() * size_of::<f32>(),
            rows * self.values.layout.run_len() * values,
        ]
        .map(|bytes| bytes.next_multiple_of(64))
    }

    fn packed_bytes(&self) -> [usize; 2] {
        [self.keys.bytes(), self.values.bytes()].map(|bytes| bytes.next_multiple_of(64))
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let parts = self.parts * self.part_bytes().iter().sum::<usize>();
        self.packed_bytes().iter().sum::<usize>() + parts
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        let columns = self.copy.depth + self.values.layout.columns();
        (self.heads.len() * self.rows) as u64 * (self.keys.layout.columns() * columns) as u64
    }

    /// Runs the attention.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the output to nothing that is read; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned for `f32`.
    pub unsafe fn run(&self, arguments: &AttentionArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        if self.heads.is_empty() || self.rows == 0 {
            return;
        }
        let [key_bytes, value_bytes] = self.packed_bytes();
        let keys = Shared(scratch.as_mut_ptr());
        let values = Shared(keys.0.wrapping_add(key_bytes));
        let room = Shared(values.0.wrapping_add(value_bytes));
        let (of_keys, of_values) = (self.keys.tasks(), self.values.tasks());
        let elements = (key_bytes + value_bytes) / size_of::<u16>();
        let parts = parts_for((2 * elements) as u64, pool.threads());
        pool.run(parts, |part| {
            let (keys, values, arguments) = (&keys, &values, &arguments);
            for task in chunk(of_keys + of_values, parts, part, 1) {
                // SAFETY: a block of its own; the tensors are as the caller grants.
                unsafe {
                    match task.checked_sub(of_keys) {
                        None => self.keys.pack(task, arguments.k, keys.0.cast()),
                        Some(task) => self.values.pack(task, arguments.v, values.0.cast()),
                    }
                }
            }
        });
        pool.run(self.parts, |part| {
            let (keys, values, room, arguments) = (&keys, &values, &room, &arguments);
            let room = room.0.wrapping_add(part * self.part_bytes().iter().sum::<usize>());
            for unit in chunk(self.heads.len() * self.chunks, self.parts, part, 1) {
                let rows = chunk(self.rows, self.chunks, unit % self.chunks, ROW_MULTIPLE);
                if rows.is_empty() {
                    continue;
                }
                let (q, k, v, out) = self.heads[unit / self.chunks];
                // SAFETY: the part's room and the head's rows are its own; packed before; the rest the caller grants.
                unsafe {
                    let packed = (
                        keys.0.cast::<u16>().add(k * self.keys.layout.packed_len()).cast_const(),
                        values.0.cast::<u16>().add(v * self.values.layout.packed_len()).cast_const(),
                    );
                    let q = arguments.q.offset(q + rows.start as isize * self.q_row);
                    let out = arguments.out.offset(out + rows.start as isize * self.out_row);
                    self.run_rows(q, packed, rows.len(), out, room);
                }
            }
        });
    }

    /// # Safety
    /// The pointers are those of some rows of a head, of its packed keys and values, and of a part's room.
    unsafe fn run_rows(
        &self,
        q: *const f32,
        (keys, values): (*const u16, *const u16),
        rows: usize,
        out: *mut f32,
        room: *mut u8,
    ) {
        let [query_bytes, score_bytes, _] = self.part_bytes();
        let queries = room.cast::<u16>();
        let scores = room.wrapping_add(query_bytes).cast::<f32>();
        let weights = room.wrapping_add(query_bytes + score_bytes).cast::<u16>();
        let (m, step, len) = (self.keys.layout.columns(), self.score_step(), self.values.layout.run_len());
        let product = |columns, packed, base, pixel_step: usize, out, out_step: usize, plain| Product {
            columns,
            packed,
            runs: &[0],
            epilogue: Epilogue::default(),
            width: rows,
            input: Surface { base, line_step: 0, pixel_step: pixel_step as isize },
            out: Surface { base: out, line_step: 0, pixel_step: out_step as isize },
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            plain,
        };
        // Rows of scores have room for whole vectors.
        let to_scores =
            product(&self.keys.layout, keys, queries.cast_const(), self.copy.len, scores, step, true);
        let whole = self.values.layout.columns().is_multiple_of(BLOCK);
        let (from, out_step) = (weights.cast_const(), self.out_row as usize);
        let to_out = product(&self.values.layout, values, from, len, out, out_step, whole);
        let mut sums = [0.0f32; ROWS];
        // SAFETY: the room has space for that many rows of each kind.
        unsafe {
            self.copy.run(q, self.q_row, rows, queries);
            to_scores.run(0..1, 0..self.keys.layout.panels().len());
            for (row, sum) in sums[..rows].iter_mut().enumerate() {
                *sum = weigh(self.isa, scores.add(row * step), m, weights.add(row * len), len);
            }
            to_out.run(0..1, 0..self.values.layout.panels().len());
            let columns = self.values.layout.columns();
            dispatch!(self.isa, S => for (row, sum) in sums[..rows].iter().enumerate() {
                scale::<S>(out.offset(row as isize * self.out_row), columns, 1.0 / sum);
            });
        }
    }
}

/// # Safety
/// `values` is readable and writable for `n` values.
#[inline(always)]
unsafe fn scale<S: Simd>(values: *mut f32, n: usize, by: f32) {
    let by = S::splat(by);
    for i in (0..n).step_by(S::LANES) {
        let lanes = S::LANES.min(n - i);
        // SAFETY: lanes below n.
        unsafe {
            let x = S::load_partial(values.add(i), lanes);
            S::store_partial(values.add(i), S::mul(x, by), lanes);
        }
    }
}

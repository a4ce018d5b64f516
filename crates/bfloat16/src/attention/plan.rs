use super::weights::{ROOM, weigh};
use crate::Values;
use crate::kernel::BLOCK;
use crate::matmul::{RowCopy, Rows};
use crate::product::{ColumnLayout, Product, Surface};
use crate::shared::{CACHE_LINE, Shared};
use std::f32::consts::LOG2_E;
use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};
use vedette_tensor::TensorError;
use vedette_tensor::matmul::{Epilogue, MatMulOperands, Matrix, chunk, parts_for};
use vedette_tensor::{Dims, broadcast_shape};

/// Rows of queries whose scores are made at once: four tiles, which keys and values are read for, and scores of some
/// hundred keys are in L2.
const ROWS: usize = 64;

/// What parts begin at multiples of: a tile.
const MULTIPLE: usize = 16;

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
    pub q: *const u8,
    /// First key.
    pub k: *const u8,
    /// First value.
    pub v: *const u8,
    /// First element of the output.
    pub out: *mut u8,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for AttentionArguments {}

/// A matrix of every head, packed in every run.
#[derive(Debug)]
struct Side {
    layout: ColumnLayout,
    offsets: Vec<isize>,
    strides: (isize, isize),
    values: Values,
}

impl Side {
    fn new(isa: Isa, matrix: &Matrix) -> Side {
        let layout = ColumnLayout::new(isa, matrix.columns, (1, matrix.rows), true);
        let strides = (matrix.row_stride, matrix.column_stride);
        Side { layout, offsets: matrix.own_offsets(), strides, values: Values::Float32 }
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
    unsafe fn pack(&self, task: usize, from: *const u8, to: *mut u16) {
        let (number, block) = (task / self.layout.blocks(), task % self.layout.blocks());
        let to = to.wrapping_add(number * self.layout.packed_len());
        let (from, blocks) = (self.values.at(from, self.offsets[number]), block..block + 1);
        // SAFETY: as granted by the caller.
        unsafe {
            match self.values {
                Values::Float32 => self.layout.pack_strided(blocks, from.cast(), self.strides, 1.0, to),
                Values::Bfloat16 => self.layout.pack_rounded(blocks, from.cast(), self.strides, to),
            }
        }
    }
}

/// A planned attention of float32 tensors: queries, keys, weights and values are rounded to bfloat16, or are so already.
#[derive(Debug)]
pub struct AttentionPlan {
    isa: Isa,
    rows: usize,
    /// For every head: offset of the queries, numbers of the keys and values, offset in the output.
    heads: Vec<(isize, usize, usize, isize)>,
    queries: Rows,
    keys: Side,
    values: Side,
    out_row: isize,
    out: Values,
    /// What makes scores exponents of 2.
    scale: f32,
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
        let keys = Side::new(isa, &k);
        let values = Side::new(isa, &v);
        let copy = RowCopy::new(isa, q.columns, q.column_stride, keys.layout.run_len());
        let chunks = q.rows.div_ceil(ROWS);
        let products = (q.columns + v.columns) as u64 / keys.layout.kernel().speed + EXPONENTIAL as u64;
        let work = (heads.len() * q.rows * k.columns) as u64 * products;
        let parts = parts_for(work, threads).min((heads.len() * chunks).max(1));
        Ok(AttentionPlan {
            isa,
            rows: q.rows,
            heads,
            queries: Rows { values: Values::Float32, copy, step: q.row_stride },
            keys,
            values,
            out_row: out_strides[axes],
            out: Values::Float32,
            scale: alpha * LOG2_E,
            chunks,
            parts,
        })
    }

    /// The same where queries, keys, values and the output are of these values.
    pub fn with_values(mut self, [q, k, v]: [Values; 3], out: Values) -> AttentionPlan {
        (self.queries.values, self.keys.values, self.values.values, self.out) = (q, k, v, out);
        self
    }

    /// Scores from one row to the next: whole vectors.
    fn score_step(&self) -> usize {
        self.keys.layout.columns().next_multiple_of(ROOM)
    }

    /// Averages from one row to the next: whole blocks.
    fn average_step(&self) -> usize {
        self.values.layout.columns().next_multiple_of(BLOCK)
    }

    /// Bytes of the copies of some queries, of their scores, of their weights and of the averages these make.
    fn part_bytes(&self) -> [usize; 4] {
        let rows = ROWS.min(self.rows);
        let values = size_of::<u16>();
        [
            rows * self.queries.copy.len * values,
            rows * self.score_step() * size_of::<f32>(),
            rows * self.values.layout.run_len() * values,
            rows * self.average_step() * size_of::<f32>(),
        ]
        .map(|bytes| bytes.next_multiple_of(CACHE_LINE))
    }

    fn packed_bytes(&self) -> [usize; 2] {
        [self.keys.bytes(), self.values.bytes()].map(|bytes| bytes.next_multiple_of(CACHE_LINE))
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let parts = self.parts * self.part_bytes().iter().sum::<usize>();
        self.packed_bytes().iter().sum::<usize>() + parts
    }

    /// Multiply-accumulates of a run.
    pub fn work(&self) -> u64 {
        let columns = self.queries.copy.depth + self.values.layout.columns();
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
                let rows = chunk(self.rows, self.chunks, unit % self.chunks, MULTIPLE);
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
                    let q = self.queries.values.at(arguments.q, q + rows.start as isize * self.queries.step);
                    let out = self.out.at(arguments.out, out + rows.start as isize * self.out_row).cast_mut();
                    self.run_rows(q, packed, rows.len(), out, room);
                }
            }
        });
    }

    /// # Safety
    /// The pointers are those of some rows of a head, of its packed keys and values, and of a part's room.
    unsafe fn run_rows(
        &self,
        q: *const u8,
        (keys, values): (*const u16, *const u16),
        rows: usize,
        out: *mut u8,
        room: *mut u8,
    ) {
        let [query_bytes, score_bytes, weight_bytes, _] = self.part_bytes();
        let copies = room.cast::<u16>();
        let scores = room.wrapping_add(query_bytes).cast::<f32>();
        let weights = room.wrapping_add(query_bytes + score_bytes).cast::<u16>();
        let averages = room.wrapping_add(query_bytes + score_bytes + weight_bytes).cast::<f32>();
        let (m, step, len) = (self.keys.layout.columns(), self.score_step(), self.values.layout.run_len());
        // Rows of scores and averages have room for whole blocks.
        let product = |columns, packed, base, pixel_step: isize, out: *mut f32, out_step: usize| Product {
            columns,
            packed,
            runs: &[0],
            epilogue: Epilogue::default(),
            width: rows,
            input: Surface { base, line_step: 0, pixel_step },
            out: Surface { base: out, line_step: 0, pixel_step: out_step as isize },
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            plain: true,
        };
        let direct = self.queries.is_direct();
        let queries = if direct { q.cast::<u16>() } else { copies.cast_const() };
        let to_scores = product(&self.keys.layout, keys, queries, self.queries.pixel_step(), scores, step);
        let (from, average_step) = (weights.cast_const(), self.average_step());
        let to_averages = product(&self.values.layout, values, from, len as isize, averages, average_step);
        let mut sums = [0.0f32; ROWS];
        // SAFETY: the room has space for that many rows of each kind.
        unsafe {
            if !direct {
                self.queries.copy(q, rows, copies);
            }
            to_scores.run(0..1, 0..self.keys.layout.panels().len());
            for (row, sum) in sums[..rows].iter_mut().enumerate() {
                *sum = weigh(self.isa, scores.add(row * step), (m, self.scale), weights.add(row * len), len);
            }
            to_averages.run(0..1, 0..self.values.layout.panels().len());
            dispatch!(self.isa, S => for (row, sum) in sums[..rows].iter().enumerate() {
                scale::<S>(averages.add(row * average_step), average_step, 1.0 / sum);
            });
            for row in 0..rows {
                let to = self.out.at(out, row as isize * self.out_row).cast_mut();
                self.out.write(self.isa, averages.add(row * average_step), self.values.layout.columns(), to);
            }
        }
    }
}

/// # Safety
/// `values` is readable and writable for `n` values, which are whole vectors.
#[inline(always)]
unsafe fn scale<S: Simd>(values: *mut f32, n: usize, by: f32) {
    let by = S::splat(by);
    for i in (0..n).step_by(S::LANES) {
        // SAFETY: below n.
        unsafe { S::store(values.add(i), S::mul(S::load(values.add(i)), by)) };
    }
}

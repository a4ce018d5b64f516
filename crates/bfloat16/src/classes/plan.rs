use super::finish::{LANES, RowState, Summing, reach, share};
use crate::matmul::{ROW_MULTIPLE, RowCopy};
use crate::product::{Finish, PackedColumns, Product, Surface};
use crate::shared::{CACHE_LINE, Shared};
use std::ops::Range;
use std::sync::Arc;
use vedette_runtime::ThreadPool;
use vedette_simd::end_of_stream;
use vedette_tensor::TensorError;
use vedette_tensor::matmul::{chunk, parts_for};
use vedette_tensor::rows::RowLayout;

/// Rows that are answered together: few enough for their copies and states to stay in L2.
const ROWS: usize = 256;

/// Bytes of scores that wait in cache until the powers of their rows are summed up.
const SCORE_BYTES: usize = 4 << 20;

/// Bytes of shares from which on they are written past the caches, which would have no room for other things.
const MANY_SHARES: usize = 4 << 20;

/// A planned answer to float32 rows times packed columns, `softmax(A B + bias)` or its best class, whose operands are
/// rounded to bfloat16. Shares are within 1e-5 of those of the rounded product.
#[derive(Debug)]
pub struct ClassesPlan {
    columns: Arc<PackedColumns>,
    copy: RowCopy,
    layout: RowLayout,
    rows: usize,
    parts: usize,
    /// Rows that are answered together.
    rows_at_once: usize,
    wanted: Wanted,
}

/// Which answers are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The share of every class.
    Shares,
    /// The likeliest class and its share.
    Best,
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub enum Answers {
    /// The share of every class, `[rows][classes]`.
    Shares(*mut f32),
    /// The share of the likeliest class of each row, and which it is.
    Best(*mut f32, *mut i64),
}

/// What a run reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct ClassesArguments {
    /// First element of `A`.
    pub a: *const f32,
    /// A value a column, or null.
    pub bias: *const f32,
    /// The answers.
    pub answers: Answers,
}

// SAFETY: the pointers are only used by `run`, whose caller answers for concurrent use.
unsafe impl Sync for ClassesArguments {}

impl ClassesPlan {
    /// Plans it for `A [..., K]` with these strides and columns that [`MatMulPlan::pack`](crate::matmul::MatMulPlan::pack)
    /// packed.
    pub fn new(
        threads: usize,
        (shape, strides): (&[usize], &[isize]),
        columns: Arc<PackedColumns>,
        wanted: Wanted,
    ) -> Result<ClassesPlan, TensorError> {
        let packed = columns.layout();
        let depth = shape.last().copied().unwrap_or(1);
        if shape.is_empty() || depth.div_ceil(2) > packed.words() || packed.columns() == 0 {
            let classes = packed.columns();
            return Err(TensorError(format!("{classes} classes of rows of shape {shape:?}")));
        }
        let outer = shape.len() - 1;
        let axes: Vec<_> = (0..outer).map(|i| (shape[i], strides[i], 0)).collect();
        let rows: usize = shape[..outer].iter().product();
        let work = (rows * packed.columns() * depth) as u64 / packed.kernel().speed;
        let parts = parts_for(work, threads).min(rows.div_ceil(ROW_MULTIPLE).max(1));
        let most = match wanted {
            Wanted::Shares => (SCORE_BYTES / (packed.blocks() * LANES * size_of::<f32>())).clamp(1, ROWS),
            Wanted::Best => ROWS,
        };
        let of_part = rows.div_ceil(parts).next_multiple_of(ROW_MULTIPLE).min(rows);
        Ok(ClassesPlan {
            copy: RowCopy::new(packed.isa(), depth, strides[outer], packed.run_len()),
            layout: RowLayout::new(&axes),
            rows,
            parts,
            rows_at_once: of_part.div_ceil(of_part.div_ceil(most).max(1)),
            wanted,
            columns,
        })
    }

    /// Scores of a row, up to a whole block of columns.
    fn score_stride(&self) -> usize {
        self.columns.layout().blocks() * LANES
    }

    /// Bytes of the padded biases; of the copies of some rows, their states, bounds and scores.
    fn sizes(&self) -> [usize; 5] {
        let rows = self.rows_at_once;
        let scores = if self.wanted == Wanted::Shares { rows * self.score_stride() } else { 0 };
        [
            self.score_stride() * size_of::<f32>(),
            rows * self.copy.len * size_of::<u16>(),
            rows * size_of::<RowState>(),
            rows * size_of::<f32>(),
            scores * size_of::<f32>(),
        ]
        .map(|bytes| bytes.next_multiple_of(CACHE_LINE))
    }

    /// Bytes of scratch a run needs.
    pub fn scratch_bytes(&self) -> usize {
        let [biases, rows @ ..] = self.sizes();
        biases + self.parts * rows.iter().sum::<usize>()
    }

    /// Multiply-accumulates of the product.
    pub fn work(&self) -> u64 {
        (self.rows * self.copy.depth) as u64 * self.columns.layout().columns() as u64
    }

    /// Answers every row.
    ///
    /// # Safety
    /// The arguments point to elements laid out as planned, the answers to nothing that is read, and are those wanted; `scratch` has
    /// [`scratch_bytes`](Self::scratch_bytes) and is aligned to 64 bytes.
    pub unsafe fn run(&self, arguments: &ClassesArguments, scratch: &mut [u8], pool: &ThreadPool) {
        assert!(scratch.len() >= self.scratch_bytes());
        let [bias_bytes, room_bytes @ ..] = self.sizes();
        let room_bytes = room_bytes.iter().sum::<usize>();
        let biases = Shared(scratch.as_mut_ptr());
        let rooms = Shared(biases.0.wrapping_add(bias_bytes));
        // SAFETY: scratch begins with room for biases of whole blocks; the parts' rows and rooms are their own.
        unsafe {
            self.pad_biases(arguments.bias, biases.0.cast());
            pool.run(self.parts, |part| {
                let (biases, rooms) = (&biases, &rooms);
                let rows = chunk(self.rows, self.parts, part, ROW_MULTIPLE);
                for start in rows.clone().step_by(self.rows_at_once.max(1)) {
                    let rows = start..rows.end.min(start + self.rows_at_once);
                    self.answer(arguments, rows, biases.0.cast(), rooms.0.add(part * room_bytes));
                }
            });
        }
    }

    /// # Safety
    /// `bias` is null or has a value a column, `to` room for whole blocks.
    unsafe fn pad_biases(&self, bias: *const f32, to: *mut f32) {
        let layout = self.columns.layout();
        // SAFETY: as granted by the caller.
        unsafe {
            if bias.is_null() {
                to.write_bytes(0, layout.columns());
            } else {
                to.copy_from_nonoverlapping(bias, layout.columns());
            }
            for behind in layout.columns()..layout.blocks() * LANES {
                to.add(behind).write(f32::NEG_INFINITY);
            }
        }
    }

    /// # Safety
    /// As for [`run`](Self::run), with the padded biases, and a room for so many rows.
    unsafe fn answer(
        &self,
        arguments: &ClassesArguments,
        rows: Range<usize>,
        bias: *const f32,
        room: *mut u8,
    ) {
        let [_, copy_bytes, state_bytes, bound_bytes, _] = self.sizes();
        let copy = room.cast::<u16>();
        let states = room.wrapping_add(copy_bytes).cast::<RowState>();
        let bounds = room.wrapping_add(copy_bytes + state_bytes).cast::<f32>();
        let scores = room.wrapping_add(copy_bytes + state_bytes + bound_bytes).cast::<f32>();
        let columns = self.columns.layout().columns();
        // SAFETY: as granted by the caller; `RowState` is aligned to what sizes are multiples of.
        unsafe {
            for (i, row) in rows.clone().enumerate() {
                let at = self.layout.at(row / self.layout.width, row % self.layout.width);
                self.copy.run(arguments.a.offset(at.input), 0, 1, copy.add(i * self.copy.len));
                states.add(i).write(RowState::EMPTY);
                bounds.add(i).write(f32::NEG_INFINITY);
            }
            let reach = reach(columns);
            match arguments.answers {
                Answers::Best(shares, classes) => {
                    let summing = Summing::<false> { rows: states, bounds, bias, reach };
                    self.multiply(copy, rows.len(), std::ptr::null_mut(), summing);
                    let states = std::slice::from_raw_parts(states, rows.len());
                    for (state, row) in states.iter().zip(rows) {
                        let (class, share) = state.best();
                        shares.add(row).write(share);
                        classes.add(row).write(class as i64);
                    }
                }
                Answers::Shares(out) => {
                    let out = out.add(rows.start * columns);
                    let summing = Summing::<true> { rows: states, bounds, bias, reach };
                    self.multiply(copy, rows.len(), scores, summing);
                    let states = std::slice::from_raw_parts(states, rows.len());
                    let share = match self.rows * columns * size_of::<f32>() > MANY_SHARES {
                        true => share::<true>,
                        false => share::<false>,
                    };
                    // Not while the tiles are at work: the CPU has twice the units for floats then.
                    for (i, state) in states.iter().enumerate() {
                        let scores = scores.add(i * self.score_stride());
                        share(self.copy.isa, scores, out.add(i * columns), columns, state);
                    }
                    end_of_stream();
                }
            }
        }
    }

    /// # Safety
    /// The copies of so many rows are there, and what the finish reads and writes.
    unsafe fn multiply<F: Finish<Output = f32>>(
        &self,
        copy: *const u16,
        rows: usize,
        scores: *mut f32,
        finish: F,
    ) {
        let columns = self.columns.layout();
        let product = Product {
            columns,
            packed: self.columns.as_ptr(0),
            runs: &[0],
            epilogue: finish,
            width: rows,
            input: Surface { base: copy, line_step: 0, pixel_step: self.copy.len as isize },
            out: Surface { base: scores, line_step: 0, pixel_step: self.score_stride() as isize },
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            plain: false,
        };
        // SAFETY: as granted by the caller.
        unsafe { product.run(0..1, 0..columns.panels().len()) };
    }
}

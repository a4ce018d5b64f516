use super::ReduceOp;
use crate::elementwise::{Nest, Number, Tile};

/// The loops of a reduction.
pub(super) struct Loops {
    /// Over the outputs: output, input, centre.
    pub kept: Nest<3>,
    /// Over the input elements of one output.
    pub reduced: Nest<1>,
    /// How many those are.
    pub count: usize,
}

/// Running results side by side, as many as fill the widest vectors and hide the latency of an addition.
const LANES: usize = 64;

/// Outputs whose running results are kept on the stack.
const COLUMNS: usize = 256;

/// Additions to one running result before it joins that of the next level, so that rounding errors grow with the
/// logarithm of the count only.
const RUN: usize = 64;

/// Levels of running results; `RUN` to their number is more elements than a sum loses precision over.
const LEVELS: usize = 3;

/// Reduces to the outputs of a tile.
///
/// # Safety
/// The tile's pointers and those that `loops.reduced` reaches from its inputs must be readable (writable for the
/// output) elements of type `T`.
#[inline(always)]
pub(super) unsafe fn tile<T: Number>(op: ReduceOp, loops: &Loops, tile: &Tile<3>) {
    let (zero, one) = (T::ZERO, T::ONE);
    let count = loops.count;
    let plain = |total: T, _: T| total;
    // SAFETY: as granted by the caller.
    unsafe {
        match op {
            ReduceOp::Sum => run(loops, tile, zero, |x: T, _| x, T::add, T::add, plain),
            ReduceOp::Mean => {
                let mean = |total: T, _| T::from_f64(total.to_f64() / count as f64);
                run(loops, tile, zero, |x: T, _| x, T::add, T::add, mean)
            }
            ReduceOp::Min => run(loops, tile, T::HIGHEST, |x: T, _| x, T::min, T::min, plain),
            ReduceOp::Max => run(loops, tile, T::LOWEST, |x: T, _| x, T::max, T::max, plain),
            ReduceOp::Prod => run(loops, tile, one, |x: T, _| x, T::mul, T::mul, plain),
            ReduceOp::L1 => run(loops, tile, zero, |x: T, _| x.abs(), T::add, T::add, plain),
            ReduceOp::SumSquare => run(loops, tile, zero, |x: T, _| x.mul(x), T::add, T::add, plain),
            ReduceOp::L2 => {
                let root = |total: T, _| T::from_f64(total.to_f64().sqrt());
                run(loops, tile, zero, |x: T, _| x.mul(x), T::add, T::add, root)
            }
            ReduceOp::LogSum => {
                let log = |total: T, _| T::from_f64(total.to_f64().ln());
                run(loops, tile, zero, |x: T, _| x, T::add, T::add, log)
            }
            ReduceOp::LogSumExp => {
                // An infinite largest element would make NaN of every difference.
                let shift = |centre: T| if centre.abs() < T::HIGHEST { centre.to_f64() } else { 0.0 };
                let term = |x: T, centre: T| T::from_f64((x.to_f64() - shift(centre)).exp());
                let log = |total: T, centre: T| T::from_f64(total.to_f64().ln() + shift(centre));
                run(loops, tile, zero, term, T::add, T::add, log)
            }
            ReduceOp::Variance => {
                let square = |x: T, centre: T| x.sub(centre).mul(x.sub(centre));
                let mean = |total: T, _| T::from_f64(total.to_f64() / count as f64);
                run(loops, tile, zero, square, T::add, T::add, mean)
            }
        }
    }
}

/// Any (`or`) or all of truth values.
///
/// # Safety
/// As [`tile`], for `bool`.
pub(super) unsafe fn truth_tile(or: bool, loops: &Loops, tile: &Tile<3>) {
    let join = move |a: bool, b: bool| if or { a | b } else { a & b };
    // SAFETY: as granted by the caller.
    unsafe { run(loops, tile, !or, |x: bool, _| x, join, join, |total, _| total) }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn run<T: Copy>(
    loops: &Loops,
    tile: &Tile<3>,
    start: T,
    term: impl Fn(T, T) -> T,
    add: impl Fn(T, T) -> T,
    join: impl Fn(T, T) -> T,
    finish: impl Fn(T, T) -> T,
) {
    let size = size_of::<T>() as isize;
    let side_by_side = tile.columns >= 4 && tile.column_strides[1] == size;
    for row in 0..tile.rows {
        if side_by_side {
            for column in (0..tile.columns).step_by(COLUMNS) {
                let n = COLUMNS.min(tile.columns - column);
                // SAFETY: the n columns are within the tile and contiguous in output, input and centre.
                unsafe { columns(loops, tile.at(row, column), n, start, &term, &add, &join, &finish) }
            }
        } else {
            for column in 0..tile.columns {
                let [output, input, centre] = tile.at(row, column);
                // SAFETY: the pointers are those of one output, its inputs and its centre.
                unsafe {
                    let centre = centre.cast::<T>().read();
                    let total = one(loops, input, start, |x| term(x, centre), &add, &join);
                    output.cast::<T>().write(finish(total, centre));
                }
            }
        }
    }
}

/// Reduces to `n` outputs whose inputs lie side by side.
///
/// # Safety
/// As [`tile`]; the outputs, inputs and centres are contiguous, and `n <= COLUMNS`.
#[inline(always)]
unsafe fn columns<T: Copy>(
    loops: &Loops,
    [output, input, centre]: [*mut u8; 3],
    n: usize,
    start: T,
    term: impl Fn(T, T) -> T,
    add: impl Fn(T, T) -> T,
    join: impl Fn(T, T) -> T,
    finish: impl Fn(T, T) -> T,
) {
    let mut centres = [start; COLUMNS];
    // SAFETY: n contiguous centres are readable.
    unsafe { std::ptr::copy_nonoverlapping(centre.cast::<T>(), centres.as_mut_ptr(), n) }
    let mut levels = [[start; COLUMNS]; LEVELS];
    let mut done = 0usize;
    loops.reduced.for_each_tile([input], |reduced| {
        for row in 0..reduced.rows {
            for column in 0..reduced.columns {
                let [from] = reduced.at(row, column);
                let from = from.cast::<T>();
                for i in 0..n {
                    // SAFETY: the inputs of n neighbouring outputs are neighbours.
                    levels[0][i] = add(levels[0][i], term(unsafe { from.add(i).read() }, centres[i]));
                }
                done += 1;
                let mut full = done;
                for level in 0..LEVELS - 1 {
                    if !full.is_multiple_of(RUN) {
                        break;
                    }
                    full /= RUN;
                    for i in 0..n {
                        levels[level + 1][i] = join(levels[level + 1][i], levels[level][i]);
                        levels[level][i] = start;
                    }
                }
            }
        }
    });
    for i in 0..n {
        let total = finish(join(join(levels[2][i], levels[1][i]), levels[0][i]), centres[i]);
        // SAFETY: n contiguous outputs are writable.
        unsafe { output.cast::<T>().add(i).write(total) }
    }
}

/// Reduces the inputs of one output.
///
/// # Safety
/// As [`tile`], for the inputs reached from `input`.
#[inline(always)]
unsafe fn one<T: Copy>(
    loops: &Loops,
    input: *mut u8,
    start: T,
    term: impl Fn(T) -> T,
    add: impl Fn(T, T) -> T,
    join: impl Fn(T, T) -> T,
) -> T {
    let (mut lanes, mut totals) = ([start; LANES], [start; LANES]);
    let mut rounds = 0;
    let mut settle = |lanes: &mut [T; LANES]| {
        rounds += 1;
        if usize::is_multiple_of(rounds, RUN) {
            for (total, lane) in totals.iter_mut().zip(lanes) {
                *total = join(*total, *lane);
                *lane = start;
            }
        }
    };
    loops.reduced.for_each_tile([input], |reduced| {
        for row in 0..reduced.rows {
            let [from] = reduced.at(row, 0);
            let n = reduced.columns;
            let mut i = 0;
            if reduced.column_strides[0] == size_of::<T>() as isize {
                let from = from.cast::<T>();
                while i + LANES <= n {
                    for (lane, total) in lanes.iter_mut().enumerate() {
                        // SAFETY: i + lane < n elements of the row.
                        *total = add(*total, term(unsafe { from.add(i + lane).read() }));
                    }
                    settle(&mut lanes);
                    i += LANES;
                }
            }
            while i < n {
                let count = LANES.min(n - i);
                for (lane, total) in lanes.iter_mut().enumerate().take(count) {
                    let offset = reduced.column_strides[0] * (i + lane) as isize;
                    // SAFETY: as above.
                    *total = add(*total, term(unsafe { from.offset(offset).cast::<T>().read() }));
                }
                settle(&mut lanes);
                i += count;
            }
        }
    });
    for (total, lane) in totals.iter().zip(&mut lanes) {
        *lane = join(*total, *lane);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

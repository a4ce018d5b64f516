//! Arrays kept as small integers: ranges, rounding, and what integers stand for. Memory is what limits these, so every
//! element is read once for its range and once to be rounded.

mod bfloat16;

pub use bfloat16::{from_bfloat16, to_bfloat16};

use crate::at_level;
use crate::elementwise::{Bytes, byte};
use std::sync::{Mutex, PoisonError};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

/// Elements below which another thread does not pay.
const GRAIN: usize = 1 << 16;

/// Elements that are worked on while they are in the first cache.
const SPAN: usize = 1 << 10;

/// Lanes of extremes: the widest vectors, four times, and once for short rows.
const LANES: usize = 64;
const FEW: usize = 16;

/// Which scale an element has, in an array seen as rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// One for each row; after the last it begins anew. One for all where there is one.
    ByRow,
    /// One for each column.
    ByColumn,
}

/// An array seen as rows of `columns` elements, with `count` scales.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Elements of a row.
    pub columns: usize,
    /// Whose the scales are.
    pub scales: Scales,
    /// Scales; by column as many as columns.
    pub count: usize,
}

impl Rows {
    /// Elements that are worked on as one: a row, or a span where one scale is for all.
    fn unit(&self) -> usize {
        match (self.scales, self.count) {
            (Scales::ByRow, 1) => SPAN,
            _ => self.columns.max(1),
        }
    }
}

/// The integers stored: a byte each, or two in a byte, the first in the low bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stored {
    U8,
    I8,
    U4,
    I4,
}

impl Stored {
    /// The least and the greatest integer.
    fn range(self) -> (f32, f32) {
        match self {
            Stored::U8 => (0.0, 255.0),
            Stored::I8 => (-128.0, 127.0),
            Stored::U4 => (0.0, 15.0),
            Stored::I4 => (-8.0, 7.0),
        }
    }

    /// Elements in a byte.
    pub fn per_byte(self) -> usize {
        if matches!(self, Stored::U4 | Stored::I4) { 2 } else { 1 }
    }

    fn is_signed(self) -> bool {
        matches!(self, Stored::I8 | Stored::I4)
    }
}

/// Calls `f` with parts of the elements, whole units each, and what `split` gives for each.
fn in_parts<T: Send>(
    pool: &ThreadPool,
    elements: usize,
    unit: usize,
    split: impl FnOnce(usize) -> Vec<T>,
    f: impl Fn(usize, T) + Sync,
) {
    let parts = (elements / GRAIN).clamp(1, pool.threads());
    let step = elements.div_ceil(parts).next_multiple_of(unit).max(unit);
    let shares: Vec<Mutex<Option<T>>> = split(step).into_iter().map(|part| Mutex::new(Some(part))).collect();
    pool.run(shares.len(), |at| {
        let share = shares[at].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(share) = share {
            f(at * step, share);
        }
    });
}

/// The least and the greatest element for each scale, both at most and at least zero; `None` where an element is NaN or
/// infinite.
///
/// # Panics
/// Where the array is no whole number of rows.
pub fn ranges(isa: Isa, x: &[f32], rows: Rows, pool: &ThreadPool) -> Option<(Vec<f32>, Vec<f32>)> {
    assert!(x.len().is_multiple_of(rows.columns.max(1)) && rows.count > 0);
    let found = Mutex::new((vec![0.0f32; rows.count], vec![0.0f32; rows.count], true));
    in_parts(
        pool,
        x.len(),
        rows.unit(),
        |step| x.chunks(step).collect(),
        |start, part| {
            let (mut low, mut high) = (vec![0.0f32; rows.count], vec![0.0f32; rows.count]);
            let first = start / rows.unit();
            let finite = at_level!(isa, extremes(part, rows, first, &mut low, &mut high));
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            let (lows, highs, all_finite) = &mut *found;
            for i in 0..rows.count {
                lows[i] = lows[i].min(low[i]);
                highs[i] = highs[i].max(high[i]);
            }
            *all_finite &= finite;
        },
    );
    let (low, high, finite) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    finite.then_some((low, high))
}

#[inline(always)]
fn extremes(x: &[f32], rows: Rows, first: usize, low: &mut [f32], high: &mut [f32]) -> bool {
    let mut finite = true;
    for (at, unit) in x.chunks(rows.unit()).enumerate() {
        if rows.scales == Scales::ByColumn {
            finite &= extremes_by_column(unit, low, high);
            continue;
        }
        let (least, greatest, own) =
            if unit.len() < SPAN { extremes_of::<FEW>(unit) } else { extremes_of::<LANES>(unit) };
        let scale = (first + at) % rows.count;
        low[scale] = low[scale].min(least);
        high[scale] = high[scale].max(greatest);
        finite &= own;
    }
    finite
}

/// Extremes as far as known, and zero, which a product with what is not finite takes from it for good.
#[inline(always)]
fn widen(x: f32, low: &mut f32, high: &mut f32, zero: &mut f32) {
    *low = if x < *low { x } else { *low };
    *high = if x > *high { x } else { *high };
    *zero += x * 0.0;
}

#[inline(always)]
fn extremes_by_column(x: &[f32], low: &mut [f32], high: &mut [f32]) -> bool {
    let mut zeros = [0.0f32; LANES];
    let blocks = x.chunks(LANES).zip(low.chunks_mut(LANES)).zip(high.chunks_mut(LANES));
    for ((x, low), high) in blocks {
        for (((&x, low), high), zero) in x.iter().zip(low).zip(high).zip(&mut zeros) {
            widen(x, low, high, zero);
        }
    }
    zeros.iter().sum::<f32>() == 0.0
}

#[inline(always)]
fn extremes_of<const N: usize>(x: &[f32]) -> (f32, f32, bool) {
    let (mut low, mut high, mut zeros) = ([0.0f32; N], [0.0f32; N], [0.0f32; N]);
    let (blocks, rest) = x.as_chunks::<N>();
    for block in blocks {
        for i in 0..N {
            widen(block[i], &mut low[i], &mut high[i], &mut zeros[i]);
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        widen(x, &mut low[i], &mut high[i], &mut zeros[i]);
    }
    for i in FEW..N {
        low[i % FEW] = low[i % FEW].min(low[i]);
        high[i % FEW] = high[i % FEW].max(high[i]);
        zeros[i % FEW] += zeros[i];
    }
    halve::<8>(&mut low, &mut high, &mut zeros);
    halve::<4>(&mut low, &mut high, &mut zeros);
    halve::<2>(&mut low, &mut high, &mut zeros);
    halve::<1>(&mut low, &mut high, &mut zeros);
    (low[0], high[0], zeros[0] == 0.0)
}

/// Joins the lanes from `N` on with those below; of a known number of lanes the compiler makes one vector.
#[inline(always)]
fn halve<const N: usize>(low: &mut [f32], high: &mut [f32], zeros: &mut [f32]) {
    for i in 0..N {
        low[i] = low[i].min(low[i + N]);
        high[i] = high[i].max(high[i + N]);
        zeros[i] += zeros[i + N];
    }
}

/// `saturate(rint(x / scale) + zero_point)`. Two integers share a byte within a row, whose length is even then.
///
/// # Panics
/// Where lengths contradict each other.
pub fn quantize(
    isa: Isa,
    x: &[f32],
    rows: Rows,
    (scale, zero_point): (&[f32], &[f32]),
    to: Stored,
    out: &mut [u8],
    pool: &ThreadPool,
) {
    check(x.len(), rows, (scale, zero_point), to, out.len());
    let each = to.per_byte();
    in_parts(
        pool,
        x.len(),
        rows.unit(),
        |step| x.chunks(step).zip(out.chunks_mut(step / each)).collect(),
        |start, (x, out)| {
            let first = start / rows.unit();
            at_level!(isa, round_rows(x, rows, first, (scale, zero_point), to, out));
        },
    );
}

fn check(elements: usize, rows: Rows, (scale, zero_point): (&[f32], &[f32]), stored: Stored, bytes: usize) {
    let columns = rows.columns.max(1);
    assert!(elements.is_multiple_of(columns) && bytes * stored.per_byte() == elements);
    assert!(columns.is_multiple_of(stored.per_byte()));
    assert!(rows.count > 0 && scale.len() == rows.count && zero_point.len() == rows.count);
    assert!(rows.scales == Scales::ByRow || rows.count == columns);
}

#[inline(always)]
fn round_rows(
    x: &[f32],
    rows: Rows,
    first: usize,
    (scale, zero_point): (&[f32], &[f32]),
    to: Stored,
    out: &mut [u8],
) {
    let range = to.range();
    let mut wide = [0u8; SPAN];
    for (at, (unit, out)) in
        x.chunks(rows.unit()).zip(out.chunks_mut(rows.unit() / to.per_byte())).enumerate()
    {
        let own = (first + at) % rows.count;
        for (at, (part, out)) in unit.chunks(SPAN).zip(out.chunks_mut(SPAN / to.per_byte())).enumerate() {
            let into = if to.per_byte() == 2 { &mut wide[..part.len()] } else { &mut *out };
            match rows.scales {
                Scales::ByRow => {
                    let (scale, zero_point) = (scale[own], zero_point[own]);
                    for (to, &x) in into.iter_mut().zip(part) {
                        *to = byte(x / scale, zero_point, range);
                    }
                }
                Scales::ByColumn => {
                    let columns = at * SPAN..at * SPAN + part.len();
                    let (scale, zero_point) = (&scale[columns.clone()], &zero_point[columns]);
                    round_columns(part, scale, zero_point, range, into);
                }
            }
            if to.per_byte() == 2 {
                let pairs = wide[..part.len()].as_chunks::<2>().0;
                for (to, pair) in out.iter_mut().zip(pairs) {
                    *to = (pair[0] & 15) | (pair[1] << 4);
                }
            }
        }
    }
}

/// A row with scales of its own for each column, by blocks whose length the compiler knows.
#[inline(always)]
fn round_columns(x: &[f32], scale: &[f32], zero_point: &[f32], range: (f32, f32), out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let whole = blocks.len() * LANES;
    let parameters = scale.as_chunks::<LANES>().0.iter().zip(zero_point.as_chunks::<LANES>().0);
    for ((to, x), (scale, zero_point)) in blocks.iter_mut().zip(x.as_chunks::<LANES>().0).zip(parameters) {
        for i in 0..LANES {
            to[i] = byte(x[i] / scale[i], zero_point[i], range);
        }
    }
    for (i, to) in (whole..).zip(rest) {
        *to = byte(x[i] / scale[i], zero_point[i], range);
    }
}

/// `(q - zero_point) scale`, of integers that lie as [`quantize`] leaves them.
///
/// # Panics
/// Where lengths contradict each other.
pub fn dequantize(
    isa: Isa,
    q: &[u8],
    rows: Rows,
    (scale, zero_point): (&[f32], &[f32]),
    from: Stored,
    out: &mut [f32],
    pool: &ThreadPool,
) {
    check(out.len(), rows, (scale, zero_point), from, q.len());
    let each = from.per_byte();
    in_parts(
        pool,
        out.len(),
        rows.unit(),
        |step| q.chunks(step / each).zip(out.chunks_mut(step)).collect(),
        |start, (q, out)| {
            let first = start / rows.unit();
            at_level!(isa, restore_rows(q, rows, first, (scale, zero_point), from, out));
        },
    );
}

#[inline(always)]
fn restore_rows(
    q: &[u8],
    rows: Rows,
    first: usize,
    (scale, zero_point): (&[f32], &[f32]),
    from: Stored,
    out: &mut [f32],
) {
    let mut wide = [0u8; SPAN];
    let kind = if from.is_signed() { Bytes::I8 } else { Bytes::U8 };
    for (at, (unit, out)) in
        q.chunks(rows.unit() / from.per_byte()).zip(out.chunks_mut(rows.unit())).enumerate()
    {
        let own = (first + at) % rows.count;
        for (at, (part, out)) in unit.chunks(SPAN / from.per_byte()).zip(out.chunks_mut(SPAN)).enumerate() {
            let bytes = if from.per_byte() == 2 {
                for (pair, &byte) in wide.as_chunks_mut::<2>().0.iter_mut().zip(part) {
                    // The sign of four bits is the fourth: turning it over and taking eight away extends it.
                    let (low, high) = (byte & 15, byte >> 4);
                    *pair = if from.is_signed() {
                        [(low ^ 8).wrapping_sub(8), (high ^ 8).wrapping_sub(8)]
                    } else {
                        [low, high]
                    };
                }
                &wide[..out.len()]
            } else {
                part
            };
            match rows.scales {
                Scales::ByRow => {
                    let (scale, zero_point) = (scale[own], zero_point[own]);
                    for (to, &q) in out.iter_mut().zip(bytes) {
                        *to = (kind.value(q) - zero_point) * scale;
                    }
                }
                Scales::ByColumn => {
                    let columns = at * SPAN..at * SPAN + out.len();
                    let parameters = scale[columns.clone()].iter().zip(&zero_point[columns]);
                    for ((to, &q), (&scale, &zero_point)) in out.iter_mut().zip(bytes).zip(parameters) {
                        *to = (kind.value(q) - zero_point) * scale;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::bytes;

    fn numbers(count: usize) -> Vec<f32> {
        bytes(count, 7)
            .into_iter()
            .enumerate()
            .map(|(i, b)| (f32::from(b) - 99.0) * (i % 7) as f32 * 0.3)
            .collect()
    }

    const KINDS: [(Stored, f32, f32); 4] = [
        (Stored::U8, 0.0, 255.0),
        (Stored::I8, -128.0, 127.0),
        (Stored::U4, 0.0, 15.0),
        (Stored::I4, -8.0, 7.0),
    ];

    /// Shapes whose rows are shorter and longer than a span, and arrays that take several threads.
    fn shapes() -> Vec<(usize, Rows)> {
        let by_row = |columns, count| Rows { columns, scales: Scales::ByRow, count };
        let by_column = |columns| Rows { columns, scales: Scales::ByColumn, count: columns };
        vec![
            (2, by_row(2, 1)),
            (3 * GRAIN + 34, by_row(3 * GRAIN + 34, 1)),
            (32 * 12, by_row(32, 12)),
            (2 * 3 * 50, by_row(50, 3)),
            (4 * 3000, by_row(3000, 4)),
            (7 * 18, by_column(18)),
            (70 * 2100, by_column(2100)),
        ]
    }

    fn scale_index(rows: Rows, at: usize) -> usize {
        match rows.scales {
            Scales::ByRow => at / rows.columns % rows.count,
            Scales::ByColumn => at % rows.columns,
        }
    }

    #[test]
    fn every_level_follows_the_formula() {
        let pool = ThreadPool::new(3);
        for isa in Isa::available() {
            for (len, rows) in shapes() {
                let x = numbers(len);
                let scale: Vec<f32> = (0..rows.count).map(|i| 0.21 + 0.05 * (i % 5) as f32).collect();
                for (stored, least, greatest) in KINDS {
                    let zero: Vec<f32> = (0..rows.count).map(|i| least.max(-5.0) + (i % 4) as f32).collect();
                    let mut q = vec![0u8; len / stored.per_byte()];
                    quantize(isa, &x, rows, (&scale, &zero), stored, &mut q, &pool);
                    let mut back = vec![0.0f32; len];
                    dequantize(isa, &q, rows, (&scale, &zero), stored, &mut back, &pool);
                    for (at, (&x, &back)) in x.iter().zip(&back).enumerate() {
                        let i = scale_index(rows, at);
                        let steps = ((x / scale[i]).round_ties_even() + zero[i]).clamp(least, greatest);
                        assert_eq!(back, (steps - zero[i]) * scale[i], "{isa:?} {rows:?} {stored:?} {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn ranges_are_those_of_the_elements() {
        let pool = ThreadPool::new(3);
        for isa in Isa::available() {
            for (len, rows) in shapes() {
                let mut x = numbers(len);
                let (low, high) = ranges(isa, &x, rows, &pool).unwrap();
                let (mut least, mut greatest) = (vec![0.0f32; rows.count], vec![0.0f32; rows.count]);
                for (at, &x) in x.iter().enumerate() {
                    let i = scale_index(rows, at);
                    (least[i], greatest[i]) = (least[i].min(x), greatest[i].max(x));
                }
                assert_eq!((low, high), (least, greatest), "{isa:?} {rows:?}");
                for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    x[len / 2] = wrong;
                    assert!(ranges(isa, &x, rows, &pool).is_none(), "{isa:?} {rows:?} {wrong}");
                }
            }
        }
    }
}

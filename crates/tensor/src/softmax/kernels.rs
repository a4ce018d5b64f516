use crate::activation::math;
use vedette_simd::Simd;

/// Columns worked on at once where the axis is not the contiguous one.
const COLUMNS: usize = 256;

/// Softmax of `outer` blocks, along their rows of `inner` elements each.
///
/// # Safety
/// `from` is readable and `to` writable for `outer * count * inner` values; they are the same block or separate.
#[inline(always)]
pub(super) unsafe fn blocks<S: Simd>(
    from: *const f32,
    to: *mut f32,
    outer: usize,
    count: usize,
    inner: usize,
    logarithm: bool,
) {
    for block in 0..outer {
        let start = block * count * inner;
        // SAFETY: block start..start + count * inner is within what the caller grants.
        unsafe {
            if inner == 1 {
                row::<S>(from.add(start), to.add(start), count, logarithm);
            } else {
                for column in (0..inner).step_by(COLUMNS) {
                    let n = COLUMNS.min(inner - column);
                    let at = start + column;
                    columns::<S>(from.add(at), to.add(at), count, inner, n, logarithm);
                }
            }
        }
    }
}

/// # Safety
/// `n` values are readable at `from` and writable at `to`; they are the same block or separate.
#[inline(always)]
unsafe fn row<S: Simd>(from: *const f32, to: *mut f32, n: usize, logarithm: bool) {
    let whole = n - n % S::LANES;
    let rest = n - whole;
    // SAFETY: every access is below n, as granted by the caller.
    unsafe {
        let mut largest = S::splat(f32::NEG_INFINITY);
        for i in (0..whole).step_by(S::LANES) {
            largest = S::max(largest, S::load(from.add(i)));
        }
        let mut peak = S::max_lane(largest);
        for i in whole..n {
            peak = peak.max(*from.add(i));
        }
        let shift = S::splat(peak);
        let mut total = S::splat(0.0);
        for i in (0..whole).step_by(S::LANES) {
            let x = S::sub(S::load(from.add(i)), shift);
            let e = math::exp::<S>(x);
            total = S::add(total, e);
            S::store(to.add(i), if logarithm { x } else { e });
        }
        let mut sum = S::sum(total);
        if rest > 0 {
            let x = S::sub(S::load_partial(from.add(whole), rest), shift);
            let e = math::exp::<S>(x);
            let mut lanes = [0.0; 64];
            S::store_partial(lanes.as_mut_ptr(), e, rest);
            sum += lanes[..rest].iter().sum::<f32>();
            S::store_partial(to.add(whole), if logarithm { x } else { e }, rest);
        }
        let finish = S::splat(if logarithm { sum.ln() } else { 1.0 / sum });
        let last = std::convert::identity(
            #[inline(always)]
            |y: S::V| if logarithm { S::sub(y, finish) } else { S::mul(y, finish) },
        );
        for i in (0..whole).step_by(S::LANES) {
            S::store(to.add(i), last(S::load(to.add(i))));
        }
        if rest > 0 {
            S::store_partial(to.add(whole), last(S::load_partial(to.add(whole), rest)), rest);
        }
    }
}

/// # Safety
/// `count` rows of `n` values, `stride` apart, are readable at `from` and writable at `to`; the same block or
/// separate. `n <= COLUMNS`.
#[inline(always)]
unsafe fn columns<S: Simd>(
    from: *const f32,
    to: *mut f32,
    count: usize,
    stride: usize,
    n: usize,
    logarithm: bool,
) {
    let (mut peaks, mut sums) = ([f32::NEG_INFINITY; COLUMNS], [0.0f32; COLUMNS]);
    // SAFETY: row i and columns below n are granted by the caller; the arrays have COLUMNS >= n values.
    unsafe {
        for i in 0..count {
            each::<S>(
                n,
                from.add(i * stride),
                peaks.as_mut_ptr(),
                #[inline(always)]
                |x, peak| S::max(peak, x),
            );
        }
        for i in 0..count {
            let (from, to) = (from.add(i * stride), to.add(i * stride));
            let mut j = 0;
            while j < n {
                let lanes = S::LANES.min(n - j);
                let x = S::sub(
                    S::load_partial(from.add(j), lanes),
                    S::load_partial(peaks.as_ptr().add(j), lanes),
                );
                let e = math::exp::<S>(x);
                let total = S::add(S::load_partial(sums.as_ptr().add(j), lanes), e);
                S::store_partial(sums.as_mut_ptr().add(j), total, lanes);
                S::store_partial(to.add(j), if logarithm { x } else { e }, lanes);
                j += lanes;
            }
        }
        for sum in &mut sums[..n] {
            *sum = if logarithm { sum.ln() } else { 1.0 / *sum };
        }
        for i in 0..count {
            each::<S>(
                n,
                sums.as_ptr(),
                to.add(i * stride),
                #[inline(always)]
                |finish, y| {
                    if logarithm { S::sub(y, finish) } else { S::mul(y, finish) }
                },
            );
        }
    }
}

/// Replaces `n` values at `b` by `f` of those at `a` and themselves.
///
/// # Safety
/// `a` is readable and `b` writable for `n` values.
#[inline(always)]
unsafe fn each<S: Simd>(n: usize, a: *const f32, b: *mut f32, f: impl Fn(S::V, S::V) -> S::V) {
    let mut j = 0;
    // SAFETY: accesses are at j.. with at most n - j values.
    unsafe {
        while j + S::LANES <= n {
            S::store(b.add(j), f(S::load(a.add(j)), S::load(b.add(j))));
            j += S::LANES;
        }
        if j < n {
            let y = f(S::load_partial(a.add(j), n - j), S::load_partial(b.add(j), n - j));
            S::store_partial(b.add(j), y, n - j);
        }
    }
}

/// The same in f64, in plain words.
///
/// # Safety
/// As [`blocks`].
pub(super) unsafe fn blocks_f64(
    from: *const f64,
    to: *mut f64,
    outer: usize,
    count: usize,
    inner: usize,
    logarithm: bool,
) {
    for line in 0..outer * inner {
        let start = line / inner * count * inner + line % inner;
        // SAFETY: element i of the line is within the block, as granted by the caller.
        unsafe {
            let at = |i: usize| start + i * inner;
            let peak = (0..count).map(|i| *from.add(at(i))).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..count).map(|i| (*from.add(at(i)) - peak).exp()).sum();
            for i in 0..count {
                let x = *from.add(at(i)) - peak;
                *to.add(at(i)) = if logarithm { x - sum.ln() } else { x.exp() / sum };
            }
        }
    }
}

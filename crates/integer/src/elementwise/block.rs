//! Loops over blocks of elements: a block is read whole before it is written, so that it may be computed in place and
//! the compiler need not ask whether the pointers overlap.

use vedette_simd::prefetch_ahead;

/// Elements of a block: a vector of bytes at the widest level.
const BLOCK: usize = 64;

/// # Safety
/// `n` elements are readable at `p`.
#[inline(always)]
unsafe fn read<T: Copy + Default>(p: *const T, n: usize) -> [T; BLOCK] {
    if n == BLOCK {
        prefetch_ahead(p.cast(), size_of::<[T; BLOCK]>());
        // SAFETY: as granted; arrays have no stricter alignment than what they hold, and it is not relied upon.
        return unsafe { p.cast::<[T; BLOCK]>().read_unaligned() };
    }
    let mut block = [T::default(); BLOCK];
    // SAFETY: n < BLOCK elements, as granted.
    unsafe { std::ptr::copy_nonoverlapping(p, block.as_mut_ptr(), n) };
    block
}

/// # Safety
/// `n` elements are writable at `p`.
#[inline(always)]
unsafe fn write<T: Copy>(p: *mut T, block: &[T; BLOCK], n: usize) {
    // SAFETY: as granted.
    unsafe {
        if n == BLOCK {
            p.cast::<[T; BLOCK]>().write_unaligned(*block);
        } else {
            std::ptr::copy_nonoverlapping(block.as_ptr(), p, n);
        }
    }
}

/// Calls `f` with the start and length of every block of `n` elements; only the last is shorter.
#[inline(always)]
fn for_each_block(n: usize, mut f: impl FnMut(usize, usize)) {
    let whole = n / BLOCK * BLOCK;
    let mut start = 0;
    while start < whole {
        f(start, BLOCK);
        start += BLOCK;
    }
    if start < n {
        f(start, n - start);
    }
}

/// `to[i] = f(x[i])`
///
/// # Safety
/// `n` elements are readable at `x` and writable at `to`, which may be the same memory.
#[inline(always)]
pub(crate) unsafe fn map1<A: Copy + Default, B: Copy + Default>(
    [to, x]: [*mut u8; 2],
    n: usize,
    f: impl Fn(A) -> B,
) {
    for_each_block(n, |start, len| {
        // SAFETY: the block is within the n elements.
        unsafe {
            let x = read(x.cast::<A>().add(start), len);
            let mut block = [B::default(); BLOCK];
            for k in 0..BLOCK {
                block[k] = f(x[k]);
            }
            write(to.cast::<B>().add(start), &block, len);
        }
    });
}

/// `to[i] = f(a[i], b[i])`
///
/// # Safety
/// `n` elements are readable at `a` and `b` and writable at `to`, which may be one of them.
#[inline(always)]
pub(crate) unsafe fn map2<A: Copy + Default, B: Copy + Default, C: Copy + Default>(
    [to, a, b]: [*mut u8; 3],
    n: usize,
    f: impl Fn(A, B) -> C,
) {
    for_each_block(n, |start, len| {
        // SAFETY: the block is within the n elements.
        unsafe {
            let (a, b) = (read(a.cast::<A>().add(start), len), read(b.cast::<B>().add(start), len));
            let mut block = [C::default(); BLOCK];
            for k in 0..BLOCK {
                block[k] = f(a[k], b[k]);
            }
            write(to.cast::<C>().add(start), &block, len);
        }
    });
}

/// `to[i] = f(a[i], b[i], c[i])`
///
/// # Safety
/// `n` elements are readable at `a`, `b` and `c` and writable at `to`, which may be one of them.
#[inline(always)]
pub(crate) unsafe fn map3<A: Copy + Default, B: Copy + Default, C: Copy + Default, D: Copy + Default>(
    [to, a, b, c]: [*mut u8; 4],
    n: usize,
    f: impl Fn(A, B, C) -> D,
) {
    for_each_block(n, |start, len| {
        // SAFETY: the block is within the n elements.
        unsafe {
            let (a, b) = (read(a.cast::<A>().add(start), len), read(b.cast::<B>().add(start), len));
            let c = read(c.cast::<C>().add(start), len);
            let mut block = [D::default(); BLOCK];
            for k in 0..BLOCK {
                block[k] = f(a[k], b[k], c[k]);
            }
            write(to.cast::<D>().add(start), &block, len);
        }
    });
}

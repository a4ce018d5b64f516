use super::cast::through_f32;
use super::map::Kernel;
use super::number::with_number;
use crate::{DType, Element};
use vedette_simd::{Isa, Simd, dispatch};

/// The kernel of a function of three elements.
fn map3<A: Element, B: Element>(f: impl Fn(A, B, B) -> B + Send + Sync + 'static) -> Kernel<4> {
    let rows = move |[to, a, b, c]: [*mut u8; 4], n: usize| {
        let (to, a, b, c) = (to.cast::<B>(), a.cast::<A>(), b.cast::<B>(), c.cast::<B>());
        for i in 0..n {
            // SAFETY: the kernel's contract grants n elements of these types at each pointer.
            unsafe { to.add(i).write(f(a.add(i).read(), b.add(i).read(), c.add(i).read())) }
        }
    };
    // SAFETY: the loop accesses n elements of each, and writes only the first.
    unsafe { Kernel::new([B::DTYPE, A::DTYPE, B::DTYPE, B::DTYPE], rows) }
}

/// `x` within `[minimum, maximum]`, the maximum where they cross, as NumPy's `clip`.
pub fn clip(dtype: DType) -> Option<Kernel<4>> {
    if matches!(dtype, DType::F16 | DType::BF16) {
        return through_f32(clip(DType::F32)?, [dtype; 4]);
    }
    with_number!(dtype, T => map3(|x: T, minimum: T, maximum: T| {
        let raised = if x < minimum { minimum } else { x };
        if raised > maximum { maximum } else { raised }
    }))
}

/// `a` where the condition holds, else `b`; for elements of any type.
pub fn select(dtype: DType) -> Kernel<4> {
    fn choose<T: Element>(dtype: DType) -> Kernel<4> {
        let rows = map3(|condition: bool, a: T, b: T| if condition { a } else { b }).into_rows();
        // SAFETY: the rows work on elements of the dtype's size, whatever they mean.
        unsafe { Kernel::new([dtype, DType::Bool, dtype, dtype], rows) }
    }
    match dtype.size() {
        1 => choose::<u8>(dtype),
        2 => choose::<u16>(dtype),
        4 => choose::<u32>(dtype),
        _ => choose::<u64>(dtype),
    }
}

/// `x a + b` in f32.
pub fn multiply_add(isa: Isa) -> Kernel<4> {
    let rows = move |[to, x, a, b]: [*mut u8; 4], n: usize| {
        let (to, x, a, b) = (to.cast::<f32>(), x.cast::<f32>(), a.cast::<f32>(), b.cast::<f32>());
        dispatch!(isa, S => {
            let mut i = 0;
            // SAFETY: the kernel's contract grants n elements at each pointer; accesses are at i.. with at most n - i.
            unsafe {
                while i + S::LANES <= n {
                    let value = S::mul_add(S::load(x.add(i)), S::load(a.add(i)), S::load(b.add(i)));
                    S::store(to.add(i), value);
                    i += S::LANES;
                }
                if i < n {
                    let load = |p: *mut f32| S::load_partial(p.add(i), n - i);
                    S::store_partial(to.add(i), S::mul_add(load(x), load(a), load(b)), n - i);
                }
            }
        });
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([DType::F32; 4], rows) }
}

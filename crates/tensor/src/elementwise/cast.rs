use super::map::{Kernel, Rows};
use super::unary::map1;
use crate::{DType, Element};
use half::{bf16, f16};
use std::mem::MaybeUninit;

/// Elements converted at a time when a conversion goes by way of another type.
const CHUNK: usize = 256;

/// A conversion of `n` contiguous elements.
///
/// # Safety
/// `from` is readable and `to` writable for `n` elements of their types; they are separate or start together and the
/// elements written are not larger than those read.
type Convert = unsafe fn(to: *mut u8, from: *const u8, n: usize);

/// # Safety
/// As [`Convert`].
unsafe fn convert<A: Element, B: Element + FromElement<A>>(to: *mut u8, from: *const u8, n: usize) {
    for i in 0..n {
        // SAFETY: the caller grants n elements at each pointer.
        unsafe { to.cast::<B>().add(i).write(B::from_element(from.cast::<A>().add(i).read())) }
    }
}

/// A conversion between types, one of which is wide: i64 carries integers, f64 floats.
trait FromElement<A> {
    fn from_element(x: A) -> Self;
}

macro_rules! from_element {
    ($($from:ty => $($to:ty)*, $x:ident => $convert:expr);* $(;)?) => { $($(
        impl FromElement<$from> for $to {
            #[inline(always)]
            fn from_element($x: $from) -> $to {
                $convert as $to
            }
        }
    )*)* };
}

from_element! {
    i8 => i64, x => x;
    u8 => i64 f32, x => x;
    i16 => i64, x => x;
    u16 => i64, x => x;
    i32 => i64 f32, x => x;
    u32 => i64, x => x;
    u64 => i64 f64, x => x;
    // Bits beyond those of the target are cut off, as NumPy does.
    i64 => i8 u8 i16 u16 i32 u32 u64 f32 f64, x => x;
    bool => i64, x => x;
    f32 => f64, x => x;
    f64 => i64 u64 f32, x => x;
}

macro_rules! from_element_by {
    ($($from:ty => $to:ty, $convert:expr);* $(;)?) => { $(
        impl FromElement<$from> for $to {
            #[inline(always)]
            fn from_element(x: $from) -> $to {
                $convert(x)
            }
        }
    )* };
}

from_element_by! {
    f16 => f64, f64::from;
    f16 => f32, f32::from;
    bf16 => f64, f64::from;
    bf16 => f32, f32::from;
    f64 => f16, f16::from_f64;
    f64 => bf16, bf16::from_f64;
    f32 => f16, f16::from_f32;
    f32 => bf16, bf16::from_f32;
    i64 => f16, |x| f16::from_f64(x as f64);
    i64 => bf16, |x| bf16::from_f64(x as f64);
    i64 => bool, |x| x != 0;
    f64 => bool, |x| x != 0.0;
    f32 => u8, |x: f32| (x as i64) as u8;
    f32 => i64, |x: f32| x as i64;
    f32 => i32, |x: f32| (x as i64) as i32;
}

fn to_wide(from: DType, float: bool) -> Convert {
    match (from, float) {
        (DType::F32, _) => convert::<f32, f64>,
        (DType::F16, _) => convert::<f16, f64>,
        (DType::BF16, _) => convert::<bf16, f64>,
        (DType::F64, _) => copy::<8>,
        (DType::U64, true) => convert::<u64, f64>,
        (DType::I8, _) => convert::<i8, i64>,
        (DType::U8, _) => convert::<u8, i64>,
        (DType::I16, _) => convert::<i16, i64>,
        (DType::U16, _) => convert::<u16, i64>,
        (DType::I32, _) => convert::<i32, i64>,
        (DType::U32, _) => convert::<u32, i64>,
        (DType::I64 | DType::U64, _) => copy::<8>,
        (DType::Bool, _) => convert::<bool, i64>,
    }
}

fn from_integer(to: DType) -> Convert {
    match to {
        DType::F32 => convert::<i64, f32>,
        DType::F64 => convert::<i64, f64>,
        DType::F16 => convert::<i64, f16>,
        DType::BF16 => convert::<i64, bf16>,
        DType::I8 | DType::U8 => convert::<i64, u8>,
        DType::I16 | DType::U16 => convert::<i64, u16>,
        DType::I32 | DType::U32 => convert::<i64, u32>,
        DType::I64 | DType::U64 => copy::<8>,
        DType::Bool => convert::<i64, bool>,
    }
}

/// From f64 to a float, a truth value, or the 64-bit integer that the others are cut from.
fn from_float(to: DType) -> Convert {
    match to {
        DType::F32 => convert::<f64, f32>,
        DType::F64 => copy::<8>,
        DType::F16 => convert::<f64, f16>,
        DType::BF16 => convert::<f64, bf16>,
        DType::Bool => convert::<f64, bool>,
        DType::U64 => convert::<f64, u64>,
        _ => convert::<f64, i64>,
    }
}

/// # Safety
/// As [`Convert`].
unsafe fn copy<const SIZE: usize>(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: the caller grants n elements of that size; the blocks may be the same.
    unsafe { std::ptr::copy(from, to, n * SIZE) }
}

/// The kernel that converts elements: floats to integers by truncation, anything to truth by comparison with 0.
pub fn cast(from: DType, to: DType) -> Kernel<2> {
    match (from, to) {
        (DType::U8, DType::F32) => return map1(<f32 as FromElement<u8>>::from_element),
        (DType::F32, DType::U8) => return map1(<u8 as FromElement<f32>>::from_element),
        (DType::I32, DType::F32) => return map1(<f32 as FromElement<i32>>::from_element),
        (DType::F32, DType::I32) => return map1(<i32 as FromElement<f32>>::from_element),
        (DType::I64, DType::F32) => return map1(<f32 as FromElement<i64>>::from_element),
        (DType::F32, DType::I64) => return map1(<i64 as FromElement<f32>>::from_element),
        (DType::F16, DType::F32) => return map1(<f32 as FromElement<f16>>::from_element),
        (DType::F32, DType::F16) => return map1(<f16 as FromElement<f32>>::from_element),
        (DType::BF16, DType::F32) => return map1(<f32 as FromElement<bf16>>::from_element),
        (DType::F32, DType::BF16) => return map1(<bf16 as FromElement<f32>>::from_element),
        _ => {}
    }
    let (from_size, to_size) = (from.size(), to.size());
    if from == to {
        let rows = move |[out, data]: [*mut u8; 2], n: usize| {
            // SAFETY: the kernel's contract grants n elements at each pointer.
            unsafe { std::ptr::copy(data, out, n * from_size) }
        };
        // SAFETY: as above, only the n elements are accessed.
        return unsafe { Kernel::new([to, from], rows) };
    }
    let float_wide = from.is_float() || (from == DType::U64 && to.is_float());
    let widen = to_wide(from, float_wide);
    let narrow: (Convert, Option<Convert>) = match float_wide {
        false => (from_integer(to), None),
        true if to.is_float() || matches!(to, DType::Bool | DType::U64) => (from_float(to), None),
        true => (from_float(to), Some(from_integer(to))),
    };
    let rows = move |[out, data]: [*mut u8; 2], n: usize| {
        let mut wide = [MaybeUninit::<u64>::uninit(); CHUNK];
        let wide = wide.as_mut_ptr().cast::<u8>();
        for start in (0..n).step_by(CHUNK) {
            let count = CHUNK.min(n - start);
            // SAFETY: the kernel's contract grants n elements at each pointer; wide holds CHUNK of eight bytes.
            unsafe {
                widen(wide, data.add(start * from_size), count);
                let out = out.add(start * to_size);
                match narrow {
                    (last, None) => last(out, wide, count),
                    (truncate, Some(last)) => {
                        truncate(wide, wide, count);
                        last(out, wide, count);
                    }
                }
            }
        }
    };
    // SAFETY: as above, only the n elements are accessed.
    unsafe { Kernel::new([to, from], rows) }
}

/// A kernel of f32 elements for operands of other types, f16 and bf16 above all, converted a chunk at a time.
///
/// Operands whose type the kernel has already pass through. `None` where a type would need more than that.
pub(super) fn through_f32<const N: usize>(kernel: Kernel<N>, dtypes: [DType; N]) -> Option<Kernel<N>> {
    let inner = kernel.dtypes();
    let mut conversions: [Option<Box<Rows<2>>>; N] = [const { None }; N];
    for k in 0..N {
        if inner[k] == dtypes[k] {
            continue;
        }
        if inner[k] != DType::F32 {
            return None;
        }
        let conversion = if k == 0 { cast(DType::F32, dtypes[k]) } else { cast(dtypes[k], DType::F32) };
        conversions[k] = Some(conversion.into_rows());
    }
    let compute = kernel.into_rows();
    let sizes = dtypes.map(DType::size);
    let rows = move |pointers: [*mut u8; N], n: usize| {
        let mut stages = [[MaybeUninit::<f32>::uninit(); CHUNK]; N];
        for start in (0..n).step_by(CHUNK) {
            let count = CHUNK.min(n - start);
            let outside: [*mut u8; N] = std::array::from_fn(|k| pointers[k].wrapping_add(start * sizes[k]));
            let mut inside = outside;
            for k in 0..N {
                if let Some(conversion) = &conversions[k] {
                    inside[k] = stages[k].as_mut_ptr().cast();
                    if k > 0 {
                        conversion([inside[k], outside[k]], count);
                    }
                }
            }
            compute(inside, count);
            if let Some(conversion) = &conversions[0] {
                conversion([outside[0], inside[0]], count);
            }
        }
    };
    // SAFETY: the kernel and the conversions access only the n elements at each pointer and stages of CHUNK >= count.
    Some(unsafe { Kernel::new(dtypes, rows) })
}

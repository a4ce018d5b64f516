use crate::{View, ViewMut};

/// Writes the one element of `value` to every element of a dense tensor of its type.
///
/// # Panics
/// Where the types differ, the value has more than one element, or the tensor is not dense.
pub fn fill(to: &mut ViewMut<'_>, value: &View<'_>) {
    assert!(to.dtype() == value.dtype() && value.len() == 1 && to.is_dense());
    fn write<T: Copy>(to: &mut ViewMut<'_>, value: &View<'_>) {
        let (n, pointer) = (to.len(), to.as_mut_ptr().cast::<T>());
        // SAFETY: the value has one element of this size, and the tensor is dense with n of them.
        unsafe { std::slice::from_raw_parts_mut(pointer, n).fill(value.as_ptr().cast::<T>().read()) }
    }
    match to.dtype().size() {
        1 => write::<u8>(to, value),
        2 => write::<u16>(to, value),
        4 => write::<u32>(to, value),
        _ => write::<u64>(to, value),
    }
}

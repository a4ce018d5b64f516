use super::{Builder, count};
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use vedette_tensor::View;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_run_at_a_known_shape_allocates_nothing() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, null, null]));
    let mut last = x;
    for _ in 0..20 {
        let wide = b.node("ChannelsLast", &[last]);
        let turned = b.transpose(wide, &[0, 2, 1]);
        let back = b.transpose(turned, &[0, 2, 1]);
        last = b.node("Double", &[back]);
    }
    let engine = b.build(&[last, last]);
    let data = count(24);
    let inputs = [View::of(&[2, 3, 4], &data)];
    let mut outputs = engine.run(&inputs).unwrap();
    let before = ALLOCATIONS.get();
    engine.run_into(&inputs, &mut outputs).unwrap();
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

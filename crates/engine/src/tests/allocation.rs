use super::{Builder, count};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use vedette_tensor::{DType, Tensor, View};

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

/// Allocations of a run that finds no workspace idle, as tests beside it may have them all.
const OF_A_WORKSPACE: usize = 3;

/// What this thread allocates meanwhile.
fn allocations_of(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

/// What this thread allocates in that of three runs which finds most of what it needs; none makes more than a workspace.
pub(crate) fn fewest_allocations(mut run: impl FnMut()) -> usize {
    let runs = [(); 3].map(|()| allocations_of(&mut run));
    assert!(runs.iter().all(|&allocations| allocations <= OF_A_WORKSPACE), "{runs:?}");
    runs.into_iter().min().unwrap()
}

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
    assert_eq!(fewest_allocations(|| engine.run_into(&inputs, &mut outputs).unwrap()), 0);
}

#[test]
fn as_many_shapes_are_known_as_plans_are_kept() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null]));
    let doubled = b.node("Double", &[x]);
    let engine = b.build(&[doubled]);
    let data = count(100);
    let anew = |widths: std::ops::RangeInclusive<usize>| {
        widths
            .filter(|&width| {
                let mut outputs = vec![Tensor::zeros(DType::F32, &[width]).unwrap()];
                let inputs = [View::of(&[width], &data[..width])];
                allocations_of(|| engine.run_into(&inputs, &mut outputs).unwrap()) > OF_A_WORKSPACE
            })
            .count()
    };
    assert_eq!(anew(1..=64), 64);
    assert_eq!(anew(1..=64), 0);
    // One more, and the one that was used longest ago is gone.
    assert_eq!(anew(65..=65), 1);
    assert_eq!(anew(2..=65), 0);
    assert_eq!(anew(1..=1), 1);
}

#[test]
fn a_run_in_bfloat16_at_a_known_shape_allocates_nothing() {
    let mut b = Builder::new();
    let x = b.input("float32", json!([null, 16, null, null]));
    let values = |n: usize| (0..n).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<f32>>();
    let w = b.constant(Tensor::from_slice(&[24, 16, 3, 3], &values(24 * 16 * 9)));
    let pointwise = b.constant(Tensor::from_slice(&[16, 24, 1, 1], &values(16 * 24)));
    let columns = b.constant(Tensor::from_slice(&[20, 32], &values(20 * 32)));
    let turned = b.constant(Tensor::from_slice(&[16, 8, 2, 2], &values(16 * 8 * 4)));
    let node = |b: &mut Builder, op: &str, inputs: &[usize], more: Value| {
        let mut attributes = json!({"precision": "bfloat16"});
        more.as_object().into_iter().flatten().for_each(|(name, value)| attributes[name] = value.clone());
        b.nodes(op, inputs, 1, attributes)[0]
    };
    let y = node(&mut b, "Conv", &[x, w], json!({"pads": [1, 1, 1, 1], "activation": {"kind": "gelu"}}));
    let y = node(&mut b, "Conv", &[y, pointwise], json!({}));
    let z = node(&mut b, "ConvTranspose", &[y, turned], json!({"strides": [2, 2]}));
    let y = node(&mut b, "MatMul", &[y, columns], json!({}));
    let turned = b.transpose(y, &[0, 1, 3, 2]);
    let y = node(&mut b, "ScaledDotProductAttention", &[y, turned, y], json!({"alpha": 0.5}));
    let y = node(&mut b, "MatMul", &[y, y], json!({"trans_b": true}));
    let engine = b.build_of(&[y, z], None, crate::ops::find).unwrap();
    let data = values(2 * 16 * 12 * 20);
    let inputs = [View::of(&[2, 16, 12, 20], &data)];
    let mut outputs = engine.run(&inputs).unwrap();
    assert_eq!(fewest_allocations(|| engine.run_into(&inputs, &mut outputs).unwrap()), 0);
}

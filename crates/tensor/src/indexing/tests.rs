use super::*;
use crate::elementwise::Layout;
use crate::{Tensor, ViewMut};
use vedette_runtime::ThreadPool;

fn layout<'a>(view: &'a View<'_>) -> Layout<'a> {
    Layout { dtype: view.dtype(), shape: view.shape(), strides: view.strides() }
}

fn gathered(plan: &Gather, data: &View<'_>, indices: &View<'_>) -> Vec<i32> {
    let mut output = Tensor::zeros(DType::I32, plan.output_shape()).unwrap();
    plan.run(data, indices, &mut output.view_mut(), &ThreadPool::new(2));
    output.slice::<i32>().to_vec()
}

#[test]
fn slices_along_an_axis() {
    let data: Vec<i32> = (0..24).collect();
    let plain = View::of(&[2, 3, 4], &data);
    let turned = plain.permuted(&[2, 0, 1]);
    let wanted = [2i64, -1, 0, 1];
    let indices = View::of(&[2, 2], &wanted);
    for view in [&plain, &turned] {
        let values = view.to_vec::<i32>();
        let shape = view.shape();
        for axis in 0..3 {
            let inside: Vec<i64> =
                wanted.iter().map(|&i| i.rem_euclid(3).min(shape[axis] as i64 - 1)).collect();
            let indices_inside = View::of(&[2, 2], &inside);
            let plan = Gather::slices(layout(view), axis, layout(&indices)).unwrap();
            let found = gathered(&plan, view, &indices_inside);
            let (outer, inner): (usize, usize) =
                (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
            let mut expected = Vec::new();
            for o in 0..outer {
                for &i in &inside {
                    expected.extend_from_slice(&values[(o * shape[axis] + i as usize) * inner..][..inner]);
                }
            }
            assert_eq!(found, expected, "axis {axis}");
        }
    }
    let plan = Gather::slices(layout(&plain), 1, layout(&indices)).unwrap();
    assert_eq!(plan.output_shape(), [2, 2, 2, 4]);
    let far = [100i64, -100, 1, 2];
    assert_eq!(gathered(&plan, &plain, &View::of(&[2, 2], &far))[..8], [8, 9, 10, 11, 0, 1, 2, 3]);
    assert_eq!(find_out_of_range(&View::of(&[4], &far), 100), Some(100));
    assert_eq!(find_out_of_range(&indices, 3), None);
}

#[test]
fn elements_and_tuples() {
    let data = [1i32, 2, 3, 4, 5, 6];
    let view = View::of(&[3, 2], &data);
    let rows = [2i32, 0, -3, 1];
    let indices = View::of(&[2, 2], &rows);
    let plan = Gather::elements(layout(&view), 0, layout(&indices)).unwrap();
    assert_eq!(gathered(&plan, &view, &indices), [5, 2, 1, 4]);
    let tuples = [1i64, 1, 0, 0];
    let indices = View::of(&[2, 2], &tuples);
    let plan = Gather::tuples(layout(&view), layout(&indices), 0).unwrap();
    assert_eq!(gathered(&plan, &view, &indices), [4, 1]);
    let batch = [1i64, 0, 1];
    let indices = View::of(&[3, 1], &batch);
    let plan = Gather::tuples(layout(&view), layout(&indices), 1).unwrap();
    assert_eq!(gathered(&plan, &view, &indices), [2, 3, 6]);
    assert!(Gather::tuples(layout(&view), layout(&indices), 2).is_err());
    let empty = View::of::<i32>(&[0, 2], &[]);
    assert!(Gather::slices(layout(&empty), 0, layout(&indices)).is_err());
}

#[test]
fn updates_replace_and_reduce() {
    let places = [1i64, 0, 1, 1];
    let indices = View::of(&[2, 2], &places);
    let updates = [10i32, 20, 30, 40];
    let updates = View::of(&[2, 2], &updates);
    for (reduction, expected) in [
        (ScatterReduction::Replace, [1, 20, 30, 40, 5, 6]),
        (ScatterReduction::Add, [1, 22, 43, 44, 5, 6]),
        (ScatterReduction::Max, [1, 20, 30, 40, 5, 6]),
        (ScatterReduction::Min, [1, 2, 3, 4, 5, 6]),
        (ScatterReduction::Mul, [1, 40, 900, 160, 5, 6]),
    ] {
        let mut data = [1i32, 2, 3, 4, 5, 6];
        let mut output = ViewMut::of(&[3, 2], &mut data);
        let to = Layout { dtype: DType::I32, shape: &[3, 2], strides: &[2, 1] };
        let plan = Scatter::elements(to, 0, layout(&indices), layout(&updates), reduction).unwrap();
        plan.run(&indices, &updates, &mut output);
        assert_eq!(data, expected, "{reduction:?}");
    }
    let mut data = [0i32; 6];
    let rows = [2i64, 0];
    let indices = View::of(&[2, 1], &rows);
    let to = Layout { dtype: DType::I32, shape: &[3, 2], strides: &[2, 1] };
    let plan = Scatter::tuples(to, layout(&indices), layout(&updates), ScatterReduction::Replace).unwrap();
    plan.run(&indices, &updates, &mut ViewMut::of(&[3, 2], &mut data));
    assert_eq!(data, [30, 40, 0, 0, 10, 20]);
}

#[test]
fn the_first_of_equals_comes_first() {
    let data = [3.0f32, 1.0, 3.0, f32::NAN, 2.0, 0.0, 5.0, 5.0, 5.0, -1.0];
    let view = View::of(&[2, 5], &data);
    let select = |k: usize, largest| {
        let (mut values, mut indices) = (vec![0.0f32; 2 * k], vec![0i64; 2 * k]);
        let strides = crate::contiguous_strides(&[2, k]);
        let shape = [2, k];
        let to = |dtype| Layout { dtype, shape: &shape, strides: &strides };
        let plan = TopK::new(layout(&view), 1, to(DType::F32), to(DType::I64), largest);
        let mut scratch = vec![0u64; 5];
        plan.unwrap().run(
            &view,
            &mut ViewMut::of(&shape, &mut values),
            &mut ViewMut::of(&shape, &mut indices),
            &mut scratch,
        );
        (values, indices)
    };
    assert_eq!(select(3, true).1, [3, 0, 2, 1, 2, 3]);
    assert_eq!(select(2, false), (vec![1.0, 2.0, -1.0, 0.0], vec![1, 4, 4, 0]));
    assert_eq!(select(5, false).1, [1, 4, 0, 2, 3, 4, 0, 1, 2, 3]);
    assert!(select(0, true).0.is_empty());
}

#[test]
fn one_hot_codes_and_triangles() {
    let places = [1i64, -1, 7];
    let indices = View::of(&[3], &places);
    let (off, on) = ([2.0f32], [5.0f32]);
    for (axis, expected) in
        [(1, [2., 5., 2., 2., 2., 5., 2., 2., 2.]), (0, [2., 2., 2., 5., 2., 2., 2., 5., 2.])]
    {
        let mut found = [0.0f32; 9];
        let to = Layout { dtype: DType::F32, shape: &[3, 3], strides: &[3, 1] };
        let plan = OneHot::new(layout(&indices), axis, to).unwrap();
        plan.run(&indices, &View::of(&[], &off), &View::of(&[], &on), &mut ViewMut::of(&[3, 3], &mut found));
        assert_eq!(found, expected);
    }
    let triangle = |k, upper| {
        let mut matrix = [1u8; 6];
        keep_triangle(&mut ViewMut::of(&[2, 3], &mut matrix), k, upper, &ThreadPool::new(1));
        matrix
    };
    assert_eq!(triangle(0, true), [1, 1, 1, 0, 1, 1]);
    assert_eq!(triangle(1, true), [0, 1, 1, 0, 0, 1]);
    assert_eq!(triangle(0, false), [1, 0, 0, 1, 1, 0]);
    assert_eq!(triangle(-9, false), [0; 6]);
    assert_eq!(triangle(i64::MIN, true), [1; 6]);
}

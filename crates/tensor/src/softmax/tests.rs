use super::*;
use crate::{Tensor, channels_last_strides, contiguous_strides};

fn softmax(view: &View<'_>, axis: usize, output: &Strides, logarithm: bool, isa: Isa) -> Vec<f32> {
    let layout = |strides| Layout { dtype: DType::F32, shape: view.shape(), strides };
    let plan = Softmax::new(layout(view.strides()), axis, layout(output), logarithm, isa).unwrap();
    let mut tensor = Tensor::zeros(DType::F32, view.shape()).unwrap();
    // SAFETY: the strides are dense, so they reach exactly the tensor's elements.
    let mut to = unsafe {
        ViewMut::from_raw_parts(DType::F32, view.shape().into(), output.clone(), tensor.as_mut_ptr())
    };
    plan.run(view, &mut to, &ThreadPool::new(2));
    to.as_view().to_vec()
}

#[test]
fn every_axis_order_and_level_agrees_with_f64() {
    let data: Vec<f32> = (0..2 * 3 * 5 * 37).map(|i| ((i * 7919) % 1013) as f32 / 20.0 - 20.0).collect();
    let plain = View::of(&[2, 3, 5, 37], &data);
    let last = View::of(&[2, 5, 37, 3], &data).permuted(&[0, 3, 1, 2]);
    for view in [&plain, &last] {
        let shape = view.shape();
        let wide: Vec<f64> = view.to_vec::<f32>().into_iter().map(f64::from).collect();
        let wide = View::of(shape, &wide);
        for axis in 0..4 {
            for logarithm in [false, true] {
                let layout = Layout { dtype: DType::F64, shape, strides: &contiguous_strides(shape) };
                let mut exact = vec![0.0f64; wide.len()];
                Softmax::new(layout, axis, layout, logarithm, Isa::SCALAR).unwrap().run(
                    &wide,
                    &mut ViewMut::of(shape, &mut exact),
                    &ThreadPool::new(1),
                );
                for isa in Isa::available() {
                    for output in [contiguous_strides(shape), channels_last_strides(shape)] {
                        let found = softmax(view, axis, &output, logarithm, isa);
                        for (x, y) in exact.iter().zip(&found) {
                            let error = (x - f64::from(*y)).abs();
                            assert!(error <= 1e-6 * x.abs() + 1e-7, "{axis} {} {x} {y}", isa.name());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn extremes_do_not_overflow() {
    let data = [1e30f32, -1e30, 0.0, f32::NEG_INFINITY, f32::NAN, 1.0];
    let view = View::of(&[2, 3], &data);
    for isa in Isa::available() {
        let found = softmax(&view, 1, &contiguous_strides(&[2, 3]), false, isa);
        assert_eq!(found[..3], [1.0, 0.0, 0.0]);
        assert!(found[3..].iter().all(|y| y.is_nan()));
    }
}

#[test]
fn hardmax_marks_the_first_largest() {
    let data = [1.0f32, 3.0, 3.0, 2.0, 0.0, 1.0];
    let view = View::of(&[2, 3], &data);
    for (axis, expected) in [(1, [0., 1., 0., 1., 0., 0.]), (0, [0., 1., 1., 1., 0., 0.])] {
        let mut found = [9.0f32; 6];
        let layout = Layout { dtype: DType::F32, shape: &[2, 3], strides: &[3, 1] };
        let plan = Hardmax::new(layout, axis).unwrap();
        plan.run(&view, &mut ViewMut::of(&[2, 3], &mut found), &ThreadPool::new(1));
        assert_eq!(found, expected);
    }
}

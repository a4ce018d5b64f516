//! Operators that select by order: TopK and NonMaxSuppression.

use super::Build;
use super::planning::{
    axis_of, expect_dtype, input, integers_of, invalid, known_integers, layout, operator, step,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, TensorSpec};
use vedette_tensor::indexing::TopK;
use vedette_tensor::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("TopK", top_k),
    ("NonMaxSuppression", |attributes| {
        let centred = attributes.flag_or("center_point_box", false)?;
        operator(move |context| plan_suppression(context, centred))
    }),
];

fn top_k(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let axis = attributes.int_or("axis", -1)?;
    let largest = attributes.flag_or("largest", true)?;
    operator(move |context| {
        let spec = &context.input(0)?.spec;
        let Some(k) = known_integers(context.input(1)?)? else { return Ok(Planned::NeedsValue(1)) };
        let axis = axis_of(axis, spec.shape.len())?;
        let &[k] = &k[..] else { return invalid(format!("expected one k, got {k:?}")) };
        let Some(k) = usize::try_from(k).ok().filter(|&k| k <= spec.shape[axis]) else {
            return invalid(format!("k is {k}, but axis {axis} has {} elements", spec.shape[axis]));
        };
        let mut shape = spec.shape.clone();
        shape[axis] = k;
        let values = TensorSpec::contiguous(spec.dtype, &shape);
        let indices = TensorSpec::contiguous(DType::I64, &shape);
        let plan = TopK::new(layout(spec), axis, layout(&values), layout(&indices), largest)?;
        let scratch_bytes = 8 * plan.scratch_len();
        let step = step(move |context| {
            // SAFETY: any bytes are integers.
            let (_, scratch, _) = unsafe { context.scratch.align_to_mut::<u64>() };
            if let [values, indices, ..] = &mut context.outputs[..] {
                plan.run(input(context.inputs, 0), values, indices, scratch);
            }
        });
        Ok(Planned::Step { outputs: vec![values, indices], in_place: Vec::new(), scratch_bytes, step })
    })
}

/// A box by its corners.
#[derive(Clone, Copy)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    fn new(numbers: &[f32], centred: bool) -> Corners {
        let [a, b, c, d] = [numbers[0], numbers[1], numbers[2], numbers[3]];
        match centred {
            true => Corners { low: [a - c / 2.0, b - d / 2.0], high: [a + c / 2.0, b + d / 2.0] },
            false => Corners { low: [a.min(c), b.min(d)], high: [a.max(c), b.max(d)] },
        }
    }

    fn area(self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Whether intersection over union exceeds the threshold.
    fn overlaps(self, other: Corners, threshold: f32) -> bool {
        let side = |i: usize| self.high[i].min(other.high[i]) - self.low[i].max(other.low[i]);
        if side(0) <= 0.0 || side(1) <= 0.0 || self.area() <= 0.0 || other.area() <= 0.0 {
            return false;
        }
        let shared = side(0) * side(1);
        shared / (self.area() + other.area() - shared) > threshold
    }
}

fn plan_suppression(context: &PlanContext<'_>, centred: bool) -> Result<Planned, EngineError> {
    for i in 0..context.inputs.len() {
        if context.optional(i).is_some_and(|input| input.value.is_none()) {
            return Ok(Planned::NeedsValue(i));
        }
    }
    expect_dtype(context.input(0)?, DType::F32)?;
    expect_dtype(context.input(1)?, DType::F32)?;
    let value = |i: usize| context.optional(i).and_then(|input| input.value.as_ref());
    let (Some(boxes), Some(scores)) = (value(0), value(1)) else {
        return invalid("boxes or scores are missing");
    };
    let (&[batches, count, 4], &[score_batches, classes, score_count]) = (boxes.shape(), scores.shape())
    else {
        let (boxes, scores) = (boxes.shape(), scores.shape());
        return invalid(format!(
            "expected boxes [B, N, 4] and scores [B, C, N], got {boxes:?} and {scores:?}"
        ));
    };
    if batches != score_batches || count != score_count {
        return invalid(format!("{batches} x {count} boxes, but {score_batches} x {score_count} scores"));
    }
    let most = match value(2) {
        None => 0,
        Some(view) => integers_of(view)?.first().map_or(0, |&most| usize::try_from(most).unwrap_or(0)),
    };
    let threshold = |i: usize| -> Result<Option<f32>, EngineError> {
        match value(i) {
            Some(view) if view.dtype() == DType::F32 => Ok(view.to_vec::<f32>().first().copied()),
            Some(view) => invalid(format!("input {i} must be float32, not {}", view.dtype())),
            None => Ok(None),
        }
    };
    let (overlap, least) = (threshold(3)?.unwrap_or(0.0), threshold(4)?);
    let (boxes, scores) = (boxes.to_vec::<f32>(), scores.to_vec::<f32>());
    let mut selected: Vec<i64> = Vec::new();
    for batch in 0..batches {
        let corners: Vec<Corners> =
            (0..count).map(|i| Corners::new(&boxes[(batch * count + i) * 4..][..4], centred)).collect();
        for class in 0..classes {
            let scores = &scores[(batch * classes + class) * count..][..count];
            let mut order: Vec<usize> =
                (0..count).filter(|&i| least.is_none_or(|least| scores[i] > least)).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() >= most {
                    break;
                }
                if !kept.iter().any(|&other| corners[i].overlaps(corners[other], overlap)) {
                    kept.push(i);
                    selected.extend([batch as i64, class as i64, i as i64]);
                }
            }
        }
    }
    Ok(Planned::Values(vec![Tensor::from_slice(&[selected.len() / 3, 3], &selected)]))
}

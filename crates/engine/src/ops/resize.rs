//! Resize.

use super::Build;
use super::planning::{
    Integers, axes_of, expect_dtype, input, invalid, layout, one_of, operator_by_rows, optional_integers,
    plan_view, shape_of, step,
};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext, Planned, RowWindow, TensorSpec};
use std::sync::Arc;
use vedette_tensor::movement::{GridGather, dense_strides_like};
use vedette_tensor::resize::{AxisMap, Coordinates, Interpolation, Nearest, Resize, Sampling};
use vedette_tensor::{DType, Dims, View, ViewMut};

pub(super) const OPERATORS: &[(&str, Build)] = &[("Resize", build)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aspect {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// What the attributes of a Resize say.
pub(super) struct Settings {
    sampling: Sampling,
    axes: Option<Vec<i64>>,
    extrapolation: f32,
    aspect: Aspect,
}

fn build(attributes: &Attributes) -> Result<Box<dyn Operator>, EngineError> {
    let settings = Arc::new(settings(attributes)?);
    let by_rows = settings.clone();
    operator_by_rows(
        move |context| {
            settings.plan_with(context, |context, output, maps| settings.plan_maps(context, output, maps))
        },
        move |context| by_rows.row_window(context),
    )
}

/// Reads the attributes.
pub(super) fn settings(attributes: &Attributes) -> Result<Settings, EngineError> {
    let nearest = [
        ("round_prefer_floor", Nearest::RoundPreferFloor),
        ("round_prefer_ceil", Nearest::RoundPreferCeil),
        ("floor", Nearest::Floor),
        ("ceil", Nearest::Ceil),
    ];
    let nearest = one_of(attributes, "nearest_mode", "round_prefer_floor", &nearest)?;
    let cubic = f64::from(attributes.float_or("cubic_coeff_a", -0.75)?);
    let interpolations = [
        ("nearest", Interpolation::Nearest(nearest)),
        ("linear", Interpolation::Linear),
        ("cubic", Interpolation::Cubic(cubic)),
    ];
    let coordinates = [
        ("half_pixel", Coordinates::HalfPixel),
        ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
        ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
        ("align_corners", Coordinates::AlignCorners),
        ("asymmetric", Coordinates::Asymmetric),
        ("tf_crop_and_resize", Coordinates::CropAndResize),
    ];
    let aspects = [
        ("stretch", Aspect::Stretch),
        ("not_larger", Aspect::NotLarger),
        ("not_smaller", Aspect::NotSmaller),
    ];
    Ok(Settings {
        sampling: Sampling {
            coordinates: one_of(attributes, "coordinate_transformation_mode", "half_pixel", &coordinates)?,
            interpolation: one_of(attributes, "mode", "nearest", &interpolations)?,
            antialias: attributes.flag_or("antialias", false)?,
            exclude_outside: attributes.flag_or("exclude_outside", false)?,
        },
        axes: attributes.ints("axes")?,
        extrapolation: attributes.float_or("extrapolation_value", 0.0)?,
        aspect: one_of(attributes, "keep_aspect_ratio_policy", "stretch", &aspects)?,
    })
}

/// Numbers of an optional input, if it is there and not empty.
fn floats(context: &PlanContext<'_>, i: usize) -> Result<Option<Option<Vec<f64>>>, EngineError> {
    let Some(input) = context.optional(i).filter(|input| !input.spec.is_empty()) else {
        return Ok(Some(None));
    };
    let Some(view) = &input.value else { return Ok(None) };
    match view.dtype() {
        DType::F32 => Ok(Some(Some(view.to_vec::<f32>().into_iter().map(f64::from).collect()))),
        DType::F64 => Ok(Some(Some(view.to_vec::<f64>()))),
        dtype => invalid(format!("input {i} must be float32 or float64, not {dtype}")),
    }
}

impl Settings {
    /// The rows that an enlargement reads which repeats each row so many times.
    fn row_window(&self, context: &PlanContext<'_>) -> Option<RowWindow> {
        let repeats = self.sampling.coordinates == Coordinates::Asymmetric
            && self.sampling.interpolation == Interpolation::Nearest(Nearest::Floor);
        let scales = floats(context, 2).ok()???;
        let [_, _, rows, _] = scales[..] else { return None };
        let factor = rows as usize;
        let whole = factor > 0 && factor as f64 == rows && self.axes.is_none();
        (repeats && whole).then_some(RowWindow::enlarged(factor))
    }

    /// Plans the node; `plan_maps` is given the output's spec and the map of every axis that changes.
    pub(super) fn plan_with(
        &self,
        context: &PlanContext<'_>,
        plan_maps: impl Fn(&PlanContext<'_>, TensorSpec, Vec<Option<AxisMap>>) -> Result<Planned, EngineError>,
    ) -> Result<Planned, EngineError> {
        let spec = &context.input(0)?.spec;
        let rank = spec.shape.len();
        let axes: Dims = match &self.axes {
            Some(axes) => axes_of(axes, rank)?,
            None => (0..rank).collect(),
        };
        let Some(roi) = floats(context, 1)? else { return Ok(Planned::NeedsValue(1)) };
        let Some(scales) = floats(context, 2)? else { return Ok(Planned::NeedsValue(2)) };
        let sizes = match optional_integers(context, 3)? {
            Integers::Unknown => return Ok(Planned::NeedsValue(3)),
            Integers::Known(sizes) if !sizes.is_empty() => Some(shape_of(&sizes)?),
            _ => None,
        };
        let (shape, scales) = self.output_shape(&spec.shape, &axes, scales, sizes)?;
        let output =
            TensorSpec { dtype: spec.dtype, strides: dense_strides_like(&shape, &spec.strides), shape };
        super::planning::check(context, &output)?;
        if spec.is_empty() {
            let shape = &spec.shape[..];
            return invalid(format!("nothing to resize in a tensor of shape {shape:?}"));
        }
        let crops = self.sampling.coordinates == Coordinates::CropAndResize;
        let roi = roi.filter(|_| crops);
        if crops && roi.as_ref().is_none_or(|roi| roi.len() != 2 * axes.len()) {
            return invalid("tf_crop_and_resize needs a region of interest: two numbers for each axis");
        }
        let mut maps: Vec<Option<AxisMap>> = vec![None; rank];
        for (i, &axis) in axes.iter().enumerate() {
            let region = roi.as_ref().map_or((0.0, 1.0), |roi| (roi[i], roi[axes.len() + i]));
            let same = (scales[axis] - 1.0).abs() < 1e-9 && output.shape[axis] == spec.shape[axis];
            if !same || region != (0.0, 1.0) {
                let (from, to) = (spec.shape[axis], output.shape[axis]);
                maps[axis] = Some(self.sampling.map(from, to, scales[axis], region));
            }
        }
        if maps.iter().all(Option::is_none) {
            return plan_view(spec.clone(), 0);
        }
        if output.is_empty() {
            let step = step(|_| {});
            return Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes: 0, step });
        }
        plan_maps(context, output, maps)
    }

    /// The output's shape, and the scale of every axis.
    fn output_shape(
        &self,
        shape: &[usize],
        axes: &[usize],
        scales: Option<Vec<f64>>,
        sizes: Option<Dims>,
    ) -> Result<(Dims, Vec<f64>), EngineError> {
        let (mut output, mut factors) = (Dims::from_slice(shape), vec![1.0; shape.len()]);
        match (scales, sizes) {
            (Some(scales), None) if scales.len() == axes.len() => {
                for (&axis, scale) in axes.iter().zip(scales) {
                    if !(scale > 0.0 && scale.is_finite()) {
                        return invalid(format!("a scale of {scale} is not positive"));
                    }
                    output[axis] = (shape[axis] as f64 * scale).floor() as usize;
                    factors[axis] = scale;
                }
            }
            (None, Some(sizes)) if sizes.len() == axes.len() => {
                let ratios =
                    || axes.iter().zip(&sizes).map(|(&a, &size)| size as f64 / shape[a].max(1) as f64);
                let common = match self.aspect {
                    Aspect::Stretch => None,
                    Aspect::NotLarger => ratios().min_by(f64::total_cmp),
                    Aspect::NotSmaller => ratios().max_by(f64::total_cmp),
                };
                for ((&axis, &size), ratio) in axes.iter().zip(&sizes).zip(ratios()) {
                    factors[axis] = common.unwrap_or(ratio);
                    output[axis] =
                        common.map_or(size, |scale| (scale * shape[axis] as f64 + 0.5).floor() as usize);
                }
            }
            (scales, sizes) => {
                let given = (scales.map(|scales| scales.len()), sizes.map(|sizes| sizes.len()));
                return invalid(format!(
                    "expected either scales or sizes for {} axes, got {given:?}",
                    axes.len()
                ));
            }
        }
        Ok((output, factors))
    }

    fn plan_maps(
        &self,
        context: &PlanContext<'_>,
        output: TensorSpec,
        maps: Vec<Option<AxisMap>>,
    ) -> Result<Planned, EngineError> {
        let spec = &context.input(0)?.spec;
        let extrapolation = self.extrapolation;
        let outside: Vec<Vec<usize>> =
            maps.iter().map(|map| map.as_ref().map_or_else(Vec::new, |map| map.outside.clone())).collect();
        if outside.iter().any(|axis| !axis.is_empty()) {
            expect_dtype(context.input(0)?, DType::F32)?;
        }
        if matches!(self.sampling.interpolation, Interpolation::Nearest(_)) {
            let indices: Vec<Vec<usize>> = maps
                .into_iter()
                .zip(&spec.shape)
                .map(|(map, &dim)| map.map_or_else(|| (0..dim).collect(), |map| map.indices))
                .collect();
            let gather = GridGather::new(layout(spec), &indices, layout(&output))?;
            let step = step(move |context| {
                gather.run(input(context.inputs, 0), &mut context.outputs[0], context.pool);
                extrapolate(&mut context.outputs[0], &outside, extrapolation);
            });
            return Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes: 0, step });
        }
        let plan = Resize::new(layout(spec), maps, layout(&output), context.isa)
            .map_err(|error| EngineError::Unsupported(error.0))?;
        let scratch_len = plan.scratch_len();
        let step = step(move |context| {
            // SAFETY: any bytes are floats.
            let (_, scratch, _) = unsafe { context.scratch.align_to_mut::<f32>() };
            plan.run(input(context.inputs, 0), &mut context.outputs[0], scratch, context.pool);
            extrapolate(&mut context.outputs[0], &outside, extrapolation);
        });
        Ok(Planned::Step {
            outputs: vec![output],
            in_place: Vec::new(),
            scratch_bytes: 4 * scratch_len,
            step,
        })
    }
}

/// Writes the value wherever an axis lies outside of the input.
fn extrapolate(output: &mut ViewMut<'_>, outside: &[Vec<usize>], value: f32) {
    let value = [value];
    let value = View::of(&[], &value);
    for (axis, indices) in outside.iter().enumerate() {
        for &index in indices {
            let mut shape = Dims::from_slice(output.shape());
            shape[axis] = 1;
            let strides = output.strides().into();
            let offset = output.strides()[axis] * index as isize * 4;
            let pointer = output.as_mut_ptr().wrapping_offset(offset);
            // SAFETY: the slice at an index of an axis is part of the output, which is borrowed exclusively.
            let mut slice = unsafe { ViewMut::from_raw_parts(DType::F32, shape, strides, pointer) };
            let value = value.broadcast_to(slice.shape());
            let pool = vedette_runtime::ThreadPool::new(1);
            if let Ok(value) = value {
                let copied = vedette_tensor::movement::copy(&value, &mut slice, &pool);
                debug_assert!(copied.is_ok(), "{copied:?}");
            }
        }
    }
}

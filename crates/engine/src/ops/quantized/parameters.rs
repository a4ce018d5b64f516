//! Scales, zero points and tables as nodes give them.

use crate::attributes::Attributes;
use crate::op::{EngineError, PlanContext};
use crate::ops::planning::expect_dtype;
use vedette_integer::{Quantization, Requantize};
use vedette_tensor::DType;

/// The quantisation that attributes `{name}_scale` and `{name}_zero_point` give.
pub(crate) fn quantization(attributes: &Attributes, name: &str) -> Result<Quantization, EngineError> {
    optional_quantization(attributes, name)?
        .ok_or_else(|| EngineError::Invalid(format!("attribute `{name}_scale` is missing")))
}

/// The same, if the scale is there.
pub(crate) fn optional_quantization(
    attributes: &Attributes,
    name: &str,
) -> Result<Option<Quantization>, EngineError> {
    let (scale, zero_point) = (format!("{name}_scale"), format!("{name}_zero_point"));
    if !attributes.has(&scale) {
        return Ok(None);
    }
    let scale = attributes.float_or(&scale, 0.0)?;
    Quantization::new(scale, attributes.int_or(&zero_point, 0)?)
        .map(Some)
        .map_err(|error| EngineError::Invalid(format!("`{name}`: {}", error.0)))
}

/// How results become bytes, with the clamping activation of the node.
pub(super) fn requantize(attributes: &Attributes) -> Result<Requantize, EngineError> {
    let to = quantization(attributes, "y")?;
    let activation = attributes.activation("activation")?;
    Requantize::new(to, activation).map_err(|error| EngineError::Unsupported(error.0))
}

/// The table of 256 bytes that input `i` is, if it is there.
pub(crate) fn table(context: &PlanContext<'_>, i: usize) -> Result<Option<[u8; 256]>, EngineError> {
    let Some(input) = context.optional(i) else { return Ok(None) };
    expect_dtype(input, DType::U8)?;
    let Some(view) = &input.value else {
        return Err(EngineError::Unsupported(format!("input {i}, a table, that is no constant")));
    };
    match <[u8; 256]>::try_from(view.to_vec::<u8>()) {
        Ok(table) => Ok(Some(table)),
        Err(values) => {
            Err(EngineError::Invalid(format!("input {i} is a table of {} bytes, expected 256", values.len())))
        }
    }
}

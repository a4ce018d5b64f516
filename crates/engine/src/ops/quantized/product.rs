//! What the operators with s8 weights share: their parameters, and the residual they add.

use super::parameters::{optional_quantization, table};
use crate::attributes::Attributes;
use crate::op::{EngineError, PlanContext, RunContext, TensorSpec};
use crate::ops::planning::expect_dtype;
use crate::ops::scratch::{ScratchPlan, ScratchTensor};
use vedette_integer::{Epilogue, EpilogueSpec, Quantization};
use vedette_tensor::movement::Copy;
use vedette_tensor::{Activation, DType, View};

/// Positions of the inputs after the activations.
pub(super) const WEIGHTS: usize = 1;
const MULTIPLIER: usize = 2;
const BIAS: usize = 3;
pub(super) const RESIDUAL: usize = 4;
const TABLE: usize = 5;

/// Inputs that are held in packed form once weights are.
pub(super) const PACKED: &[usize] = &[WEIGHTS, MULTIPLIER, BIAS, TABLE];

/// The attributes that say what sums mean and what becomes of them.
pub(super) struct ProductAttributes {
    pub(super) zero_point: u8,
    residual: Option<Quantization>,
    output: Option<Quantization>,
    clamp: Option<(f32, f32)>,
    activation: Option<Activation>,
}

impl ProductAttributes {
    /// Reads them; the activations' zero point has that name.
    pub(super) fn new(attributes: &Attributes, zero_point: &str) -> Result<Self, EngineError> {
        let output = optional_quantization(attributes, "y")?;
        let activation = attributes.activation("activation")?;
        let (clamp, activation) = vedette_tensor::matmul::Epilogue { activation }.split();
        if let (Some(other), Some(_)) = (activation, output) {
            return Err(EngineError::Unsupported(format!("activation {other:?} of outputs in uint8")));
        }
        let point = attributes.int_or(zero_point, 0)?;
        Ok(ProductAttributes {
            zero_point: u8::try_from(point).map_err(|_| {
                EngineError::Invalid(format!("attribute `{zero_point}` is {point}, expected 0 to 255"))
            })?,
            residual: optional_quantization(attributes, "residual")?,
            output,
            clamp,
            activation,
        })
    }

    /// The element type of the output; `rounded` where a real one may be bfloat16.
    pub(super) fn output_dtype(&self, rounded: bool) -> DType {
        match self.output {
            Some(_) => DType::U8,
            None if rounded => DType::BF16,
            None => DType::F32,
        }
    }

    /// An error unless the inputs are what the operators take.
    pub(super) fn check(&self, context: &PlanContext<'_>) -> Result<(), EngineError> {
        expect_dtype(context.input(0)?, DType::U8)?;
        expect_dtype(context.input(WEIGHTS)?, DType::I8)?;
        context.input(MULTIPLIER)?;
        if context.optional(RESIDUAL).is_some() && self.residual.is_none() {
            return Err(EngineError::Invalid("a residual without `residual_scale`".to_owned()));
        }
        for &i in PACKED {
            require_constant(context, i)?;
        }
        Ok(())
    }

    /// The epilogue for sums of `channels` columns, `repeats` times, that are at most `largest_sum`.
    pub(super) fn epilogue(
        &self,
        context: &PlanContext<'_>,
        channels: usize,
        largest_sum: u32,
        repeats: usize,
        rounded: bool,
    ) -> Result<Epilogue, EngineError> {
        let multiplier = vector(context, MULTIPLIER, channels)?.unwrap_or_default().repeat(repeats);
        let bias = vector(context, BIAS, channels)?.map(|bias| bias.repeat(repeats));
        let table = table(context, TABLE)?;
        let spec = EpilogueSpec {
            multiplier: &multiplier,
            bias: bias.as_deref(),
            residual: self.residual.filter(|_| context.optional(RESIDUAL).is_some()),
            clamp: self.clamp,
            rounded,
            activation: self.activation,
            output: self.output,
            table: table.as_ref(),
            largest_sum: Some(largest_sum),
        };
        Ok(Epilogue::new(context.isa, &spec))
    }
}

/// An error where an input is there and no constant.
pub(super) fn require_constant(context: &PlanContext<'_>, i: usize) -> Result<(), EngineError> {
    match context.optional(i) {
        Some(input) if !input.constant => {
            Err(EngineError::Unsupported(format!("input {i} of an integer product that is no constant")))
        }
        _ => Ok(()),
    }
}

/// The values of an optional constant with one value for each channel.
pub(super) fn vector(
    context: &PlanContext<'_>,
    i: usize,
    channels: usize,
) -> Result<Option<Vec<f32>>, EngineError> {
    let Some(input) = context.optional(i) else { return Ok(None) };
    expect_dtype(input, DType::F32)?;
    if input.spec.shape[..] != [channels] {
        let shape = &input.spec.shape[..];
        return Err(EngineError::Invalid(format!("input {i} has shape {shape:?}, expected [{channels}]")));
    }
    match &input.value {
        Some(view) => Ok(Some(view.to_vec::<f32>())),
        None => Err(EngineError::Invalid(format!("input {i} is not known"))),
    }
}

/// A residual, which kernels read as the output lies.
pub(super) enum Residual {
    Absent,
    AsOutput,
    /// It lies otherwise and is copied to scratch first.
    Copied(Box<(Copy, ScratchTensor)>),
}

impl Residual {
    /// The residual of a node, whose elements have that type; scratch grows where it must be copied.
    pub(super) fn new(
        context: &PlanContext<'_>,
        dtype: DType,
        output: &TensorSpec,
        scratch: &mut ScratchPlan,
    ) -> Result<Residual, EngineError> {
        let Some(input) = context.optional(RESIDUAL) else { return Ok(Residual::Absent) };
        expect_dtype(input, dtype)?;
        if input.spec.shape != output.shape {
            return Err(EngineError::Invalid(format!(
                "a residual of shape {:?} for an output of shape {:?}",
                input.spec.shape, output.shape
            )));
        }
        let wanted = TensorSpec { dtype, ..output.clone() };
        if input.spec == wanted {
            return Ok(Residual::AsOutput);
        }
        let copy = Copy::new(&output.shape, &input.spec.strides, &output.strides, dtype.size());
        Ok(Residual::Copied(Box::new((copy, scratch.tensor(&wanted)?))))
    }

    /// Inputs whose memory the output may take over.
    pub(super) fn in_place(&self, dtype: DType, output: &TensorSpec) -> Vec<usize> {
        if matches!(self, Residual::AsOutput) && dtype == output.dtype { vec![RESIDUAL] } else { vec![] }
    }

    /// Where to read it, null where absent.
    pub(super) fn pointer(&self, context: &mut RunContext<'_, '_>) -> *const u8 {
        match (self, context.inputs.get(RESIDUAL).and_then(Option::as_ref)) {
            (Residual::AsOutput, Some(view)) => view.as_ptr(),
            (Residual::Copied(parts), Some(view)) => {
                let mut copied = parts.1.view_mut(context.scratch);
                parts.0.run(view, &mut copied, context.pool);
                copied.as_mut_ptr().cast_const()
            }
            _ => std::ptr::null(),
        }
    }
}

/// Reserves scratch that is aligned and begins at the offset returned.
pub(super) fn reserve(scratch: &mut ScratchPlan, bytes: usize) -> Result<ScratchTensor, EngineError> {
    scratch.tensor(&TensorSpec::contiguous(DType::U8, &[bytes]))
}

/// The first element of an input.
pub(super) fn pointer_of(inputs: &[Option<View<'_>>], i: usize) -> *const u8 {
    inputs.get(i).and_then(Option::as_ref).map_or(std::ptr::null(), |view| view.as_ptr())
}

/// The form of constants kept for a level.
pub(super) struct PackedProduct<W> {
    pub(super) weights: std::sync::Arc<W>,
    pub(super) epilogue: std::sync::Arc<Epilogue>,
}

/// What packed forms are kept by.
pub(super) type Forms<K, W> = crate::ops::packed::Packed<K, PackedProduct<W>>;

#[cfg(test)]
mod tests;

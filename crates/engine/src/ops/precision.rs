//! The precision that a node of float32 tensors is computed in.

use crate::attributes::Attributes;
use crate::op::EngineError;
use vedette_bfloat16::Values;
use vedette_simd::Isa;
use vedette_tensor::DType;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Float32,
    Bfloat16,
}

impl Precision {
    /// The attribute `precision`.
    pub(super) fn of(attributes: &Attributes) -> Result<Precision, EngineError> {
        match attributes.string_or("precision", "float32")? {
            "float32" => Ok(Precision::Float32),
            "bfloat16" => Ok(Precision::Bfloat16),
            other => {
                Err(EngineError::Invalid(format!("precision is `{other}`, expected `float32` or `bfloat16`")))
            }
        }
    }

    /// Whether products have bfloat16 operands at this level: without units for it float32 is as fast and nearer.
    pub(super) fn is_bfloat16(self, isa: Isa) -> bool {
        self == Precision::Bfloat16 && vedette_bfloat16::is_native(isa)
    }
}

/// What bfloat16 products make of a tensor of that type.
pub(super) fn values_of(dtype: DType) -> Option<Values> {
    match dtype {
        DType::F32 => Some(Values::Float32),
        DType::BF16 => Some(Values::Bfloat16),
        _ => None,
    }
}

use crate::op::EngineError;
use serde_json::{Map, Value};
use vedette_tensor::{Activation, DType};

/// The attributes of a node, read by name and type.
#[derive(Clone, Debug, Default)]
pub struct Attributes(pub(crate) Map<String, Value>);

impl Attributes {
    fn get<T>(&self, name: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T, EngineError> {
        self.optional(name, kind, read)?
            .ok_or_else(|| EngineError::Invalid(format!("attribute `{name}` is missing")))
    }

    fn optional<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, EngineError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| {
                EngineError::Invalid(format!("attribute `{name}` is {value}, expected {kind}"))
            }),
        }
    }

    /// Whether the attribute is present and not null.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    /// An integer.
    pub fn int(&self, name: &str) -> Result<i64, EngineError> {
        self.get(name, "an integer", Value::as_i64)
    }

    /// An integer, or `default` where absent.
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, EngineError> {
        Ok(self.optional(name, "an integer", Value::as_i64)?.unwrap_or(default))
    }

    /// A flag: a JSON boolean or ONNX's 0 and 1; `default` where absent.
    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool, EngineError> {
        let read = |value: &Value| value.as_bool().or_else(|| value.as_i64().map(|number| number != 0));
        Ok(self.optional(name, "a boolean", read)?.unwrap_or(default))
    }

    /// A list of integers, if present.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, EngineError> {
        self.optional(name, "a list of integers", |value| {
            value.as_array()?.iter().map(Value::as_i64).collect()
        })
    }

    /// A list of numbers, if present.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, EngineError> {
        self.optional(name, "a list of numbers", |value| {
            value.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32)).collect()
        })
    }

    /// A number, or `default` where absent.
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, EngineError> {
        let read = |value: &Value| value.as_f64().map(|number| number as f32);
        Ok(self.optional(name, "a number", read)?.unwrap_or(default))
    }

    /// A string, or `default` where absent.
    pub fn string_or<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, EngineError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::String(text)) => Ok(text),
            Some(value) => {
                Err(EngineError::Invalid(format!("attribute `{name}` is {value}, expected a string")))
            }
        }
    }

    /// An element type, by its NumPy name.
    pub fn dtype(&self, name: &str) -> Result<DType, EngineError> {
        self.get(name, "the name of an element type", |value| DType::from_name(value.as_str()?))
    }

    /// A fused activation: absent, null, or an object such as `{"kind": "clip", "min": 0, "max": 6}`.
    pub fn activation(&self, name: &str) -> Result<Option<Activation>, EngineError> {
        let Some(Value::Object(fields)) = self.0.get(name).filter(|value| !value.is_null()) else {
            return match self.has(name) {
                false => Ok(None),
                true => Err(EngineError::Invalid(format!("attribute `{name}` is not an activation"))),
            };
        };
        let fields = Attributes(fields.clone());
        let parameter = |key: &str, default: f32| fields.float_or(key, default);
        let activation = match fields.string_or("kind", "")? {
            "relu" => Activation::Relu,
            "leaky_relu" => Activation::LeakyRelu { alpha: parameter("alpha", 0.01)? },
            "clip" => Activation::Clip {
                min: parameter("min", f32::NEG_INFINITY)?,
                max: parameter("max", f32::INFINITY)?,
            },
            "sigmoid" => Activation::Sigmoid,
            "hard_sigmoid" => {
                Activation::HardSigmoid { alpha: parameter("alpha", 0.2)?, beta: parameter("beta", 0.5)? }
            }
            "hard_swish" => Activation::ScaledHardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
            "scaled_hard_sigmoid" => Activation::ScaledHardSigmoid {
                alpha: parameter("alpha", 1.0 / 6.0)?,
                beta: parameter("beta", 0.5)?,
            },
            "silu" => Activation::Silu { alpha: parameter("alpha", 1.0)? },
            "tanh" => Activation::Tanh,
            "gelu" => Activation::Gelu,
            "gelu_tanh" => Activation::GeluTanh,
            "elu" => Activation::Elu { alpha: parameter("alpha", 1.0)? },
            "selu" => Activation::Selu {
                alpha: parameter("alpha", 1.673_263_2)?,
                gamma: parameter("gamma", 1.050_701)?,
            },
            "celu" => Activation::Celu { alpha: parameter("alpha", 1.0)? },
            "mish" => Activation::Mish,
            "softplus" => Activation::Softplus,
            "softsign" => Activation::Softsign,
            "thresholded_relu" => Activation::ThresholdedRelu { alpha: parameter("alpha", 1.0)? },
            "erf" => Activation::Erf,
            "exp" => Activation::Exp,
            kind => return Err(EngineError::Unsupported(format!("activation `{kind}`"))),
        };
        Ok(Some(activation))
    }
}

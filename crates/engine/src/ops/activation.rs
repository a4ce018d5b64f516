//! Activations: the fused form for float32, and the ONNX operators for the other types.

use super::Build;
use super::planning::{invalid, no_kernel, operator, plan_map};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator};
use serde_json::{Map, Value};
use vedette_tensor::Activation;
use vedette_tensor::elementwise::activation;

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("Activation", |attributes| match attributes.activation("activation")? {
        Some(activation) => unary(activation),
        None => invalid("attribute `activation` is missing"),
    }),
    ("Relu", |attributes| named("relu", attributes, &[])),
    ("LeakyRelu", |attributes| named("leaky_relu", attributes, &["alpha"])),
    ("Sigmoid", |attributes| named("sigmoid", attributes, &[])),
    ("HardSigmoid", |attributes| named("hard_sigmoid", attributes, &["alpha", "beta"])),
    ("HardSwish", |attributes| named("hard_swish", attributes, &[])),
    ("Tanh", |attributes| named("tanh", attributes, &[])),
    ("Elu", |attributes| named("elu", attributes, &["alpha"])),
    ("Selu", |attributes| named("selu", attributes, &["alpha", "gamma"])),
    ("Celu", |attributes| named("celu", attributes, &["alpha"])),
    ("Mish", |attributes| named("mish", attributes, &[])),
    ("Softplus", |attributes| named("softplus", attributes, &[])),
    ("Softsign", |attributes| named("softsign", attributes, &[])),
    ("ThresholdedRelu", |attributes| named("thresholded_relu", attributes, &["alpha"])),
    ("Swish", |attributes| named("silu", attributes, &["alpha"])),
    ("Gelu", |attributes| match attributes.string_or("approximate", "none")? {
        "none" => named("gelu", attributes, &[]),
        "tanh" => named("gelu_tanh", attributes, &[]),
        other => invalid(format!("attribute `approximate` is `{other}`, expected `none` or `tanh`")),
    }),
    ("Erf", |attributes| named("erf", attributes, &[])),
];

/// The activation of that kind with the parameters an ONNX node gives.
fn named(kind: &str, attributes: &Attributes, parameters: &[&str]) -> Result<Box<dyn Operator>, EngineError> {
    let mut fields = Map::new();
    fields.insert("kind".into(), kind.into());
    for &name in parameters {
        if let Some(value) = attributes.0.get(name) {
            fields.insert(name.into(), value.clone());
        }
    }
    let wrapped = Attributes(Map::from_iter([("activation".to_owned(), Value::Object(fields))]));
    match wrapped.activation("activation")? {
        Some(activation) => unary(activation),
        None => invalid(format!("`{kind}` is no activation")),
    }
}

fn unary(chosen: Activation) -> Result<Box<dyn Operator>, EngineError> {
    operator(move |context| {
        let dtype = context.input(0)?.spec.dtype;
        let kernel =
            activation(chosen, dtype, context.isa).ok_or_else(|| no_kernel("an activation", dtype))?;
        plan_map(context, kernel, [0, 0])
    })
}

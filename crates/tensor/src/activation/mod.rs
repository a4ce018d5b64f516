//! Unary activations, alone or in the epilogue of a matrix product or convolution.

/// A unary function of `f32` and its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the parameters are those of the ONNX operators of the same name")]
pub enum Activation {
    Relu,
    LeakyRelu {
        alpha: f32,
    },
    Clip {
        min: f32,
        max: f32,
    },
    Sigmoid,
    /// `clip(alpha x + beta, 0, 1)`
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x clip(alpha x + beta, 0, 1)`; HardSwish has alpha 1/6 and beta 1/2.
    ScaledHardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x sigmoid(alpha x)`
    Silu {
        alpha: f32,
    },
    Tanh,
    /// `x/2 (1 + erf(x / sqrt 2))`
    Gelu,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`
    GeluTanh,
    Elu {
        alpha: f32,
    },
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Celu {
        alpha: f32,
    },
    Mish,
    Softplus,
    Softsign,
    ThresholdedRelu {
        alpha: f32,
    },
    Erf,
    Exp,
}

//! The operators by group: each reads its attributes, plans, and hands the work to kernels of `vedette-tensor`.

mod activation;
mod attention;
mod classes;
mod conv;
mod conv_transpose;
mod elementwise;
mod generate;
mod indexing;
mod integer_products;
mod matmul;
mod movement;
mod normalize;
mod packed;
mod planning;
mod pool;
mod precision;
mod quantize;
mod quantized;
mod reduce;
mod residual;
mod resize;
mod scratch;
mod selection;
mod shape;
mod softmax;

use crate::attributes::Attributes;
use crate::op::{EngineError, Operator};

/// Makes an operator from the attributes of a node.
pub(crate) type Build = fn(&Attributes) -> Result<Box<dyn Operator>, EngineError>;

/// One table of `(ONNX name, constructor)` for each group.
const GROUPS: &[&[(&str, Build)]] = &[
    activation::OPERATORS,
    attention::OPERATORS,
    classes::OPERATORS,
    conv::OPERATORS,
    conv_transpose::OPERATORS,
    elementwise::OPERATORS,
    generate::OPERATORS,
    indexing::OPERATORS,
    integer_products::OPERATORS,
    matmul::OPERATORS,
    movement::OPERATORS,
    normalize::OPERATORS,
    pool::OPERATORS,
    quantize::OPERATORS,
    reduce::OPERATORS,
    resize::OPERATORS,
    selection::OPERATORS,
    shape::OPERATORS,
    softmax::OPERATORS,
];

fn operators() -> impl Iterator<Item = &'static (&'static str, Build)> {
    GROUPS.iter().chain(quantized::GROUPS).copied().flatten()
}

/// The constructor of the operator of that name.
pub(crate) fn find(op: &str) -> Option<Build> {
    operators().find(|entry| entry.0 == op).map(|entry| entry.1)
}

/// Every operator the engine has, sorted.
pub fn supported_operators() -> Vec<&'static str> {
    let mut names: Vec<_> = operators().map(|entry| entry.0).collect();
    names.sort_unstable();
    names
}

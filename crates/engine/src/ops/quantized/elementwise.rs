//! QuantizedAdd, QuantizedMul and QuantizedLookup.

use super::parameters::{quantization, requantize, table};
use crate::attributes::Attributes;
use crate::op::{EngineError, Operator, PlanContext};
use crate::ops::Build;
use crate::ops::planning::{elementwise, expect_dtype, known_scalar, plan_map};
use vedette_integer::elementwise::{add, lookup, multiply, with_table};
use vedette_integer::{Quantization, Requantize};
use vedette_simd::Isa;
use vedette_tensor::DType;
use vedette_tensor::elementwise::Kernel;

pub(super) const OPERATORS: &[(&str, Build)] = &[
    ("QuantizedAdd", |attributes| binary(attributes, add, |a, b| a + b)),
    ("QuantizedMul", |attributes| binary(attributes, multiply, |a, b| a * b)),
    ("QuantizedLookup", |_| {
        elementwise(|context| {
            expect_dtype(context.input(0)?, DType::U8)?;
            let Some(table) = table(context, 1)? else {
                return Err(EngineError::Invalid("input 1, the table, is missing".to_owned()));
            };
            plan_map(context, lookup(context.isa, table), [0, 0])
        })
    }),
];

type Binary = fn(Isa, Quantization, Quantization, Requantize) -> Kernel<3>;

fn binary(
    attributes: &Attributes,
    kernel: Binary,
    of_reals: fn(f32, f32) -> f32,
) -> Result<Box<dyn Operator>, EngineError> {
    let sides = [quantization(attributes, "a")?, quantization(attributes, "b")?];
    let to = requantize(attributes)?;
    elementwise(move |context| {
        expect_dtype(context.input(0)?, DType::U8)?;
        expect_dtype(context.input(1)?, DType::U8)?;
        let table = table(context, 2)?;
        if let Some((x, entries)) = with_scalar(context, sides, to, of_reals)? {
            let entries = entries.map(|q| table.map_or(q, |table| table[usize::from(q)]));
            return plan_map(context, lookup(context.isa, entries), [0, x]);
        }
        let kernel = kernel(context.isa, sides[0], sides[1], to);
        let kernel = match table {
            Some(table) => with_table(context.isa, kernel, table),
            None => kernel,
        };
        plan_map(context, kernel, [0, 0, 1])
    })
}

/// Where one side is a known scalar, which input the other is and the table that the whole comes to.
fn with_scalar(
    context: &PlanContext<'_>,
    sides: [Quantization; 2],
    to: Requantize,
    of_reals: fn(f32, f32) -> f32,
) -> Result<Option<(usize, [u8; 256])>, EngineError> {
    for (x, other) in [(0, 1), (1, 0)] {
        let (spec, scalar) = (&context.input(x)?.spec, context.input(other)?);
        if scalar.spec.len() == 1
            && scalar.spec.shape.len() <= spec.shape.len()
            && let Some(q) = known_scalar::<u8>(scalar)?
        {
            let real = sides[other].real(q);
            return Ok(Some((x, sides[x].table(&to, |x| of_reals(x, real)))));
        }
    }
    Ok(None)
}

//! QuantizedResize: Resize by weights, of bytes, which keep their scale and zero point.

use super::channels_last::{ChannelsLast, five_sizes};
use crate::op::{EngineError, PlanContext, Planned, TensorSpec};
use crate::ops::Build;
use crate::ops::planning::{expect_dtype, input, operator, step};
use crate::ops::resize::settings;
use vedette_integer::resize::{ResizePlan, identity};
use vedette_tensor::DType;
use vedette_tensor::resize::AxisMap;

pub(super) const OPERATORS: &[(&str, Build)] = &[("QuantizedResize", |attributes| {
    let settings = settings(attributes)?;
    operator(move |context| {
        expect_dtype(context.input(0)?, DType::U8)?;
        settings.plan_with(context, plan)
    })
})];

fn plan(
    context: &PlanContext<'_>,
    output: TensorSpec,
    maps: Vec<Option<AxisMap>>,
) -> Result<Planned, EngineError> {
    let spec = &context.input(0)?.spec;
    let sizes = five_sizes(&spec.shape)?;
    if maps[..2].iter().any(Option::is_some) {
        return Err(EngineError::Unsupported("resampling bytes along the batch or the channels".to_owned()));
    }
    let missing = 5 - maps.len();
    let maps: [AxisMap; 3] = std::array::from_fn(|axis| {
        let map = (axis + 2).checked_sub(missing).filter(|&own| own >= 2).and_then(|own| maps[own].clone());
        map.unwrap_or_else(|| identity(sizes[axis + 2]))
    });
    let x = ChannelsLast::new(spec)?;
    let plan = ResizePlan::new(context.isa, context.threads, sizes, maps, x.strides)
        .map_err(|error| EngineError::Unsupported(error.0))?;
    let scratch_bytes = x.bytes + plan.scratch_bytes();
    let output = TensorSpec::channels_last(DType::U8, &output.shape);
    let step = step(move |context| {
        let (x, scratch) = x.get(input(context.inputs, 0), context.scratch, context.pool);
        // SAFETY: input, output and scratch memory are as planned.
        unsafe { plan.run(x, context.outputs[0].as_mut_ptr(), scratch, context.pool) };
    });
    Ok(Planned::Step { outputs: vec![output], in_place: Vec::new(), scratch_bytes, step })
}

use super::value::{Extent, Home, Value};
use super::{Constants, Part, Plan};
use crate::op::{
    EngineError, Operator, PlanContext, PlanInput, Planned, RunContext, Step, TensorSpec, ViewOf, check_size,
};
use crate::program::{Node, Program, ValueId};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Instant;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::{DType, Tensor, View, ViewMut, is_dense};

/// What is the same for every plan of an engine.
pub(crate) struct Settings {
    pub(crate) isa: Isa,
    pub(crate) pool: ThreadPool,
    pub(crate) memory_limit: usize,
    /// Bytes that the steps of one strip of a section should touch; 0 to run every step on whole maps.
    pub(crate) strip_bytes: usize,
}

/// Where an output of a step goes: the buffer, and the element of it to begin at.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) spec: TensorSpec,
    pub(super) id: usize,
    pub(super) offset: isize,
}

/// A step before its operands have memory.
#[derive(Clone)]
pub(super) struct StepRequest {
    pub(super) node: usize,
    pub(super) part: Part,
    pub(super) inputs: SmallVec<[Option<Value>; 4]>,
    pub(super) outputs: SmallVec<[Target; 1]>,
    pub(super) in_place: Vec<usize>,
    pub(super) scratch_bytes: usize,
    pub(super) step: Arc<dyn Step>,
}

/// What is known at a node: where every value made so far lies.
#[derive(Clone)]
pub(crate) struct State {
    pub(super) next_node: usize,
    /// Values of this plan; constants are looked up beside it.
    pub(super) values: Vec<Option<Value>>,
    /// What the external memory holds.
    pub(super) externals: Vec<Extent>,
    /// Program outputs made by earlier plans.
    pub(super) outputs_made: Vec<bool>,
}

impl State {
    /// The beginning of the program, with inputs of these layouts.
    pub(crate) fn start(program: &Program, inputs: &[TensorSpec]) -> State {
        let mut values = vec![None; program.values];
        let mut externals = Vec::with_capacity(inputs.len());
        for (id, (input, spec)) in program.inputs.iter().zip(inputs).enumerate() {
            externals.push(Extent::of(&spec.shape, &spec.strides).unwrap_or(Extent::NOTHING));
            values[input.value] = Some(Value { spec: spec.clone(), home: Home::External { id, offset: 0 } });
        }
        State { next_node: 0, values, externals, outputs_made: vec![false; program.outputs.len()] }
    }

    /// Tells the value that planning waited for.
    pub(crate) fn learn(&mut self, id: ValueId, tensor: Tensor) {
        self.values[id] = Some(Value {
            spec: TensorSpec::contiguous(tensor.dtype(), tensor.shape()),
            home: Home::Known { tensor: Arc::new(tensor), offset: 0, constant: false },
        });
    }

    /// Adds external memory that holds a tensor, and tells where it begins.
    pub(super) fn add_external(&mut self, spec: &TensorSpec) -> Home {
        self.externals.push(Extent::of(&spec.shape, &spec.strides).unwrap_or(Extent::NOTHING));
        Home::External { id: self.externals.len() - 1, offset: 0 }
    }
}

/// What an operator says to its inputs.
pub(super) struct Answer {
    pub(super) planned: Planned,
    all_known: bool,
    all_constant: bool,
}

/// What an engine knows of its program.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) program: &'a Program,
    pub(crate) operators: &'a [Box<dyn Operator>],
    /// Nodes that lead to an output.
    pub(crate) live: &'a [bool],
    /// For every value the last node that reads it, or `usize::MAX` for program outputs.
    pub(crate) last_readers: &'a [Option<usize>],
    /// For every value the memory order its reader would like best.
    pub(crate) preferred_orders: &'a [Option<Vec<usize>>],
    /// For every value whether all its readers round it to bfloat16.
    pub(crate) rounded: &'a [bool],
    pub(crate) settings: &'a Settings,
}

/// Plans a program node by node.
pub(crate) struct Planner<'a> {
    pub(super) parts: Parts<'a>,
    constants: &'a mut Constants,
    pub(super) state: State,
    /// Bytes of every buffer.
    pub(super) buffers: Vec<usize>,
    pub(super) steps: Vec<StepRequest>,
    pub(super) known_bytes: usize,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(parts: Parts<'a>, constants: &'a mut Constants, state: State) -> Planner<'a> {
        Planner { parts, constants, state, buffers: Vec::new(), steps: Vec::new(), known_bytes: 0 }
    }

    /// Plans to the end of the program, or to the first node that has to wait for a value.
    pub(crate) fn plan(mut self) -> Result<Plan, EngineError> {
        let start = Instant::now();
        let mut waits_for = None;
        while self.state.next_node < self.parts.program.nodes.len() && waits_for.is_none() {
            let node = self.state.next_node;
            if self.parts.live[node] && !self.constants.is_folded(node) {
                waits_for = self
                    .plan_node(node)
                    .map_err(|error| error.within(&self.parts.program.nodes[node].label()))?;
            }
            if waits_for.is_none() {
                self.state.next_node += 1;
            }
        }
        let mut plan = self.assemble(waits_for)?;
        plan.planning = start.elapsed();
        Ok(plan)
    }

    pub(super) fn value(&self, id: ValueId) -> Result<&Value, EngineError> {
        self.state.values[id]
            .as_ref()
            .or(self.constants.get(id))
            .ok_or_else(|| EngineError::Invalid(format!("value {id} is not there")))
    }

    /// What a node's operator may know: of the inputs at some positions only strips, as these specs say.
    pub(super) fn with_context<R>(
        &self,
        index: usize,
        strips: &[(usize, TensorSpec)],
        row_padding: Option<[usize; 2]>,
        use_it: impl FnOnce(&PlanContext<'_>, &dyn Operator) -> R,
    ) -> Result<R, EngineError> {
        let node = &self.parts.program.nodes[index];
        let mut inputs: SmallVec<[Option<PlanInput<'_>>; 6]> = SmallVec::new();
        for (position, id) in node.inputs.iter().enumerate() {
            let Some(id) = *id else {
                inputs.push(None);
                continue;
            };
            let value = self.value(id)?;
            let released = self.constants.is_released(index, position);
            let strip = strips.iter().find(|strip| strip.0 == position);
            inputs.push(Some(PlanInput {
                spec: strip.map_or(&value.spec, |strip| &strip.1).clone(),
                value: if released { None } else { value.view() },
                constant: value.is_constant(),
            }));
        }
        let first = node.outputs.first().copied().flatten();
        let context = PlanContext {
            inputs: &inputs,
            outputs: node.outputs.len(),
            isa: self.parts.settings.isa,
            threads: self.parts.settings.pool.threads(),
            preferred_order: first.and_then(|id| self.parts.preferred_orders[id].as_deref()),
            rounded: first.is_some_and(|id| self.parts.rounded[id]),
            memory_limit: self.parts.settings.memory_limit,
            row_padding,
        };
        Ok(use_it(&context, self.parts.operators[index].as_ref()))
    }

    /// Has the operator plan a node, for whole maps or for strips of them.
    pub(super) fn ask(
        &self,
        index: usize,
        strips: &[(usize, TensorSpec)],
        row_padding: Option<[usize; 2]>,
    ) -> Result<Answer, EngineError> {
        self.with_context(index, strips, row_padding, |context, operator| {
            let inputs = context.inputs;
            let planned = operator.plan(context)?;
            if let Planned::NeedsValue(position) = planned {
                match inputs.get(position) {
                    Some(Some(PlanInput { value: None, constant: false, .. })) => {}
                    _ => {
                        return Err(EngineError::Invalid(format!(
                            "input {position} has no value to wait for"
                        )));
                    }
                }
            }
            let all_known = inputs.iter().flatten().all(|input| input.value.is_some());
            let all_constant = all_known && inputs.iter().flatten().all(|input| input.constant);
            Ok(Answer { planned, all_known, all_constant })
        })?
    }

    /// Plans one node; the value it has to wait for, if any.
    fn plan_node(&mut self, index: usize) -> Result<Option<ValueId>, EngineError> {
        let program = self.parts.program;
        let node = &program.nodes[index];
        let Answer { planned, all_known, all_constant } = self.ask(index, &[], None)?;
        // Constants that the operator did not take over, and that are not gone once the node is folded.
        if !all_constant || matches!(planned, Planned::Views { .. }) {
            let released = self.parts.operators[index].released_inputs();
            for (_, id) in node.inputs.iter().enumerate().filter(|(at, _)| !released.contains(at)) {
                id.map_or(Ok(()), |id| self.constants.own(id))?;
            }
        }
        let mut made = match planned {
            Planned::NeedsValue(position) => return Ok(node.inputs[position]),
            Planned::Views { input, views } => self.plan_views(node, input, views)?,
            Planned::Values(tensors) => {
                let mut values = Vec::with_capacity(tensors.len());
                for tensor in tensors {
                    self.count_known(tensor.dtype(), tensor.shape())?;
                    values.push(Value {
                        spec: TensorSpec::contiguous(tensor.dtype(), tensor.shape()),
                        home: Home::Known { tensor: Arc::new(tensor), offset: 0, constant: false },
                    });
                }
                values
            }
            Planned::Step { outputs, in_place, scratch_bytes, step } => {
                for spec in &outputs {
                    check_size(spec.dtype, &spec.shape, self.parts.settings.memory_limit)?;
                    if spec.shape.len() != spec.strides.len() || !is_dense(&spec.shape, &spec.strides) {
                        return Err(EngineError::Invalid(format!(
                            "the planned output of shape {:?} is not dense",
                            &spec.shape[..]
                        )));
                    }
                }
                if scratch_bytes > self.parts.settings.memory_limit {
                    return Err(EngineError::Memory(format!(
                        "{scratch_bytes} bytes of working memory exceed the limit of {}",
                        self.parts.settings.memory_limit
                    )));
                }
                if all_known {
                    self.evaluate(node, outputs, scratch_bytes, step.as_ref())?
                } else {
                    self.request(index, outputs, in_place, scratch_bytes, step)?
                }
            }
        };
        if made.len() != node.outputs.len() {
            let (made, asked) = (made.len(), node.outputs.len());
            return Err(EngineError::Invalid(format!(
                "the node has {asked} outputs, the operator makes {made}"
            )));
        }
        if all_constant {
            made.iter_mut().for_each(|value| {
                if let Home::Known { constant, .. } = &mut value.home {
                    *constant = true;
                }
            });
            let outputs =
                node.outputs.iter().zip(made).filter_map(|(id, value)| Some(((*id)?, value))).collect();
            self.constants.fold(program, index, outputs);
            return Ok(None);
        }
        for (id, value) in node.outputs.iter().zip(made) {
            if let Some(id) = *id {
                self.state.values[id] = Some(value);
            }
        }
        for &position in self.parts.operators[index].released_inputs() {
            self.constants.release(program, index, position);
        }
        Ok(None)
    }

    fn plan_views(&self, node: &Node, input: usize, views: Vec<ViewOf>) -> Result<Vec<Value>, EngineError> {
        let id = node
            .inputs
            .get(input)
            .copied()
            .flatten()
            .ok_or_else(|| EngineError::Invalid(format!("input {input} is missing")))?;
        let source = self.value(id)?;
        let outside = || EngineError::Invalid("a view reaches outside its input".to_owned());
        let (start, memory) = match &source.home {
            Home::Buffer { id, offset } => {
                let elements = self.buffers[*id] / source.spec.dtype.size();
                (*offset, Extent { first: 0, last: elements as isize - 1 })
            }
            Home::External { id, offset } => (*offset, self.state.externals[*id]),
            Home::Known { tensor, offset, .. } => {
                (*offset, Extent { first: 0, last: tensor.view().len() as isize - 1 })
            }
            Home::Released => return Err(outside()),
        };
        let mut values = Vec::with_capacity(views.len());
        for ViewOf { spec, offset } in views {
            let same_rank = spec.shape.len() == spec.strides.len();
            if spec.dtype != source.spec.dtype || !same_rank {
                return Err(EngineError::Invalid("a view differs from its input in dtype".to_owned()));
            }
            let mut start = start.checked_add(offset).ok_or_else(outside)?;
            if spec.is_empty() {
                start = memory.first;
            } else {
                Extent::of(&spec.shape, &spec.strides)
                    .and_then(|extent| extent.moved(start))
                    .filter(|extent| memory.holds(*extent))
                    .ok_or_else(outside)?;
            }
            let home = match &source.home {
                Home::Buffer { id, .. } => Home::Buffer { id: *id, offset: start },
                Home::External { id, .. } => Home::External { id: *id, offset: start },
                Home::Known { tensor, .. } => {
                    Home::Known { tensor: tensor.clone(), offset: start, constant: false }
                }
                Home::Released => return Err(outside()),
            };
            values.push(Value { spec, home });
        }
        Ok(values)
    }

    /// Runs a step now, as everything it reads is known.
    fn evaluate(
        &mut self,
        node: &Node,
        outputs: Vec<TensorSpec>,
        scratch_bytes: usize,
        step: &dyn Step,
    ) -> Result<Vec<Value>, EngineError> {
        let allocate = |dtype: DType, shape: &[usize]| {
            Tensor::zeros(dtype, shape).map_err(|error| EngineError::Memory(error.0))
        };
        let mut tensors = Vec::with_capacity(outputs.len());
        for spec in &outputs {
            self.count_known(spec.dtype, &spec.shape)?;
            tensors.push(allocate(spec.dtype, &spec.shape)?);
        }
        let mut scratch = allocate(DType::U8, &[scratch_bytes])?;
        if outputs.iter().any(|spec| !spec.is_empty()) {
            let mut inputs: SmallVec<[Option<View<'_>>; 6]> = SmallVec::new();
            for id in &node.inputs {
                inputs.push(match id {
                    Some(id) => self.value(*id)?.view(),
                    None => None,
                });
            }
            let mut views: SmallVec<[ViewMut<'_>; 2]> = SmallVec::new();
            for (spec, tensor) in outputs.iter().zip(&mut tensors) {
                let pointer = tensor.as_mut_ptr();
                // SAFETY: the spec is dense, so its strides reach exactly the elements of the tensor made for it.
                views.push(unsafe {
                    ViewMut::from_raw_parts(spec.dtype, spec.shape.clone(), spec.strides.clone(), pointer)
                });
            }
            let mut bytes = scratch.view_mut();
            step.run(&mut RunContext {
                inputs: &inputs,
                outputs: &mut views,
                scratch: bytes.slice_mut::<u8>().unwrap_or_default(),
                pool: &self.parts.settings.pool,
            });
        }
        let known = |(spec, tensor)| Value {
            spec,
            home: Home::Known { tensor: Arc::new(tensor), offset: 0, constant: false },
        };
        Ok(outputs.into_iter().zip(tensors).map(known).collect())
    }

    /// Notes a step for the run.
    fn request(
        &mut self,
        index: usize,
        outputs: Vec<TensorSpec>,
        in_place: Vec<usize>,
        scratch_bytes: usize,
        step: Box<dyn Step>,
    ) -> Result<Vec<Value>, EngineError> {
        let node = &self.parts.program.nodes[index];
        let released = self.parts.operators[index].released_inputs();
        let mut inputs = SmallVec::new();
        for (position, id) in node.inputs.iter().enumerate() {
            inputs.push(match id {
                Some(id) if !released.contains(&position) => Some(self.value(*id)?.clone()),
                _ => None,
            });
        }
        let mut values = Vec::with_capacity(outputs.len());
        let mut requested = SmallVec::new();
        for spec in outputs {
            let id = self.buffers.len();
            self.buffers.push(check_size(spec.dtype, &spec.shape, self.parts.settings.memory_limit)?);
            requested.push(Target { spec: spec.clone(), id, offset: 0 });
            values.push(Value { spec, home: Home::Buffer { id, offset: 0 } });
        }
        self.steps.push(StepRequest {
            node: index,
            part: Part::Whole,
            inputs,
            outputs: requested,
            in_place,
            scratch_bytes,
            step: step.into(),
        });
        Ok(values)
    }

    /// Counts a tensor that is made while planning.
    fn count_known(&mut self, dtype: DType, shape: &[usize]) -> Result<(), EngineError> {
        let limit = self.parts.settings.memory_limit;
        let bytes = check_size(dtype, shape, limit)?;
        self.known_bytes = self.known_bytes.saturating_add(bytes);
        if self.known_bytes > limit {
            return Err(EngineError::Memory(format!(
                "values known before the run exceed the limit of {limit} bytes"
            )));
        }
        Ok(())
    }
}

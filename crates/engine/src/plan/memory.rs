use super::order::{Need, frugal_order};
use super::pack::{Interval, pack};
use super::planner::{Planner, StepRequest, Target};
use super::value::{Home, Value};
use super::{Base, Cut, Operand, Part, Plan, PlannedStep};
use crate::op::{EngineError, RunContext, Step, TensorSpec, check_size};
use crate::program::ValueId;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::time::Duration;
use vedette_memory::ALIGNMENT;
use vedette_tensor::Tensor;
use vedette_tensor::movement::Copy;

/// A buffer on its way to a place in memory.
#[derive(Clone, Debug)]
struct Buffer {
    bytes: usize,
    /// The step that writes it, and the last one that reads it.
    first: usize,
    last: usize,
    /// The program output it is.
    output: Option<usize>,
    /// The buffer whose memory it took over, and the bytes from that one's start.
    within: Option<(usize, isize)>,
}

/// Where everything lies.
struct Layout {
    buffers: Vec<Buffer>,
    /// Of every buffer, and of every step's scratch memory.
    offsets: Vec<usize>,
    scratch: Vec<usize>,
    arena_bytes: usize,
}

/// A program output that is made here.
struct OutputRequest {
    index: usize,
    value: Value,
    /// Whether the value's buffer itself is the output's memory.
    direct: bool,
}

impl Planner<'_> {
    /// Gives every operand a place in memory.
    pub(super) fn assemble(mut self, waits_for: Option<ValueId>) -> Result<Plan, EngineError> {
        let mut outputs = self.output_requests();
        let carried = self.carried_values(waits_for.is_some());
        self.drop_unread_steps(
            outputs.iter().map(|output| &output.value).chain(carried.iter().map(|(_, v)| v)),
        );
        self.order_steps(outputs.iter().map(|output| &output.value).chain(carried.iter().map(|(_, v)| v)));
        let kept = outputs.iter().map(|output| &output.value).chain(carried.iter().map(|(_, value)| value));
        let whole_steps = self.strip_sections(kept);
        let mut layout = self.layout(&mut outputs, &carried)?;
        if let Some(whole_steps) = whole_steps {
            let strips = std::mem::replace(&mut self.steps, whole_steps);
            let whole = self.layout(&mut outputs, &carried)?;
            // Steps that no longer write over an input they are the last to read may need more than strips spare.
            match layout.arena_bytes > whole.arena_bytes {
                true => layout = whole,
                false => self.steps = strips,
            }
        }
        let Layout { buffers, offsets, scratch, arena_bytes } = layout;
        let end = self.steps.len() + outputs.len();

        let mut resolver = Resolver { buffers, offsets, known: Vec::new() };
        let mut steps = Vec::with_capacity(end);
        for (request, scratch) in self.steps.into_iter().zip(scratch) {
            if request.outputs.iter().all(|target| target.spec.is_empty()) {
                continue;
            }
            let inputs =
                request.inputs.iter().map(|value| value.as_ref().map(|v| resolver.operand(v))).collect();
            let outputs = request.outputs.iter().map(|target| resolver.target(target)).collect();
            let scratch = (scratch, request.scratch_bytes);
            steps.push(PlannedStep {
                node: Some(request.node),
                part: request.part,
                inputs,
                outputs,
                scratch,
                step: request.step,
            });
        }
        let mut specs = Vec::with_capacity(outputs.len());
        let mut output_bytes = 0usize;
        for OutputRequest { index, value, direct } in outputs {
            let spec = TensorSpec::contiguous(value.spec.dtype, &value.spec.shape);
            output_bytes = output_bytes.saturating_add(check_size(
                spec.dtype,
                &spec.shape,
                self.parts.settings.memory_limit,
            )?);
            if !direct && !spec.is_empty() {
                let copy = Copy::new(&spec.shape, &value.spec.strides, &spec.strides, spec.dtype.size());
                let target = Operand { spec: spec.clone(), base: Base::Output(index), offset: 0 };
                steps.push(PlannedStep {
                    node: None,
                    part: Part::Whole,
                    inputs: smallvec![Some(resolver.operand(&value))],
                    outputs: smallvec![target],
                    scratch: (0, 0),
                    step: Arc::new(CopyStep(copy)),
                });
            }
            specs.push((index, spec));
            self.state.outputs_made[index] = true;
        }
        if arena_bytes.saturating_add(output_bytes) > self.parts.settings.memory_limit {
            return Err(EngineError::Memory(format!(
                "a run takes {} bytes, more than the limit of {}",
                arena_bytes.saturating_add(output_bytes),
                self.parts.settings.memory_limit
            )));
        }
        let cut = match waits_for {
            None => None,
            Some(id) => {
                let value = self.state.values[id].clone();
                let value = value.ok_or_else(|| EngineError::Invalid(format!("value {id} is not there")))?;
                let operand = resolver.operand(&value);
                let mut operands = Vec::with_capacity(carried.len());
                for (id, value) in carried {
                    operands.push(resolver.operand(&value));
                    let home = self.state.add_external(&value.spec);
                    self.state.values[id] = Some(Value { spec: value.spec, home });
                }
                Some(Cut::new(id, operand, operands, self.state))
            }
        };
        let planning = Duration::ZERO;
        let computed_bytes = self.known_bytes;
        Ok(Plan { steps, outputs: specs, known: resolver.known, arena_bytes, computed_bytes, cut, planning })
    }

    /// Where the buffers of the steps as they stand lie, and which of them are program outputs.
    fn layout(
        &self,
        outputs: &mut [OutputRequest],
        carried: &[(ValueId, Value)],
    ) -> Result<Layout, EngineError> {
        let mut buffers = self.lifetimes();
        let end = self.steps.len() + outputs.len();
        for (_, value) in carried {
            keep_until(&mut buffers, value, usize::MAX);
        }
        for output in outputs {
            keep_until(&mut buffers, &output.value, end);
            output.direct = claim_output(&mut buffers, output);
        }
        self.take_over(&mut buffers);
        let (offsets, scratch, arena_bytes) = self.place(&buffers)?;
        Ok(Layout { buffers, offsets, scratch, arena_bytes })
    }

    /// The program outputs that are made by now and were not before.
    fn output_requests(&self) -> Vec<OutputRequest> {
        let made = &self.state.outputs_made;
        let outputs = self.parts.program.outputs.iter().enumerate().filter(|&(index, _)| !made[index]);
        outputs
            .filter_map(|(index, output)| {
                let value = self.value(output.value).ok()?.clone();
                Some(OutputRequest { index, value, direct: false })
            })
            .collect()
    }

    /// With a cut, the values whose elements later nodes read.
    fn carried_values(&self, cut: bool) -> Vec<(ValueId, Value)> {
        let next = self.state.next_node;
        let read_later = |id: ValueId| {
            self.parts.last_readers[id]
                .is_some_and(|node| node >= next && node < self.parts.program.nodes.len())
                || self.readers_beyond(id, next)
        };
        let values = self.state.values.iter().enumerate().filter(|_| cut);
        values
            .filter_map(|(id, value)| Some((id, value.as_ref()?)))
            .filter(|(id, value)| matches!(value.home, Home::Buffer { .. }) && read_later(*id))
            .map(|(id, value)| (id, value.clone()))
            .collect()
    }

    /// Whether a value that is a program output is read by a node from `next` on, too.
    fn readers_beyond(&self, id: ValueId, next: usize) -> bool {
        self.parts.last_readers[id] == Some(usize::MAX)
            && self.parts.program.nodes[next..].iter().any(|node| node.inputs.contains(&Some(id)))
    }

    /// Drops the steps of which nobody reads an output: their readers were content with the shape.
    fn drop_unread_steps<'v>(&mut self, kept: impl Iterator<Item = &'v Value>) {
        let mut read = vec![false; self.buffers.len()];
        let note = |value: &Value, read: &mut [bool]| {
            if let Some(id) = value.buffer() {
                read[id] = true;
            }
        };
        kept.for_each(|value| note(value, &mut read));
        let mut steps: Vec<StepRequest> = Vec::with_capacity(self.steps.len());
        while let Some(step) = self.steps.pop() {
            if step.outputs.iter().any(|target| read[target.id]) {
                step.inputs.iter().flatten().for_each(|value| note(value, &mut read));
                steps.push(step);
            }
        }
        steps.reverse();
        self.steps = steps;
    }

    /// Puts the steps in an order that takes less memory, where there is one.
    fn order_steps<'v>(&mut self, kept: impl Iterator<Item = &'v Value>) {
        let mut outlives = vec![false; self.buffers.len()];
        kept.filter_map(Value::buffer).for_each(|id| outlives[id] = true);
        let needs: Vec<Need> = self
            .steps
            .iter()
            .map(|step| {
                let mut reads: SmallVec<[usize; 4]> =
                    step.inputs.iter().flatten().filter_map(Value::buffer).collect();
                reads.sort_unstable();
                reads.dedup();
                let writes = step.outputs.iter().map(|target| target.id).collect();
                Need { reads, writes, scratch_bytes: step.scratch_bytes }
            })
            .collect();
        if let Some(order) = frugal_order(&needs, &self.buffers, &outlives) {
            let mut steps: Vec<_> = std::mem::take(&mut self.steps).into_iter().map(Some).collect();
            self.steps = order.into_iter().filter_map(|index| steps[index].take()).collect();
        }
    }

    fn lifetimes(&self) -> Vec<Buffer> {
        let unused = Buffer { bytes: 0, first: 0, last: 0, output: None, within: None };
        let mut buffers = vec![unused; self.buffers.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for target in &step.outputs {
                let buffer = &mut buffers[target.id];
                // Strips of a map write the same buffer one after the other.
                let first = if buffer.bytes == 0 { index } else { buffer.first };
                *buffer =
                    Buffer { bytes: self.buffers[target.id], first, last: index, output: None, within: None };
            }
            for value in step.inputs.iter().flatten() {
                keep_until(&mut buffers, value, index);
            }
        }
        buffers
    }

    /// Lets outputs take over the memory of inputs that are not needed afterwards.
    fn take_over(&self, buffers: &mut [Buffer]) {
        for (index, step) in self.steps.iter().enumerate() {
            let Some(Target { spec, id: output, .. }) = step.outputs.first() else { continue };
            for &position in &step.in_place {
                let Some(Some(value)) = step.inputs.get(position) else { continue };
                let Home::Buffer { id, offset } = value.home else { continue };
                let (root, base) = root_of(buffers, id);
                let others = step.inputs.iter().enumerate().filter(|&(other, _)| other != position);
                let shared = others.filter_map(|(_, value)| value.as_ref()).any(|value| match value.home {
                    Home::Buffer { id, .. } => root_of(buffers, id).0 == root,
                    _ => false,
                });
                let start = base + offset * spec.dtype.size() as isize;
                let is_output = buffers[*output].output.is_some();
                let whole = start == 0 && buffers[root].bytes == buffers[*output].bytes;
                if buffers[root].last == index
                    && buffers[root].output.is_none()
                    && !shared
                    && value.spec == *spec
                    && (whole || !is_output)
                {
                    buffers[root].last = buffers[*output].last;
                    buffers[root].output = buffers[*output].output;
                    buffers[*output].within = Some((root, start));
                    break;
                }
            }
        }
    }

    /// Offsets of buffers and of every step's scratch memory in the arena, and its size.
    fn place(&self, buffers: &[Buffer]) -> Result<(Vec<usize>, Vec<usize>, usize), EngineError> {
        let mut intervals = Vec::with_capacity(buffers.len() + self.steps.len());
        for buffer in buffers {
            let elsewhere = buffer.output.is_some() || buffer.within.is_some();
            let bytes = if elsewhere { 0 } else { buffer.bytes };
            intervals.push(Interval { first: buffer.first, last: buffer.last, bytes });
        }
        for (index, step) in self.steps.iter().enumerate() {
            intervals.push(Interval { first: index, last: index, bytes: step.scratch_bytes });
        }
        let (mut offsets, total) = pack(&intervals, ALIGNMENT)
            .ok_or_else(|| EngineError::Memory("a run takes more memory than can be counted".to_owned()))?;
        let scratch = offsets.split_off(buffers.len());
        Ok((offsets, scratch, total))
    }
}

fn keep_until(buffers: &mut [Buffer], value: &Value, step: usize) {
    if let Some(id) = value.buffer() {
        buffers[id].last = buffers[id].last.max(step);
    }
}

/// Makes the value's buffer the memory of the output, where it is all of it in C order.
fn claim_output(buffers: &mut [Buffer], output: &OutputRequest) -> bool {
    let Home::Buffer { id, offset: 0 } = output.value.home else { return false };
    let spec = &output.value.spec;
    let contiguous = TensorSpec::contiguous(spec.dtype, &spec.shape);
    let bytes = spec.len() * spec.dtype.size();
    if buffers[id].output.is_some() || buffers[id].bytes != bytes || *spec != contiguous {
        return false;
    }
    buffers[id].output = Some(output.index);
    true
}

/// The buffer whose memory this one is in, and the bytes from its start.
fn root_of(buffers: &[Buffer], mut id: usize) -> (usize, isize) {
    let mut offset = 0;
    while let Some((parent, bytes)) = buffers[id].within {
        offset += bytes;
        id = parent;
    }
    (id, offset)
}

struct Resolver {
    buffers: Vec<Buffer>,
    offsets: Vec<usize>,
    known: Vec<Arc<Tensor>>,
}

impl Resolver {
    fn operand(&mut self, value: &Value) -> Operand {
        let size = value.spec.dtype.size() as isize;
        match &value.home {
            Home::Buffer { id, offset } => self.buffer(&value.spec, *id, offset * size),
            Home::External { id, offset } => {
                Operand { spec: value.spec.clone(), base: Base::External(*id), offset: offset * size }
            }
            Home::Known { tensor, offset, .. } => {
                let index = self.known.len();
                self.known.push(tensor.clone());
                Operand { spec: value.spec.clone(), base: Base::Known(index), offset: offset * size }
            }
            Home::Released => unreachable!("no step reads what its node has released"),
        }
    }

    fn target(&self, Target { spec, id, offset }: &Target) -> Operand {
        self.buffer(spec, *id, offset * spec.dtype.size() as isize)
    }

    fn buffer(&self, spec: &TensorSpec, id: usize, offset: isize) -> Operand {
        let (root, start) = root_of(&self.buffers, id);
        let (base, origin) = match self.buffers[root].output {
            Some(output) => (Base::Output(output), 0),
            None => (Base::Arena, self.offsets[root] as isize),
        };
        Operand { spec: spec.clone(), base, offset: origin + start + offset }
    }
}

/// Copies a value to the program output it is.
struct CopyStep(Copy);

impl Step for CopyStep {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        if let ([Some(from)], [to]) = (context.inputs, &mut *context.outputs) {
            self.0.run(from, to, context.pool);
        }
    }
}

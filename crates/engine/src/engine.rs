use crate::cache::PlanCache;
use crate::execute::{Surroundings, Workspace};
use crate::limits::system_memory;
use crate::op::{EngineError, Operator, ReadInput, TensorSpec};
use crate::ops::{self, Build};
use crate::plan::{Constants, Parts, Plan, Planner, Settings, State};
use crate::profile::{Profile, ProfileEntry};
use crate::program::{InputSpec, Program, ValueId, shorten};
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;
use vedette_tensor::{Tensor, View};

/// How an engine runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Threads; 0 for the process's default.
    pub threads: usize,
    /// Instruction-set level; the process's default where `None`.
    pub isa: Option<Isa>,
    /// Bytes a run may take; the machine's memory where `None`.
    pub memory_limit: Option<usize>,
    /// Bytes that the steps of one strip should touch, where steps on large maps are run strip by strip; 0 to run each
    /// step on whole maps, [`STRIP_BYTES`] where `None`.
    pub strip_bytes: Option<usize>,
}

/// The text detector takes as little memory at 8 MB a strip, and 7 % more time on two threads: shares of fewer rows are
/// less even. At 32 MB its integer form no longer runs in strips.
const STRIP_BYTES: usize = 16 << 20;

/// What an engine holds, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryUse {
    /// Constants of the program that are still held as given.
    pub constants: usize,
    /// Constants in the form kernels read (packed weights).
    pub packed: usize,
    /// Working memory of the largest plan; it is shared with other engines of the process.
    pub arena: usize,
    /// Values that plans have computed beforehand.
    pub plans: usize,
}

/// A program ready to run. Any number of threads may run it at the same time.
pub struct Engine {
    program: Program,
    operators: Vec<Box<dyn Operator>>,
    /// Nodes that lead to an output.
    live: Vec<bool>,
    /// For every value the last live node that reads it, `usize::MAX` for program outputs.
    last_readers: Vec<Option<usize>>,
    /// For every value the memory order its reader would like best.
    preferred_orders: Vec<Option<Vec<usize>>>,
    rounded: Vec<bool>,
    settings: Settings,
    /// Held while planning.
    constants: Mutex<Constants>,
    plans: Mutex<PlanCache>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Makes the operators of a program; `constants` are the tensors of its constant values.
    pub fn new(program: Program, constants: Vec<Tensor>, options: Options) -> Result<Engine, EngineError> {
        Engine::with_operators(program, constants, options, ops::find)
    }

    pub(crate) fn with_operators(
        program: Program,
        constants: Vec<Tensor>,
        options: Options,
        find: impl Fn(&str) -> Option<Build>,
    ) -> Result<Engine, EngineError> {
        if constants.len() != program.constants.len() {
            return Err(EngineError::Invalid(format!(
                "the program has {} constants, got {}",
                program.constants.len(),
                constants.len()
            )));
        }
        let operators = build_operators(&program, find)?;
        let (live, last_readers) = liveness(&program);
        let threads = if options.threads == 0 { vedette_runtime::num_threads() } else { options.threads };
        let settings = Settings {
            isa: options.isa.unwrap_or_else(vedette_simd::isa),
            pool: ThreadPool::new(threads),
            memory_limit: options.memory_limit.unwrap_or_else(system_memory),
            strip_bytes: options.strip_bytes.unwrap_or(STRIP_BYTES),
        };
        let constants = Mutex::new(Constants::new(&program, &live, constants));
        let preferred_orders = preferred_orders(&program, &live);
        let plans = Mutex::default();
        let rounded = rounded(&program, &operators, &live, settings.isa);
        Ok(Engine {
            program,
            operators,
            live,
            last_readers,
            preferred_orders,
            rounded,
            settings,
            constants,
            plans,
        })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs the program and returns its outputs in C order.
    pub fn run(&self, inputs: &[View<'_>]) -> Result<Vec<Tensor>, EngineError> {
        let mut outputs = Vec::new();
        self.run_into(inputs, &mut outputs)?;
        Ok(outputs)
    }

    /// Runs the program into `outputs`: a tensor there that has an output's dtype and shape is overwritten, any
    /// other is replaced. With tensors that fit, shapes seen before and inputs without gaps, nothing is allocated.
    pub fn run_into(&self, inputs: &[View<'_>], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        self.run_with(inputs, outputs, None)
    }

    /// Runs the program and tells what each node took.
    pub fn profile(&self, inputs: &[View<'_>]) -> Result<(Vec<Tensor>, Vec<ProfileEntry>), EngineError> {
        let mut outputs = Vec::new();
        let entries = self.profile_into(inputs, &mut outputs)?;
        Ok((outputs, entries))
    }

    /// [`run_into`](Self::run_into), telling what each node took.
    pub fn profile_into(
        &self,
        inputs: &[View<'_>],
        outputs: &mut Vec<Tensor>,
    ) -> Result<Vec<ProfileEntry>, EngineError> {
        let mut profile = Profile::default();
        self.run_with(inputs, outputs, Some(&mut profile))?;
        Ok(profile.entries(&self.program))
    }

    /// What the engine holds.
    pub fn memory(&self) -> MemoryUse {
        let plans = lock(&self.plans);
        MemoryUse {
            constants: lock(&self.constants).bytes(),
            packed: self.operators.iter().map(|operator| operator.packed_bytes()).sum(),
            arena: plans.plans().map(|plan| plan.arena_bytes).max().unwrap_or(0),
            plans: plans.plans().map(|plan| plan.computed_bytes).sum(),
        }
    }

    /// Plans for inputs of these layouts anew and returns the seconds it took; a measure for benchmarks.
    pub fn planning_seconds(&self, inputs: &[View<'_>]) -> Result<f64, EngineError> {
        self.check_inputs(inputs)?;
        let specs = inputs.iter().map(spec_of).collect::<Vec<_>>();
        let plan = self.plan_from(&mut lock(&self.constants), State::start(&self.program, &specs))?;
        Ok(plan.planning.as_secs_f64())
    }

    fn run_with(
        &self,
        inputs: &[View<'_>],
        outputs: &mut Vec<Tensor>,
        mut profile: Option<&mut Profile>,
    ) -> Result<(), EngineError> {
        self.check_inputs(inputs)?;
        let mut copies: SmallVec<[Option<Tensor>; 4]> = SmallVec::new();
        for input in inputs {
            let aligned = input.as_ptr().addr().is_multiple_of(input.dtype().size());
            copies.push(match input.is_dense() && aligned {
                true => None,
                false => Some(Tensor::copy_of(input).map_err(|error| EngineError::Memory(error.0))?),
            });
        }
        let given = inputs.iter().zip(&copies);
        let inputs: SmallVec<[View<'_>; 4]> =
            given.map(|(input, copy)| copy.as_ref().map_or_else(|| input.clone(), Tensor::view)).collect();

        outputs.truncate(self.program.outputs.len());
        let mut surroundings = Surroundings {
            outputs: SmallVec::from_elem(std::ptr::null_mut(), self.program.outputs.len()),
            externals: inputs.iter().map(View::as_ptr).collect(),
        };
        let mut made = SmallVec::<[Option<Tensor>; 4]>::new();
        made.extend(outputs.drain(..).map(Some));
        made.resize_with(self.program.outputs.len(), || None);

        let mut plan = self.first_plan(&inputs)?;
        let mut workspaces = SmallVec::<[Workspace; 2]>::new();
        loop {
            for (index, spec) in &plan.outputs {
                let fits =
                    |tensor: &Tensor| tensor.dtype() == spec.dtype && *tensor.shape() == spec.shape[..];
                let tensor = match made[*index].take().filter(fits) {
                    Some(tensor) => tensor,
                    None => Tensor::zeros(spec.dtype, &spec.shape)
                        .map_err(|error| EngineError::Memory(error.0))?,
                };
                surroundings.outputs[*index] = made[*index].insert(tensor).as_mut_ptr();
            }
            let mut workspace = Workspace::acquire(plan.arena_bytes)?;
            // SAFETY: the inputs have the layouts that the first plan was made for, outputs were just made as planned, and
            // the memory carried from plan to plan is in workspaces that live to the end of this function.
            let value = unsafe {
                plan.run(&mut workspace, &surroundings, &self.settings.pool, profile.as_deref_mut());
                plan.carry(&mut workspace, &mut surroundings)?
            };
            workspaces.push(workspace);
            match value {
                Some(value) => plan = self.next_plan(&plan, value)?,
                None => break,
            }
        }
        workspaces.into_iter().for_each(Workspace::release);
        outputs.extend(made.into_iter().flatten());
        Ok(())
    }

    fn first_plan(&self, inputs: &[View<'_>]) -> Result<Arc<Plan>, EngineError> {
        if let Some(plan) = lock(&self.plans).find(inputs) {
            return Ok(plan);
        }
        let mut constants = lock(&self.constants);
        // Another thread may have planned it while this one waited.
        if let Some(plan) = lock(&self.plans).find(inputs) {
            return Ok(plan);
        }
        let specs = inputs.iter().map(spec_of).collect::<Vec<_>>();
        let plan = Arc::new(self.plan_from(&mut constants, State::start(&self.program, &specs))?);
        lock(&self.plans).insert(specs, plan.clone());
        Ok(plan)
    }

    fn next_plan(&self, plan: &Plan, value: Tensor) -> Result<Arc<Plan>, EngineError> {
        let Some(cut) = &plan.cut else {
            return Err(EngineError::Invalid("the plan has no continuation".to_owned()));
        };
        if let Some(plan) = cut.recall(&value.view()) {
            return Ok(plan);
        }
        let mut state = cut.state.clone();
        let copy = Tensor::copy_of(&value.view()).map_err(|error| EngineError::Memory(error.0))?;
        state.learn(cut.value, copy);
        let next = Arc::new(self.plan_from(&mut lock(&self.constants), state)?);
        cut.remember(&value.view(), &next);
        Ok(next)
    }

    fn plan_from(&self, constants: &mut Constants, state: State) -> Result<Plan, EngineError> {
        let parts = Parts {
            program: &self.program,
            operators: &self.operators,
            live: &self.live,
            last_readers: &self.last_readers,
            preferred_orders: &self.preferred_orders,
            rounded: &self.rounded,
            settings: &self.settings,
        };
        Planner::new(parts, constants, state).plan()
    }

    fn check_inputs(&self, inputs: &[View<'_>]) -> Result<(), EngineError> {
        if inputs.len() != self.program.inputs.len() {
            let (asked, got) = (self.program.inputs.len(), inputs.len());
            let plural = if asked == 1 { "" } else { "s" };
            return Err(EngineError::Input(format!("expected {asked} input{plural}, got {got}")));
        }
        self.program.inputs.iter().zip(inputs).try_for_each(|(spec, view)| check_input(spec, view))
    }
}

fn spec_of(view: &View<'_>) -> TensorSpec {
    TensorSpec { dtype: view.dtype(), shape: view.shape().into(), strides: view.strides().into() }
}

fn check_input(spec: &InputSpec, view: &View<'_>) -> Result<(), EngineError> {
    let fits = spec.dtype == view.dtype()
        && spec.shape.len() == view.rank()
        && spec.shape.iter().zip(view.shape()).all(|(asked, &got)| asked.is_none_or(|asked| asked == got));
    if fits {
        return Ok(());
    }
    let list = |dims: Vec<String>| dims.join(", ");
    let asked =
        list(spec.shape.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string())).collect());
    let got = list(view.shape().iter().map(usize::to_string).collect());
    Err(EngineError::Input(format!(
        "input \"{}\": expected {} [{asked}], got {} ({got}{})",
        shorten(&spec.name),
        spec.dtype,
        view.dtype(),
        if view.rank() == 1 { "," } else { "" },
    )))
}

/// The operators of all nodes, or one error that names every node the engine cannot run.
fn build_operators(
    program: &Program,
    find: impl Fn(&str) -> Option<Build>,
) -> Result<Vec<Box<dyn Operator>>, EngineError> {
    let mut operators = Vec::with_capacity(program.nodes.len());
    let mut refused = Vec::new();
    for node in &program.nodes {
        match find(&node.op) {
            None => refused.push(format!("{}: there is no such operator", node.label())),
            Some(build) => match build(&node.attributes) {
                Ok(operator) => operators.push(operator),
                Err(EngineError::Unsupported(reason)) => refused.push(format!("{}: {reason}", node.label())),
                Err(error) => return Err(error.within(&node.label())),
            },
        }
    }
    if refused.is_empty() {
        return Ok(operators);
    }
    Err(EngineError::Unsupported(format!(
        "the native engine cannot run {} of {} nodes:\n  {}",
        refused.len(),
        program.nodes.len(),
        refused.join("\n  ")
    )))
}

/// Which nodes lead to an output, and for every value the last of them that reads it.
fn liveness(program: &Program) -> (Vec<bool>, Vec<Option<usize>>) {
    let mut last_readers = vec![None; program.values];
    program.outputs.iter().for_each(|output| last_readers[output.value] = Some(usize::MAX));
    let mut live = vec![false; program.nodes.len()];
    for (index, node) in program.nodes.iter().enumerate().rev() {
        live[index] = node.outputs.iter().flatten().any(|&id| last_readers[id].is_some());
        if live[index] {
            for &id in node.inputs.iter().flatten() {
                last_readers[id].get_or_insert(index);
            }
        }
    }
    (live, last_readers)
}

/// The orders in which values that are transposed and then reshaped would best be written: with the transposed tensor
/// in C order, neither of the two costs anything.
fn preferred_orders(program: &Program, live: &[bool]) -> Vec<Option<Vec<usize>>> {
    let mut readers: Vec<SmallVec<[usize; 2]>> = vec![SmallVec::new(); program.values];
    for (index, node) in program.nodes.iter().enumerate().filter(|(index, _)| live[*index]) {
        node.inputs.iter().flatten().for_each(|&id| readers[id].push(index));
    }
    let only_reader = |id: ValueId, op: &str| match readers[id][..] {
        [reader] => Some(&program.nodes[reader]).filter(|node| node.op == op && node.inputs[0] == Some(id)),
        _ => None,
    };
    let order = |id: ValueId| {
        let transpose = only_reader(id, "Transpose")?;
        only_reader(transpose.outputs.first().copied()??, "Reshape")?;
        let perm = transpose.attributes.ints("perm").ok()??;
        let axes: Vec<usize> = perm.into_iter().map(usize::try_from).collect::<Result<_, _>>().ok()?;
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..axes.len()).then_some(axes)
    };
    (0..program.values).map(order).collect()
}

/// The values that every reader rounds to bfloat16 before anything else.
fn rounded(program: &Program, operators: &[Box<dyn Operator>], live: &[bool], isa: Isa) -> Vec<bool> {
    let mut readers: Vec<SmallVec<[(usize, usize); 2]>> = vec![SmallVec::new(); program.values];
    for (index, node) in program.nodes.iter().enumerate().filter(|(index, _)| live[*index]) {
        let inputs = node.inputs.iter().enumerate().filter_map(|(position, id)| Some((position, (*id)?)));
        inputs.for_each(|(position, id)| readers[id].push((index, position)));
    }
    program.outputs.iter().for_each(|output| readers[output.value].clear());
    let mut constant = vec![false; program.values];
    program.constants.iter().for_each(|&id| constant[id] = true);
    let mut rounded = vec![false; program.values];
    // Backwards, as readers stand behind what they read.
    for node in program.nodes.iter().rev() {
        for id in node.outputs.iter().copied().flatten() {
            let rounds = |&(reader, position): &(usize, usize)| {
                let node = &program.nodes[reader];
                operators[reader].rounds_input(&ReadInput {
                    position,
                    isa,
                    rounded: node.outputs.iter().flatten().all(|&output| rounded[output]),
                    is_constant: &|i| node.inputs.get(i).copied().flatten().is_some_and(|id| constant[id]),
                })
            };
            rounded[id] = !readers[id].is_empty() && readers[id].iter().all(rounds);
        }
    }
    rounded
}

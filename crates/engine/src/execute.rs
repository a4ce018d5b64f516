//! Running a plan: memory for it, and its steps one after the other.

use crate::op::{EngineError, RunContext};
use crate::plan::{Base, Operand, Plan};
use crate::profile::Profile;
use smallvec::SmallVec;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use vedette_memory::AlignedBuffer;
use vedette_runtime::{FlushSubnormals, ThreadPool};
use vedette_tensor::{Dims, Strides, Tensor, View, ViewMut};

/// Working memory that runs take turns with. The pool is the process's, not the engine's: a detector and a recogniser that
/// run one after the other need the memory of the larger one only.
static IDLE: Mutex<Idle> = Mutex::new(Idle { workspaces: Vec::new(), clock: 0 });

/// Runs after which memory that was not needed in any of them is given back.
const PATIENCE: u64 = 1024;

/// How many times the memory it is asked for a workspace may have without being called too large.
const SLACK: usize = 4;

struct Idle {
    workspaces: Vec<Workspace>,
    /// Workspaces handed back so far.
    clock: u64,
}

/// The memory of one run.
pub(crate) struct Workspace {
    arena: AlignedBuffer,
    inputs: Vec<Option<View<'static>>>,
    outputs: Vec<ViewMut<'static>>,
    /// The clock when the arena was last worth its size.
    needed_at: u64,
}

impl Workspace {
    /// A workspace with an arena of at least `bytes`.
    pub(crate) fn acquire(bytes: usize) -> Result<Workspace, EngineError> {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let sizes = idle.workspaces.iter().map(|workspace| workspace.arena.len()).enumerate();
        let fitting = sizes.clone().filter(|&(_, size)| size >= bytes).min_by_key(|&(_, size)| size);
        let chosen = fitting.or_else(|| sizes.max_by_key(|&(_, size)| size));
        let mut workspace = match chosen {
            Some((index, _)) => idle.workspaces.swap_remove(index),
            None => Workspace {
                arena: AlignedBuffer::new(0),
                inputs: Vec::with_capacity(8),
                outputs: Vec::with_capacity(4),
                needed_at: 0,
            },
        };
        if bytes >= workspace.arena.len() / SLACK {
            workspace.needed_at = idle.clock;
        }
        drop(idle);
        if workspace.arena.len() < bytes {
            // The old arena goes first, so that the two are never held together.
            workspace.arena = AlignedBuffer::new(0);
            workspace.arena = AlignedBuffer::try_new(bytes)
                .ok_or_else(|| EngineError::Memory(format!("the system has no {bytes} bytes for a run")))?;
        }
        Ok(workspace)
    }

    /// Hands the workspace to whoever runs next.
    pub(crate) fn release(self) {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        idle.clock += 1;
        idle.workspaces.push(self);
        let now = idle.clock;
        idle.workspaces.retain(|workspace| now - workspace.needed_at < PATIENCE);
    }
}

/// The memory outside the arena that a run works on.
pub(crate) struct Surroundings {
    /// Where each program output lies; null until it is made.
    pub(crate) outputs: SmallVec<[*mut u8; 8]>,
    /// Program inputs, then what plans before a cut left for the next.
    pub(crate) externals: SmallVec<[*const u8; 8]>,
}

struct Bases<'a> {
    arena: *mut u8,
    surroundings: &'a Surroundings,
    known: &'a [std::sync::Arc<Tensor>],
}

impl Bases<'_> {
    fn pointer(&self, operand: &Operand) -> *mut u8 {
        let base = match operand.base {
            Base::Arena => self.arena,
            Base::Output(index) => self.surroundings.outputs[index],
            Base::External(index) => self.surroundings.externals[index].cast_mut(),
            Base::Known(index) => self.known[index].as_ptr().cast_mut(),
        };
        base.wrapping_offset(operand.offset)
    }

    /// # Safety
    /// The operand's elements must stay readable and unwritten for as long as the view is used.
    unsafe fn view<'v>(&self, operand: &Operand) -> View<'v> {
        let (shape, strides) = layout(operand);
        // SAFETY: as promised by the caller.
        unsafe { View::from_raw_parts(operand.spec.dtype, shape, strides, self.pointer(operand)) }
    }

    /// # Safety
    /// The operand's elements must be this view's alone for as long as it is used.
    unsafe fn view_mut<'v>(&self, operand: &Operand) -> ViewMut<'v> {
        let (shape, strides) = layout(operand);
        // SAFETY: as promised by the caller.
        unsafe { ViewMut::from_raw_parts(operand.spec.dtype, shape, strides, self.pointer(operand)) }
    }
}

fn layout(operand: &Operand) -> (Dims, Strides) {
    (Dims::from_slice(&operand.spec.shape), Strides::from_slice(&operand.spec.strides))
}

impl Plan {
    /// Runs every step.
    ///
    /// # Safety
    /// The surroundings must hold what was planned: a readable tensor for each external, and writable memory of the
    /// planned size for each output of this plan and of those before it.
    pub(crate) unsafe fn run(
        &self,
        workspace: &mut Workspace,
        surroundings: &Surroundings,
        pool: &ThreadPool,
        mut profile: Option<&mut Profile>,
    ) {
        let arena = workspace.arena.as_mut_ptr();
        let bases = Bases { arena, surroundings, known: &self.known };
        let (inputs, outputs) = (&mut workspace.inputs, &mut workspace.outputs);
        let _flush = FlushSubnormals::new();
        for step in &self.steps {
            inputs.clear();
            outputs.clear();
            for operand in &step.inputs {
                // SAFETY: the plan keeps an operand's memory from being written until its last reader has run (but for
                // steps that said they work in place), and the views are dropped with this step.
                inputs.push(operand.as_ref().map(|operand| unsafe { bases.view(operand) }));
            }
            for operand in &step.outputs {
                // SAFETY: the plan gives the outputs of a step memory that nothing else uses while it runs.
                outputs.push(unsafe { bases.view_mut(operand) });
            }
            let (start, len) = step.scratch;
            // SAFETY: the arena holds the scratch memory of every step, apart from what else is in use then.
            let scratch = unsafe { std::slice::from_raw_parts_mut(arena.add(start), len) };
            let begin = profile.is_some().then(Instant::now);
            step.step.run(&mut RunContext { inputs, outputs, scratch, pool });
            if let (Some(profile), Some(begin)) = (profile.as_deref_mut(), begin) {
                profile.note(step, begin.elapsed());
            }
        }
        inputs.clear();
        outputs.clear();
    }

    /// The value this plan was cut for, copied, and the memory that the plan after it reads.
    ///
    /// # Safety
    /// As for [`run`](Self::run), which must have come before with the same workspace.
    pub(crate) unsafe fn carry(
        &self,
        workspace: &mut Workspace,
        surroundings: &mut Surroundings,
    ) -> Result<Option<Tensor>, EngineError> {
        let Some(cut) = &self.cut else { return Ok(None) };
        let bases = Bases { arena: workspace.arena.as_mut_ptr(), surroundings, known: &self.known };
        // SAFETY: the value is kept to the end of the plan; the view ends with this function.
        let value = unsafe { bases.view(&cut.operand) };
        let tensor = Tensor::copy_of(&value).map_err(|error| EngineError::Memory(error.0))?;
        let carried: SmallVec<[*const u8; 8]> =
            cut.carried.iter().map(|operand| bases.pointer(operand).cast_const()).collect();
        surroundings.externals.extend(carried);
        Ok(Some(tensor))
    }
}

//! Running steps strip by strip: a section of steps whose maps are much larger than a core's cache computes some rows of
//! every map, then the next rows, so that the maps in between never lie in memory whole.

mod schedule;

use super::planner::{Answer, Planner, StepRequest, Target};
use super::value::{Home, Value};
use crate::op::{Planned, RowWindow, RunContext, Step, TensorSpec};
use crate::plan::Part;
use schedule::{Link, Map, Section, Strip};
use smallvec::{SmallVec, smallvec};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Axis of rows.
const ROWS: usize = 2;

/// The fewest rows of the shortest map that a strip has.
const LEAST_ROWS: usize = 2;

/// Bytes added to the buffers of strips, whose sizes are often whole pages, so that two of them seldom begin at the same
/// place of a page: loads that follow a store to the same place of another page wait for it.
const SKEW: usize = 5 * 64;

/// How a step takes part in a section.
struct Member {
    /// Where the maps are among its inputs, and their windows.
    windows: SmallVec<[(usize, RowWindow); 3]>,
    /// Bytes of its packed weights.
    weights: usize,
}

/// A section that was found.
struct Found {
    /// Its steps; they run where the first of them stands.
    steps: Vec<usize>,
    /// Where the maps are among the inputs of each step.
    positions: Vec<SmallVec<[usize; 3]>>,
    section: Section,
    /// The buffer of each map that the section writes.
    buffers: Vec<Option<usize>>,
    strips: Vec<Strip>,
}

/// What is known of the steps while sections are looked for.
struct Search {
    members: Vec<Option<Member>>,
    /// Steps that read each buffer; `usize::MAX` for whoever reads it after all of them.
    readers: Vec<SmallVec<[usize; 4]>>,
    /// The step that writes each buffer.
    writers: Vec<Option<usize>>,
    taken: Vec<bool>,
    budget: usize,
}

impl Search {
    /// What a step is to a section, if it is in none yet.
    fn free_member(&self, index: usize) -> Option<&Member> {
        self.members.get(index)?.as_ref().filter(|_| !self.taken[index])
    }
}

impl Planner<'_> {
    /// Has sections of steps run strip by strip where that keeps large maps out of memory, and returns the steps as they
    /// were, if it found any. `kept` are the values that are read after all steps.
    pub(super) fn strip_sections<'v>(
        &mut self,
        kept: impl Iterator<Item = &'v Value>,
    ) -> Option<Vec<StepRequest>> {
        let budget = self.parts.settings.strip_bytes;
        if budget == 0 || self.buffers.iter().all(|&bytes| bytes < budget) {
            return None;
        }
        let mut search = Search {
            members: self.steps.iter().map(|step| self.member(step)).collect(),
            readers: vec![SmallVec::new(); self.buffers.len()],
            writers: vec![None; self.buffers.len()],
            taken: vec![false; self.steps.len()],
            budget,
        };
        for (index, step) in self.steps.iter().enumerate() {
            step.inputs
                .iter()
                .flatten()
                .filter_map(Value::buffer)
                .for_each(|id| search.readers[id].push(index));
            step.outputs.iter().for_each(|target| search.writers[target.id] = Some(index));
        }
        kept.filter_map(Value::buffer).for_each(|id| search.readers[id].push(usize::MAX));
        let mut sections: HashMap<usize, Vec<StepRequest>> = HashMap::new();
        for start in 0..self.steps.len() {
            if let Some(found) = self.section_from(start, &search)
                && let Some(strips) = self.in_strips(&found)
            {
                found.steps.iter().for_each(|&step| search.taken[step] = true);
                sections.insert(start, strips);
            }
        }
        if sections.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut self.steps);
        for (index, step) in whole.iter().enumerate() {
            match sections.remove(&index) {
                Some(strips) => self.steps.extend(strips),
                None if search.taken[index] => {}
                None => self.steps.push(step.clone()),
            }
        }
        Some(whole)
    }

    /// What a step is to a section; `None` where it needs whole maps.
    fn member(&self, step: &StepRequest) -> Option<Member> {
        let [output] = &step.outputs[..] else { return None };
        if !rows_are_outermost(&output.spec) {
            return None;
        }
        let windows = self.with_context(step.node, &[], None, |context, operator| {
            let mut windows = SmallVec::new();
            for (position, value) in step.inputs.iter().enumerate() {
                let Some(value) = value.as_ref().filter(|value| is_map(value)) else { continue };
                let whole = value.buffer().is_none() || rows_are_outermost(&value.spec);
                windows.push((position, operator.row_window(context, position).filter(|_| whole)?));
            }
            Some(windows)
        });
        let windows = windows.ok()?.filter(|windows| !windows.is_empty())?;
        Some(Member { windows, weights: self.parts.operators[step.node].packed_bytes() })
    }

    /// The longest section from a step on whose weights leave room for maps, if it is worth running in strips.
    fn section_from(&self, start: usize, search: &Search) -> Option<Found> {
        let mut steps = Vec::new();
        let mut weights = 0;
        for index in start..self.steps.len() {
            let Some(member) = search.free_member(index) else { break };
            let full = weights + member.weights > search.budget / 2 && !steps.is_empty();
            if full || !self.sees_whole_maps(index, &steps, search) {
                break;
            }
            weights += member.weights;
            steps.push(index);
        }
        while let Some((index, member)) = self.follower(&steps, weights, search) {
            weights += member.weights;
            steps.push(index);
        }
        let mut found = self.describe(steps, search);
        let section = &found.section;
        let most = section.least_rows() / LEAST_ROWS;
        if found.steps.len() < 2 || most < 2 || section.passing_bytes() < search.budget {
            return None;
        }
        let mut count = 2;
        while count < most && section.footprint(count) + weights > search.budget {
            count = (2 * count).min(most);
        }
        // Every strip reads all weights again.
        if count * weights > section.passing_bytes() / 2 {
            return None;
        }
        found.strips = section.strips(count);
        Some(found)
    }

    /// Whether a step sees the maps that steps of a section make as they are made, not through other views.
    fn sees_whole_maps(&self, index: usize, steps: &[usize], search: &Search) -> bool {
        self.steps[index].inputs.iter().flatten().all(|value| match value.home {
            Home::Buffer { id, offset } => match search.writers[id].filter(|writer| steps.contains(writer)) {
                Some(writer) => offset == 0 && self.steps[writer].outputs[0].spec == value.spec,
                None => true,
            },
            _ => true,
        })
    }

    /// A step behind a section that can run with it and with which it has a map less to keep whole, where what that
    /// step makes takes no more memory.
    fn follower<'s>(
        &self,
        steps: &[usize],
        weights: usize,
        search: &'s Search,
    ) -> Option<(usize, &'s Member)> {
        let (&start, &last) = (steps.first()?, steps.last()?);
        for target in steps.iter().map(|&step| &self.steps[step].outputs[0]) {
            let mut outside = search.readers[target.id].iter().filter(|reader| !steps.contains(reader));
            let (Some(&index), None) = (outside.next(), outside.next()) else { continue };
            let Some(member) = search.free_member(index).filter(|_| index > last) else { continue };
            let step = &self.steps[index];
            let ready = step.inputs.iter().flatten().all(|value| {
                let writer = value.buffer().and_then(|id| search.writers[id]);
                writer.is_none_or(|writer| writer < start || steps.contains(&writer))
            });
            if ready
                && self.buffers[step.outputs[0].id] <= self.buffers[target.id]
                && weights + member.weights <= search.budget / 2
                && self.sees_whole_maps(index, steps, search)
            {
                return Some((index, member));
            }
        }
        None
    }

    fn describe(&self, steps: Vec<usize>, search: &Search) -> Found {
        let mut section = Section::default();
        let (mut positions, mut buffers) = (Vec::new(), Vec::new());
        let mut maps: HashMap<usize, usize> = HashMap::new();
        for &index in &steps {
            let (step, member) = (&self.steps[index], &search.members[index]);
            let mut link = Link { reads: SmallVec::new(), writes: 0 };
            let mut read = SmallVec::new();
            for &(position, window) in member.iter().flat_map(|member| &member.windows) {
                let Some(value) = &step.inputs[position] else { continue };
                let known = value.buffer().and_then(|id| maps.get(&id).copied());
                let map = known.unwrap_or_else(|| {
                    section.maps.push(map_of(&value.spec, true));
                    buffers.push(None);
                    section.maps.len() - 1
                });
                link.reads.push((map, window));
                read.push(position);
            }
            positions.push(read);
            let output = &step.outputs[0];
            link.writes = section.maps.len();
            let whole = search.readers[output.id].iter().any(|reader| !steps.contains(reader));
            section.maps.push(map_of(&output.spec, whole));
            buffers.push(Some(output.id));
            maps.insert(output.id, link.writes);
            section.links.push(link);
        }
        Found { steps, positions, section, buffers, strips: Vec::new() }
    }

    /// The steps of a section, strip by strip; `None` where an operator does not plan what it promised.
    fn in_strips(&mut self, found: &Found) -> Option<Vec<StepRequest>> {
        let (section, strips) = (&found.section, &found.strips);
        let first_new = self.buffers.len();
        let mut rolling = vec![None; section.maps.len()];
        for (map, rolling) in rolling.iter_mut().enumerate().filter(|(map, _)| !section.maps[*map].whole) {
            let keeps = strips.windows(2).any(|pair| pair[1].held[map].start < pair[0].held[map].end);
            if keeps {
                let rows = strips.iter().map(|strip| strip.held[map].len()).max().unwrap_or(0);
                *rolling = Some(self.buffers.len());
                self.buffers.push(rows * section.maps[map].row_bytes + SKEW);
            }
        }
        let mut emitter = Emitter {
            planner: self,
            found,
            rolling,
            passing: vec![None; section.maps.len()],
            known: HashMap::new(),
        };
        let mut steps = Vec::new();
        for (index, strip) in strips.iter().enumerate() {
            for link in 0..section.links.len() {
                let before = index.checked_sub(1).map(|before| &strips[before]);
                if emitter.emit(link, strip, before, &mut steps).is_none() {
                    self.buffers.truncate(first_new);
                    return None;
                }
            }
        }
        Some(steps)
    }
}

/// A step planned for a strip, by what it depends on.
type Key = (usize, SmallVec<[usize; 4]>, [usize; 2]);

struct Made {
    spec: TensorSpec,
    in_place: Vec<usize>,
    scratch_bytes: usize,
    step: Arc<dyn Step>,
}

struct Emitter<'e, 'p> {
    planner: &'e mut Planner<'p>,
    found: &'e Found,
    /// The buffers of maps of which rows are kept from strip to strip.
    rolling: Vec<Option<usize>>,
    /// The buffers, in this strip, of maps of which no rows are kept.
    passing: Vec<Option<usize>>,
    known: HashMap<Key, Arc<Made>>,
}

impl Emitter<'_, '_> {
    /// Adds the step that computes a strip's rows of one map.
    fn emit(
        &mut self,
        link: usize,
        strip: &Strip,
        before: Option<&Strip>,
        steps: &mut Vec<StepRequest>,
    ) -> Option<()> {
        let Link { reads, writes } = &self.found.section.links[link];
        let (rows, map) = (&strip.rows[link], *writes);
        let source = self.found.steps[link];
        let whole = &self.planner.steps[source];
        let (node, spec) = (whole.node, whole.outputs[0].spec.clone());
        let positions = &self.found.positions[link];
        if let (Some(id), Some(before)) = (self.rolling[map], before) {
            let kept = strip.held[map].start..before.held[map].end;
            let moved = strip.held[map].start - before.held[map].start.min(strip.held[map].start);
            if !kept.is_empty() && moved > 0 {
                steps.push(carry(node, &spec, id, moved, kept.len()));
            }
        }
        if rows.is_empty() {
            return Some(());
        }
        let mut inputs = whole.inputs.clone();
        let mut padding = None;
        for (&position, &(read, window)) in positions.iter().zip(reads) {
            let height = self.found.section.maps[read].rows;
            let (first, end) = (window.first(rows.start), window.end(rows.end));
            let from = first..end.min(height);
            if from.is_empty() {
                return None;
            }
            if window.before > 0 || window.extent > 1 {
                let above = window.before.saturating_sub(rows.start / window.repeat * window.stride);
                let needed = [above, end.saturating_sub(height)];
                if padding.is_some_and(|padding| padding != needed) {
                    return None;
                }
                padding = Some(needed);
            }
            let value = inputs[position].as_mut()?;
            *value = self.slice(read, strip, value, &from);
        }
        let padding = padding.unwrap_or([0, 0]);
        let made = self.plan(node, positions, &inputs, padding)?;
        if made.spec != rows_of(&spec, rows.len()) {
            return None;
        }
        let row_elements = spec.strides[ROWS];
        let (id, offset, fresh) = match (self.found.section.maps[map].whole, self.rolling[map]) {
            (true, _) => (self.found.buffers[map]?, rows.start as isize * row_elements, false),
            (false, Some(id)) => (id, (rows.start - strip.held[map].start) as isize * row_elements, false),
            (false, None) => {
                let id = self.planner.buffers.len();
                self.planner.buffers.push(rows.len() * self.found.section.maps[map].row_bytes + SKEW);
                self.passing[map] = Some(id);
                (id, 0, true)
            }
        };
        steps.push(StepRequest {
            node,
            part: Part::Strip,
            inputs,
            outputs: smallvec![Target { spec: made.spec.clone(), id, offset }],
            in_place: if fresh { made.in_place.clone() } else { Vec::new() },
            scratch_bytes: made.scratch_bytes,
            step: made.step.clone(),
        });
        Some(())
    }

    /// Rows of a map, where they lie in this strip.
    fn slice(&self, map: usize, strip: &Strip, value: &Value, rows: &Range<usize>) -> Value {
        let row_elements = value.spec.strides[ROWS];
        let spec = rows_of(&value.spec, rows.len());
        let at = |row: usize| row as isize * row_elements;
        let home = match (self.rolling[map].or(self.passing[map]), &value.home) {
            (Some(id), _) if !self.found.section.maps[map].whole => {
                Home::Buffer { id, offset: at(rows.start - strip.held[map].start) }
            }
            (_, Home::Buffer { id, offset }) => Home::Buffer { id: *id, offset: offset + at(rows.start) },
            (_, Home::External { id, offset }) => Home::External { id: *id, offset: offset + at(rows.start) },
            (_, other) => other.clone(),
        };
        Value { spec, home }
    }

    /// The step for maps of so many rows, which are planned once.
    fn plan(
        &mut self,
        node: usize,
        positions: &[usize],
        inputs: &[Option<Value>],
        padding: [usize; 2],
    ) -> Option<Arc<Made>> {
        let rows = positions.iter().filter_map(|&position| Some(inputs[position].as_ref()?.spec.shape[ROWS]));
        let key = (node, rows.collect(), padding);
        if let Some(made) = self.known.get(&key) {
            return Some(made.clone());
        }
        let strips: SmallVec<[(usize, TensorSpec); 4]> = positions
            .iter()
            .filter_map(|&position| Some((position, inputs[position].as_ref()?.spec.clone())))
            .collect();
        let answer = self.planner.ask(node, &strips, Some(padding)).ok()?;
        let Answer { planned: Planned::Step { outputs, in_place, scratch_bytes, step }, .. } = answer else {
            return None;
        };
        let spec = outputs.into_iter().next()?;
        let made = Arc::new(Made { spec, in_place, scratch_bytes, step: step.into() });
        self.known.insert(key, made.clone());
        Some(made)
    }
}

/// Whether a value may be a map of rows: not known, of four axes, one image, more than one row.
fn is_map(value: &Value) -> bool {
    let shape = &value.spec.shape;
    !matches!(value.home, Home::Known { .. } | Home::Released)
        && shape.len() == 4
        && shape[0] == 1
        && shape[ROWS] > 1
}

/// Whether the rows of a map follow each other in memory.
fn rows_are_outermost(spec: &TensorSpec) -> bool {
    let shape = &spec.shape;
    let row = || shape[1] * shape[3];
    shape.len() == 4 && shape[0] == 1 && !spec.is_empty() && spec.strides[ROWS] == row() as isize
}

fn map_of(spec: &TensorSpec, whole: bool) -> Map {
    let row_bytes = spec.shape[1] * spec.shape[3] * spec.dtype.size();
    Map { rows: spec.shape[ROWS], row_bytes, whole }
}

/// A map of so many rows that lies as the whole one.
fn rows_of(spec: &TensorSpec, rows: usize) -> TensorSpec {
    let mut strip = spec.clone();
    strip.shape[ROWS] = rows;
    strip.strides[0] = strip.strides[ROWS] * rows as isize;
    strip
}

/// A step that moves the last rows of a rolling buffer to its start.
fn carry(node: usize, spec: &TensorSpec, id: usize, from: usize, rows: usize) -> StepRequest {
    let spec = rows_of(spec, rows);
    let home = Home::Buffer { id, offset: from as isize * spec.strides[ROWS] };
    StepRequest {
        node,
        part: Part::Carry,
        inputs: smallvec![Some(Value { spec: spec.clone(), home })],
        outputs: smallvec![Target { spec, id, offset: 0 }],
        in_place: Vec::new(),
        scratch_bytes: 0,
        step: Arc::new(Carry),
    }
}

struct Carry;

impl Step for Carry {
    fn run(&self, context: &mut RunContext<'_, '_>) {
        if let ([Some(from)], [to]) = (context.inputs, &mut *context.outputs) {
            let bytes = from.len() * from.dtype().size();
            // SAFETY: both views are rows of one buffer, whose rows follow each other; they may overlap.
            unsafe { std::ptr::copy(from.as_ptr(), to.as_mut_ptr(), bytes) };
        }
    }
}

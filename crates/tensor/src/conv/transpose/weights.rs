//! Weights of transposed convolutions, packed phase by phase.

use super::TransposeShape;
use crate::conv::geometry::five;
use crate::matmul::PanelLayout;
use vedette_memory::AlignedBuffer;
use vedette_simd::Isa;

/// How the weights of one phase are packed.
#[derive(Debug)]
pub(super) struct PhasePacking {
    pub(super) layout: PanelLayout,
    row_offsets: Vec<isize>,
    column_offsets: Vec<isize>,
    group_step: isize,
    /// Values before it in the packed block.
    pub(super) offset: usize,
}

/// Weights packed for a level, phase by phase.
#[derive(Debug)]
pub struct TransposeWeights {
    pub(super) phases: Vec<PhasePacking>,
    groups: usize,
    len: usize,
    data: Option<AlignedBuffer>,
}

impl TransposeWeights {
    /// How weights with these strides are packed; they are packed in every run.
    pub fn layout(isa: Isa, shape: &TransposeShape, strides: &[isize]) -> TransposeWeights {
        let [channel, out, d, h, w] = five(strides);
        let (depth, columns) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let mut len = 0;
        let mut phases = Vec::new();
        for [z, y, x] in shape.phases() {
            let joined = shape.joins_columns();
            let x_taps = if joined { vec![0] } else { shape.axes[2].taps(x) };
            let mut row_offsets = Vec::new();
            for &z in &shape.axes[0].taps(z) {
                for &y in &shape.axes[1].taps(y) {
                    for &x in &x_taps {
                        let tap = z as isize * d + y as isize * h + x as isize * w;
                        row_offsets.extend((0..depth).map(|c| tap + c as isize * channel));
                    }
                }
            }
            let side_by_side = if joined { shape.axes[2].kernel } else { 1 };
            let column_offsets: Vec<isize> = (0..side_by_side as isize)
                .flat_map(|x| (0..columns as isize).map(move |o| x * w + o * out))
                .collect();
            let layout = PanelLayout::new(isa, row_offsets.len(), column_offsets.len());
            let step = layout.packed_step() * shape.groups;
            let group_step = depth as isize * channel;
            phases.push(PhasePacking { layout, row_offsets, column_offsets, group_step, offset: len });
            len += step;
        }
        TransposeWeights { phases, groups: shape.groups, len, data: None }
    }

    /// Packs weights once.
    ///
    /// # Safety
    /// `w` is the first of the weights, all readable at the strides given to [`layout`](Self::layout).
    pub unsafe fn pack(mut self, w: *const f32) -> TransposeWeights {
        let mut data = AlignedBuffer::new(self.len * size_of::<f32>());
        // SAFETY: as the caller grants; the buffer has the length needed.
        unsafe { self.pack_to(w, data.as_mut_ptr().cast()) };
        self.data = Some(data);
        self
    }

    /// # Safety
    /// As for [`pack`](Self::pack); `to` has room for `len` values.
    unsafe fn pack_to(&self, w: *const f32, to: *mut f32) {
        for phase in &self.phases {
            for group in 0..self.groups {
                let source = w.wrapping_offset(group as isize * phase.group_step);
                let to = to.wrapping_add(phase.offset + group * phase.layout.packed_step());
                let (rows, columns) = (&phase.row_offsets, &phase.column_offsets);
                // SAFETY: the offsets are those of weights.
                unsafe {
                    phase.layout.pack(
                        0..phase.layout.panels.len(),
                        source,
                        |k| rows[k],
                        |n| columns[n],
                        1.0,
                        to,
                    );
                }
            }
        }
    }

    /// Values of scratch memory that packing in every run takes.
    pub(super) fn scratch_len(&self) -> usize {
        if self.data.is_some() { 0 } else { self.len.next_multiple_of(16) }
    }

    /// The packed weights: those held, or packed into scratch memory now.
    ///
    /// # Safety
    /// As for [`pack`](Self::pack); `scratch` has room for [`scratch_len`](Self::scratch_len) values.
    pub(super) unsafe fn packed(&self, w: *const f32, scratch: *mut f32) -> *const f32 {
        match &self.data {
            Some(data) => data.as_ptr().cast(),
            None => {
                // SAFETY: as the caller grants.
                unsafe { self.pack_to(w, scratch) };
                scratch.cast_const()
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.as_ref().map_or(0, AlignedBuffer::len)
    }
}

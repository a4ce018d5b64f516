//! Windows as kernels see them: where their taps lie, and where outputs go.

use super::geometry::Axis;
use super::plan::ConvShape;
use super::transpose::{Axis as TransposeAxis, TransposeShape};

/// One axis of the windows of a convolution, or of one phase of a transposed convolution.
#[derive(Clone, Copy, Debug)]
pub struct WindowAxis {
    /// Positions of the input.
    pub input: usize,
    /// Positions of the output.
    pub output: usize,
    /// Taps, of which a phase may have none.
    pub kernel: usize,
    /// Input positions from one window to the next.
    pub stride: usize,
    /// Input positions from one tap to the next.
    pub dilation: usize,
    /// The input position of the first tap of the first window.
    pub origin: isize,
}

impl WindowAxis {
    fn of_convolution(axis: &Axis) -> WindowAxis {
        let Axis { input, output, kernel, stride, dilation, pad_begin, .. } = *axis;
        WindowAxis { input, output, kernel, stride, dilation, origin: -(pad_begin as isize) }
    }

    /// The outputs of one remainder by the stride see the same taps, the last of them first.
    fn of_phase(axis: &TransposeAxis, phase: usize) -> WindowAxis {
        let taps = axis.taps(phase);
        let at = |tap: usize| {
            ((phase + axis.pad) as isize - (tap * axis.dilation) as isize) / axis.stride as isize
        };
        let origin = taps.last().map_or(0, |&tap| at(tap));
        let dilation = if taps.len() > 1 { at(taps[0]) - at(taps[1]) } else { 1 };
        WindowAxis {
            input: axis.input,
            output: axis.positions(phase),
            kernel: taps.len(),
            stride: 1,
            dilation: dilation as usize,
            origin,
        }
    }

    /// Positions a window spans.
    pub fn extent(&self) -> usize {
        if self.kernel == 0 { 0 } else { (self.kernel - 1) * self.dilation + 1 }
    }

    /// The input position so far behind the first tap of an output, if it is within the input.
    pub fn at(&self, output: usize, behind: usize) -> Option<usize> {
        let position = (output * self.stride + behind) as isize + self.origin;
        usize::try_from(position).ok().filter(|&position| position < self.input)
    }

    /// Whether every tap of every window is within the input.
    pub fn is_inside(&self) -> bool {
        if self.kernel == 0 || self.output == 0 {
            return true;
        }
        let end = self.origin + ((self.output - 1) * self.stride + self.extent()) as isize;
        self.origin >= 0 && end <= self.input as isize
    }
}

/// Windows over images, each of which gives some columns.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Images.
    pub batch: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Input channels of a group.
    pub channels: usize,
    /// Columns of a group.
    pub columns: usize,
    /// Depth, height, width.
    pub axes: [WindowAxis; 3],
    /// The first output.
    pub first: usize,
    /// Elements from one output image, slice, line and pixel to the next.
    pub steps: [usize; 4],
}

/// Elements of an image, a slice, a line and a pixel of channels-last outputs.
fn channels_last(outputs: [usize; 3], channels: usize) -> [usize; 4] {
    let [depth, height, width] = outputs;
    [depth * height * width * channels, height * width * channels, width * channels, channels]
}

impl Windows {
    /// The windows of a convolution.
    pub fn of_convolution(shape: &ConvShape) -> Windows {
        Windows {
            batch: shape.batch,
            groups: shape.groups,
            channels: shape.in_channels / shape.groups,
            columns: shape.out_channels / shape.groups,
            axes: shape.axes.each_ref().map(WindowAxis::of_convolution),
            first: 0,
            steps: channels_last(shape.axes.map(|axis| axis.output), shape.out_channels),
        }
    }

    /// The windows of a phase of a transposed convolution.
    pub fn of_phase(shape: &TransposeShape, phase: [usize; 3]) -> Windows {
        let [image, slice, line, pixel] =
            channels_last(shape.axes.map(|axis| axis.output), shape.out_channels);
        let [depth, height, width] = &shape.axes;
        let mut axes = [0, 1, 2].map(|i| WindowAxis::of_phase(&shape.axes[i], phase[i]));
        let mut columns = shape.out_channels / shape.groups;
        if shape.joins_columns() {
            columns *= width.kernel;
            axes[2] = WindowAxis { output: width.input, kernel: 1, dilation: 1, origin: 0, ..axes[2] };
        }
        Windows {
            batch: shape.batch,
            groups: shape.groups,
            channels: shape.in_channels / shape.groups,
            columns,
            axes,
            first: phase[0] * slice + phase[1] * line + phase[2] * pixel,
            steps: [image, slice * depth.stride, line * height.stride, pixel * width.stride],
        }
    }

    /// Whether the taps of a line are one run of values: where nothing lies between the pixels under a kernel.
    pub fn joins_taps(&self) -> bool {
        self.groups == 1 && self.axes[2].dilation == 1
    }

    /// Taps of a window.
    pub fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }

    /// Windows of all images.
    pub fn count(&self) -> usize {
        self.batch * self.axes.iter().map(|axis| axis.output).product::<usize>()
    }
}

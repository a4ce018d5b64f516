//! Windows over one to three spatial axes: convolution and pooling share them.

use crate::TensorError;

/// How padding is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoPad {
    /// By the pads.
    NotSet,
    /// None.
    Valid,
    /// As much as makes the output `ceil(input / stride)`, an odd one at the end.
    SameUpper,
    /// As `SameUpper`, an odd one at the beginning.
    SameLower,
}

impl AutoPad {
    /// The value of that ONNX name.
    pub fn from_name(name: &str) -> Option<AutoPad> {
        Some(match name {
            "" | "NOTSET" => AutoPad::NotSet,
            "VALID" => AutoPad::Valid,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            _ => return None,
        })
    }
}

/// One spatial axis of a window operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Input size.
    pub input: usize,
    /// Output size.
    pub output: usize,
    /// Taps of the kernel.
    pub kernel: usize,
    /// Distance of windows.
    pub stride: usize,
    /// Distance of taps.
    pub dilation: usize,
    /// Padding before the input.
    pub pad_begin: usize,
    /// Padding behind the input.
    pub pad_end: usize,
}

impl Axis {
    /// An axis that is not there: one position, one tap.
    pub const ONE: Axis =
        Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_begin: 0, pad_end: 0 };

    /// Positions a window spans.
    pub fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The axis with other padding: `[begin, end]`, which leaves room for a window.
    pub fn with_padding(self, [pad_begin, pad_end]: [usize; 2]) -> Axis {
        let room = (self.input + pad_begin + pad_end).saturating_sub(self.extent());
        Axis { pad_begin, pad_end, output: room / self.stride + 1, ..self }
    }

    /// The input position of a tap, if it is within the input.
    pub fn at(&self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap * self.dilation)
            .checked_sub(self.pad_begin)
            .filter(|&position| position < self.input)
    }

    /// Taps of a window that are within the input.
    pub fn taps_within(&self, output: usize) -> std::ops::Range<usize> {
        let begin = output * self.stride;
        let first = self.pad_begin.saturating_sub(begin).div_ceil(self.dilation);
        let end =
            (self.input + self.pad_begin).saturating_sub(begin).div_ceil(self.dilation).min(self.kernel);
        first.min(end)..end
    }
}

/// The attributes of a window operation, empty where absent.
#[derive(Clone, Debug)]
pub struct WindowAttributes {
    /// One a spatial axis, or empty for ones.
    pub strides: Vec<i64>,
    /// One a spatial axis, or empty for ones.
    pub dilations: Vec<i64>,
    /// Begins of all axes, then ends; or empty for zeros.
    pub pads: Vec<i64>,
    /// Whether pads are given or follow from the shapes.
    pub auto_pad: AutoPad,
    /// Whether a last, partial window counts (pooling).
    pub ceil_mode: bool,
}

fn invalid<T>(message: String) -> Result<T, TensorError> {
    Err(TensorError(message))
}

/// Strides, dilations, pads and taps beyond which a window is refused, so that their products stay countable.
const LARGEST: usize = 1 << 20;

/// `count` positive values, ones where `given` is empty.
pub(crate) fn positive(name: &str, given: &[i64], count: usize) -> Result<Vec<usize>, TensorError> {
    if given.is_empty() {
        return Ok(vec![1; count]);
    }
    if given.len() != count {
        return invalid(format!("{name} {given:?} for {count} spatial axes"));
    }
    given
        .iter()
        .map(|&value| match usize::try_from(value) {
            Ok(value) if (1..=LARGEST).contains(&value) => Ok(value),
            _ => invalid(format!("{name} {given:?} are not all positive, or too large")),
        })
        .collect()
}

/// Begins and ends, `count` each.
pub(crate) fn pads(given: &[i64], count: usize) -> Result<Vec<usize>, TensorError> {
    if given.is_empty() {
        return Ok(vec![0; 2 * count]);
    }
    if given.len() != 2 * count {
        return invalid(format!("pads {given:?} for {count} spatial axes"));
    }
    given
        .iter()
        .map(|&value| match usize::try_from(value) {
            Ok(value) if value <= LARGEST => Ok(value),
            _ => invalid(format!("pads {given:?} are negative or too large")),
        })
        .collect()
}

impl WindowAttributes {
    /// The spatial axes of an operation on `input` with windows of `kernel` taps.
    pub fn resolve(&self, input: &[usize], kernel: &[usize]) -> Result<Vec<Axis>, TensorError> {
        let count = input.len();
        if kernel.len() != count {
            return invalid(format!("a kernel of shape {kernel:?} for {count} spatial axes"));
        }
        let strides = positive("strides", &self.strides, count)?;
        let dilations = positive("dilations", &self.dilations, count)?;
        let pads = pads(&self.pads, count)?;
        (0..count)
            .map(|i| {
                let (input, kernel, stride, dilation) = (input[i], kernel[i], strides[i], dilations[i]);
                if kernel == 0 || kernel > LARGEST {
                    return invalid(format!("a kernel of {kernel} taps"));
                }
                let too_large = || TensorError(format!("a window of {kernel} taps, dilation {dilation}"));
                let extent =
                    (kernel - 1).checked_mul(dilation).and_then(|taps| taps.checked_add(1)).ok_or_else(too_large)?;
                let (mut pad_begin, mut pad_end) = (pads[i], pads[i + count]);
                let output = match self.auto_pad {
                    AutoPad::SameUpper | AutoPad::SameLower => {
                        let output = input.div_ceil(stride);
                        let total = (output.saturating_sub(1) * stride)
                            .checked_add(extent)
                            .ok_or_else(too_large)?
                            .saturating_sub(input);
                        (pad_begin, pad_end) = (total / 2, total - total / 2);
                        if self.auto_pad == AutoPad::SameLower {
                            std::mem::swap(&mut pad_begin, &mut pad_end);
                        }
                        output
                    }
                    AutoPad::Valid | AutoPad::NotSet => {
                        if self.auto_pad == AutoPad::Valid {
                            (pad_begin, pad_end) = (0, 0);
                        }
                        let padded = input
                            .checked_add(pad_begin)
                            .and_then(|sum| sum.checked_add(pad_end))
                            .ok_or_else(too_large)?;
                        match padded.checked_sub(extent) {
                            None if input == 0 => 0,
                            None => {
                                return invalid(format!(
                                    "a window spanning {extent} does not fit an axis of {padded} (with padding)"
                                ));
                            }
                            Some(room) if self.ceil_mode => {
                                let output = room.div_ceil(stride) + 1;
                                // A window that would begin in the end padding or behind it does not count.
                                if (output - 1) * stride >= input + pad_begin { output - 1 } else { output }
                            }
                            Some(room) => room / stride + 1,
                        }
                    }
                };
                Ok(Axis { input, output, kernel, stride, dilation, pad_begin, pad_end })
            })
            .collect()
    }
}

/// Spatial axes brought to three, the missing ones in front.
pub(crate) fn three(axes: &[Axis]) -> [Axis; 3] {
    let mut three = [Axis::ONE; 3];
    three[3 - axes.len()..].copy_from_slice(axes);
    three
}

/// Strides `[batch, channel, depth, height, width]` of an `[N, C, ...]` tensor of up to three spatial axes.
pub fn five(strides: &[isize]) -> [isize; 5] {
    let mut five = [strides[0], strides[1], 0, 0, 0];
    five[7 - strides.len()..].copy_from_slice(&strides[2..]);
    five
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(auto_pad: AutoPad, ceil_mode: bool, stride: i64, pad: [i64; 2]) -> WindowAttributes {
        WindowAttributes { strides: vec![stride], dilations: vec![], pads: pad.to_vec(), auto_pad, ceil_mode }
    }

    #[test]
    fn output_sizes_follow_onnx() {
        let output =
            |w: WindowAttributes, input, kernel| w.resolve(&[input], &[kernel]).map(|axes| axes[0].output);
        assert_eq!(output(window(AutoPad::NotSet, false, 2, [1, 1]), 7, 3), Ok(4));
        assert_eq!(output(window(AutoPad::NotSet, true, 2, [0, 0]), 4, 3), Ok(2));
        assert_eq!(output(window(AutoPad::NotSet, false, 2, [0, 0]), 4, 3), Ok(1));
        // The second window would begin in the end padding.
        assert_eq!(output(window(AutoPad::NotSet, true, 3, [0, 1]), 2, 1), Ok(1));
        assert_eq!(output(window(AutoPad::SameUpper, false, 2, [0, 0]), 5, 4), Ok(3));
        assert!(output(window(AutoPad::Valid, false, 1, [9, 9]), 2, 3).is_err());
        let axis = window(AutoPad::SameLower, false, 1, [0, 0]).resolve(&[5], &[2]).unwrap()[0];
        assert_eq!((axis.pad_begin, axis.pad_end, axis.output), (1, 0, 5));
    }

    #[test]
    fn taps_within_are_those_at_a_position() {
        for (input, kernel, stride, dilation, pad) in
            [(5, 3, 1, 1, 1), (4, 3, 2, 2, 3), (2, 5, 1, 1, 4), (7, 2, 3, 5, 0)]
        {
            let padded = input + 2 * pad;
            let output = (padded - (kernel - 1) * dilation - 1) / stride + 1;
            let axis = Axis { input, output, kernel, stride, dilation, pad_begin: pad, pad_end: pad };
            for o in 0..output {
                let within: Vec<usize> = (0..kernel).filter(|&tap| axis.at(o, tap).is_some()).collect();
                assert_eq!(axis.taps_within(o).collect::<Vec<_>>(), within);
            }
        }
    }
}

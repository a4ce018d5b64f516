//! Rows that are read where they lie.

/// Elements from one position to another, in the input and in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// In the input.
    pub input: isize,
    /// In the output.
    pub output: isize,
}

impl Step {
    fn times(self, count: usize) -> Step {
        Step { input: self.input * count as isize, output: self.output * count as isize }
    }

    fn plus(self, other: Step) -> Step {
        Step { input: self.input + other.input, output: self.output + other.output }
    }
}

/// Positions `[slices][lines][width]`, made from nested axes by joining those that follow each other, in the input as
/// in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowLayout {
    /// Positions of a line.
    pub width: usize,
    /// From one position of a line to the next.
    pub pixel_step: Step,
    /// Lines of a slice.
    pub lines: usize,
    /// From one line of a slice to the next.
    pub line_step: Step,
    /// Where each slice begins.
    pub slices: Vec<Step>,
}

impl RowLayout {
    /// The layout of axes given as `(count, input step, output step)`, slowest first.
    pub fn new(axes: &[(usize, isize, isize)]) -> RowLayout {
        let mut joined: Vec<(usize, Step)> = Vec::with_capacity(axes.len());
        for &(count, input, output) in axes.iter().rev().filter(|axis| axis.0 != 1) {
            let step = Step { input, output };
            match joined.last_mut() {
                Some(inner) if inner.1.times(inner.0) == step => inner.0 *= count,
                _ => joined.push((count, step)),
            }
        }
        let axis = |i: usize| joined.get(i).copied().unwrap_or((1, Step::default()));
        let ((width, pixel_step), (lines, line_step)) = (axis(0), axis(1));
        let mut slices = vec![Step::default()];
        for &(count, step) in joined.iter().skip(2).rev() {
            slices = slices.iter().flat_map(|at| (0..count).map(move |i| at.plus(step.times(i)))).collect();
        }
        RowLayout { width, pixel_step, lines, line_step, slices }
    }

    /// Lines of all slices.
    pub fn all_lines(&self) -> usize {
        self.lines * self.slices.len()
    }

    /// Where a pixel of a line of all lines lies.
    pub fn at(&self, line: usize, pixel: usize) -> Step {
        let slice = self.slices[line / self.lines];
        slice.plus(self.line_step.times(line % self.lines)).plus(self.pixel_step.times(pixel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_follow_each_other_are_one() {
        let dense = RowLayout::new(&[(2, 600, 300), (1, 7, 7), (10, 60, 30), (6, 10, 5)]);
        assert_eq!((dense.width, dense.pixel_step.input, dense.all_lines()), (120, 10, 1));
        let strided = RowLayout::new(&[(2, 1000, 30), (3, 300, 10), (5, 20, 2)]);
        assert_eq!((strided.width, strided.lines, strided.slices.len()), (5, 3, 2));
        assert_eq!(strided.at(4, 2), Step { input: 1340, output: 44 });
        // Joined in the input, but not in the output.
        assert_eq!(RowLayout::new(&[(3, 50, 100), (5, 10, 10)]).all_lines(), 3);
        assert_eq!(RowLayout::new(&[]).width, 1);
        assert_eq!(RowLayout::new(&[(0, 1, 1), (3, 1, 1)]).all_lines(), 0);
    }
}

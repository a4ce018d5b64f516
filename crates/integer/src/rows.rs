//! Rows that are read where they lie.

/// Positions `[slices][lines][width]` in memory, made from nested axes by joining those that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowLayout {
    pub width: usize,
    pub pixel_step: isize,
    pub lines: usize,
    pub line_step: isize,
    /// Where each slice begins.
    pub slices: Vec<isize>,
}

impl RowLayout {
    /// The layout of axes given as `(count, step)`, slowest first.
    pub(crate) fn new(axes: &[(usize, isize)]) -> RowLayout {
        let mut joined: Vec<(usize, isize)> = Vec::with_capacity(axes.len());
        for &(count, step) in axes.iter().rev().filter(|axis| axis.0 != 1) {
            match joined.last_mut() {
                Some(inner) if inner.0 as isize * inner.1 == step => inner.0 *= count,
                _ => joined.push((count, step)),
            }
        }
        let axis = |i: usize| joined.get(i).copied().unwrap_or((1, 0));
        let ((width, pixel_step), (lines, line_step)) = (axis(0), axis(1));
        let mut slices = vec![0isize];
        for &(count, step) in joined.iter().skip(2).rev() {
            slices = slices.iter().flat_map(|&at| (0..count).map(move |i| at + i as isize * step)).collect();
        }
        RowLayout { width, pixel_step, lines, line_step, slices }
    }

    /// Lines of all slices.
    pub(crate) fn all_lines(&self) -> usize {
        self.lines * self.slices.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_follow_each_other_are_one() {
        let dense = RowLayout::new(&[(2, 600), (1, 7), (10, 60), (6, 10)]);
        assert_eq!((dense.width, dense.pixel_step, dense.all_lines()), (120, 10, 1));
        let strided = RowLayout::new(&[(2, 1000), (3, 300), (5, 20)]);
        assert_eq!((strided.width, strided.lines, &strided.slices[..]), (5, 3, &[0, 1000][..]));
        assert_eq!(RowLayout::new(&[]).width, 1);
        assert_eq!(RowLayout::new(&[(0, 1), (3, 1)]).all_lines(), 0);
    }
}

//! Which rows of each map of a section are computed in which strip.

use crate::op::RowWindow;
use smallvec::SmallVec;
use std::ops::Range;

/// A map that steps of a section write or read.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) rows: usize,
    pub(super) row_bytes: usize,
    /// Whether it lies in memory whole: it comes from before the section or is read after it.
    pub(super) whole: bool,
}

/// A step of a section: the maps it reads, through which windows, and the one it writes.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) reads: SmallVec<[(usize, RowWindow); 3]>,
    pub(super) writes: usize,
}

/// Maps and the steps between them, in an order in which they can run.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    pub(super) maps: Vec<Map>,
    pub(super) links: Vec<Link>,
}

/// What happens in one strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strip {
    /// The rows that each step computes.
    pub(super) rows: Vec<Range<usize>>,
    /// The rows that are there of each map that does not lie whole: those kept from the strip before, and new ones.
    pub(super) held: Vec<Range<usize>>,
}

impl Section {
    /// The rows of `count` strips. Every row is computed once; rows that windows of a later strip reach back to are
    /// held until then.
    pub(super) fn strips(&self, count: usize) -> Vec<Strip> {
        let mut done = vec![0; self.maps.len()];
        let mut strips: Vec<Strip> = Vec::with_capacity(count);
        for index in 1..=count {
            let rows = self.rows_of(index, count, &done);
            let mut held: Vec<Range<usize>> = done.iter().map(|&end| end..end).collect();
            for (link, rows) in self.links.iter().zip(&rows) {
                held[link.writes].end = rows.end;
                done[link.writes] = rows.end;
            }
            for (link, rows) in self.links.iter().zip(&rows) {
                // What is still to be computed may reach back, whether it is computed in this strip or later.
                let height = self.maps[link.writes].rows;
                for &(map, window) in link.reads.iter().filter(|_| rows.start < height) {
                    held[map].start = held[map].start.min(window.first(rows.start));
                }
            }
            strips.push(Strip { rows, held });
        }
        strips
    }

    /// The rows each step computes in one strip of so many, `done` rows of every map being there.
    fn rows_of(&self, index: usize, count: usize, done: &[usize]) -> Vec<Range<usize>> {
        let mut needed = vec![None; self.maps.len()];
        let mut rows = vec![0..0; self.links.len()];
        for (link, rows) in self.links.iter().zip(&mut rows).rev() {
            let map = &self.maps[link.writes];
            let share = match needed[link.writes] {
                // Nobody in the section reads it.
                None => (map.rows * index).div_ceil(count),
                Some(_) if map.whole && index == count => map.rows,
                Some(needed) => needed,
            };
            let repeat = link.reads.iter().map(|(_, window)| window.repeat).max().unwrap_or(1);
            let end = share.next_multiple_of(repeat).min(map.rows).max(done[link.writes]);
            let start = done[link.writes];
            *rows = start..end;
            for &(read, window) in &link.reads {
                let last = if start == end { 0 } else { window.end(end).min(self.maps[read].rows) };
                needed[read] = Some(needed[read].unwrap_or(0).max(last));
            }
        }
        rows
    }

    /// Bytes that the steps of one strip in the middle touch.
    pub(super) fn footprint(&self, count: usize) -> usize {
        let strips = self.strips(count);
        let strip = &strips[count / 2];
        let mut bytes = 0;
        for (map, held) in self.maps.iter().zip(&strip.held).filter(|(map, _)| !map.whole) {
            bytes += held.len() * map.row_bytes;
        }
        let mut whole = vec![0..0; self.maps.len()];
        for (link, rows) in self.links.iter().zip(&strip.rows).filter(|(_, rows)| !rows.is_empty()) {
            whole[link.writes] = join(&whole[link.writes], rows);
            for &(map, window) in &link.reads {
                let read = window.first(rows.start)..window.end(rows.end).min(self.maps[map].rows);
                whole[map] = join(&whole[map], &read);
            }
        }
        let kept = self.maps.iter().zip(&whole).filter(|(map, _)| map.whole);
        bytes + kept.map(|(map, rows)| rows.len() * map.row_bytes).sum::<usize>()
    }

    /// Bytes of the maps that never lie in memory whole.
    pub(super) fn passing_bytes(&self) -> usize {
        self.maps.iter().filter(|map| !map.whole).map(|map| map.rows * map.row_bytes).sum()
    }

    /// Rows of the shortest map that the section computes.
    pub(super) fn least_rows(&self) -> usize {
        self.links.iter().map(|link| self.maps[link.writes].rows).min().unwrap_or(0)
    }
}

/// Both ranges and what is between them.
fn join(rows: &Range<usize>, more: &Range<usize>) -> Range<usize> {
    if rows.is_empty() { more.clone() } else { rows.start.min(more.start)..rows.end.max(more.end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(rows: usize, whole: bool) -> Map {
        Map { rows, row_bytes: 10, whole }
    }

    fn window(stride: usize, extent: usize, before: usize) -> RowWindow {
        RowWindow { stride, extent, before, repeat: 1 }
    }

    fn link(reads: &[(usize, RowWindow)], writes: usize) -> Link {
        Link { reads: reads.iter().copied().collect(), writes }
    }

    #[test]
    fn rows_that_windows_reach_back_to_are_held() {
        let three = window(1, 3, 1);
        let section = Section {
            maps: vec![map(8, true), map(8, false), map(8, true)],
            links: vec![link(&[(0, three)], 1), link(&[(1, three)], 2)],
        };
        let strips = section.strips(2);
        assert_eq!(strips[0].rows, [0..5, 0..4]);
        assert_eq!(strips[1].rows, [5..8, 4..8]);
        assert_eq!((strips[0].held[1].clone(), strips[1].held[1].clone()), (0..5, 3..8));
        assert_eq!(section.passing_bytes(), 80);
    }

    #[test]
    fn a_map_that_is_also_read_after_the_section_is_computed_to_its_last_row() {
        let section = Section {
            maps: vec![map(9, true), map(9, true), map(4, true)],
            links: vec![link(&[(0, RowWindow::SAME)], 1), link(&[(1, window(2, 2, 0))], 2)],
        };
        let strips = section.strips(4);
        assert_eq!(
            strips.iter().map(|strip| strip.rows[0].clone()).collect::<Vec<_>>(),
            [0..2, 2..4, 4..6, 6..9]
        );
    }

    proptest! {
        #[test]
        fn every_row_is_there_when_it_is_read(
            steps in prop::collection::vec((1usize..3, 1usize..5, 0usize..3, 1usize..3, 0usize..3), 1..7),
            rows in 12usize..60,
            count in 1usize..12,
        ) {
            let mut section = Section { maps: vec![map(rows, true)], links: vec![] };
            for (stride, extent, before, repeat, back) in steps {
                let from = section.maps.len() - 1 - back.min(section.maps.len() - 1);
                let height = section.maps[from].rows;
                let extent = extent.max(before + 1);
                // Windows may reach over the end, as with padding.
                let made = (height / stride).max(1) * repeat;
                section.links.push(link(&[(from, RowWindow { stride, extent, before, repeat })], section.maps.len()));
                section.maps.push(map(made, back == 1));
            }
            for map in 1..section.maps.len() {
                if section.links.iter().all(|link| link.reads[0].0 != map) {
                    section.maps[map].whole = true;
                }
            }
            let mut done = vec![0; section.maps.len()];
            done[0] = rows;
            for strip in section.strips(count) {
                for (link, rows) in section.links.iter().zip(&strip.rows) {
                    prop_assert_eq!(rows.start, done[link.writes]);
                    done[link.writes] = rows.end;
                    let (map, window) = link.reads[0];
                    if !rows.is_empty() {
                        prop_assert!(rows.start.is_multiple_of(window.repeat));
                        let (first, end) = (window.first(rows.start), window.end(rows.end));
                        prop_assert!(end.min(section.maps[map].rows) <= done[map]);
                        prop_assert!(section.maps[map].whole || first >= strip.held[map].start);
                        prop_assert!(section.maps[map].whole || strip.held[map].end == done[map]);
                    }
                }
            }
            for (map, done) in section.maps.iter().zip(done) {
                prop_assert!(!map.whole || done == map.rows);
            }
        }
    }
}

//! Offsets for buffers of known lifetime in one block of memory.

/// A buffer that is needed from step `first` to step `last`, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) bytes: usize,
}

impl Interval {
    fn meets(&self, other: &Interval) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets, multiples of `alignment`, such that buffers needed at the same time do not overlap, and the bytes this takes
/// in all; `None` where that is more than `usize` counts.
///
/// Greedy by size, as in Pisarchyk and Lee, "Efficient memory management for deep neural net inference" (2020): the largest
/// buffers first, each in the smallest gap that holds it among those it meets.
pub(super) fn pack(intervals: &[Interval], alignment: usize) -> Option<(Vec<usize>, usize)> {
    let mut order: Vec<usize> = (0..intervals.len()).filter(|&i| intervals[i].bytes > 0).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(intervals[i].bytes), intervals[i].first));
    let mut offsets = vec![0usize; intervals.len()];
    let mut total = 0usize;
    // Sorted by offset.
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    for i in order {
        let bytes = intervals[i].bytes.checked_next_multiple_of(alignment)?;
        let mut best: Option<(usize, usize)> = None;
        let mut end = 0usize;
        for &other in placed.iter().filter(|&&other| intervals[i].meets(&intervals[other])) {
            let gap = offsets[other].saturating_sub(end);
            if gap >= bytes && best.is_none_or(|(size, _)| gap < size) {
                best = Some((gap, end));
            }
            end = end.max(offsets[other] + intervals[other].bytes.next_multiple_of(alignment));
        }
        offsets[i] = best.map_or(end, |(_, offset)| offset);
        total = total.max(offsets[i].checked_add(bytes)?);
        let at = placed.partition_point(|&other| offsets[other] <= offsets[i]);
        placed.insert(at, i);
    }
    Some((offsets, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_is_taken_over_by_whoever_comes_next() {
        let interval = |first, last, bytes| Interval { first, last, bytes };
        let chain: Vec<_> = (0..10).map(|i| interval(i, i + 1, 100)).collect();
        assert_eq!(pack(&chain, 64).unwrap().1, 256);
        let nested = [interval(0, 9, 64), interval(1, 2, 640), interval(3, 4, 640)];
        assert_eq!(pack(&nested, 64).unwrap().1, 704);
        assert!(pack(&[interval(0, 0, usize::MAX)], 64).is_none());
        assert!(pack(&[interval(0, 0, usize::MAX / 2), interval(0, 0, usize::MAX / 2)], 64).is_none());
    }

    proptest! {
        #[test]
        fn buffers_in_use_at_once_never_overlap(
            raw in prop::collection::vec((0usize..40, 0usize..12, 0usize..2000), 0..60),
        ) {
            let intervals: Vec<Interval> =
                raw.iter().map(|&(first, length, bytes)| Interval { first, last: first + length, bytes }).collect();
            let (offsets, total) = pack(&intervals, 64).unwrap();
            for (i, a) in intervals.iter().enumerate() {
                prop_assert_eq!(offsets[i] % 64, 0);
                prop_assert!(offsets[i] + a.bytes <= total);
                for (j, b) in intervals.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                    prop_assert!(apart || !a.meets(b) || a.bytes == 0 || b.bytes == 0);
                }
            }
            let everything: usize = intervals.iter().map(|a| a.bytes.next_multiple_of(64)).sum();
            prop_assert!(total <= everything);
        }
    }
}

//! Size classes: four for every doubling, so that a block is at most a fifth larger than what was asked for.

/// The smallest block, and the step between the first classes.
const SMALLEST: usize = 64;

/// The largest block that has a class. Larger ones are rounded to whole pages only.
pub(super) const LARGEST: usize = 32 << 20;

/// How many classes there are.
pub(super) const CLASSES: usize = class_index(LARGEST) + 1;

/// The class of blocks that hold `len` bytes, or `None` where `len` is beyond the largest.
pub(super) fn class_of(len: usize) -> Option<usize> {
    (len <= LARGEST).then(|| class_index(len))
}

const fn class_index(len: usize) -> usize {
    if len <= 4 * SMALLEST {
        return len.saturating_sub(1) / SMALLEST;
    }
    let last = len - 1;
    let log = last.ilog2();
    let quarter = (last >> (log - 2)) & 3;
    4 + (log as usize - 8) * 4 + quarter
}

/// Bytes of a block of that class.
pub(super) fn class_size(class: usize) -> usize {
    if class < 4 {
        return (class + 1) * SMALLEST;
    }
    let log = 8 + (class - 4) / 4;
    let quarter = (class - 4) % 4;
    (1 << log) + ((quarter + 1) << (log - 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_are_multiples_of_a_cache_line_and_grow() {
        let sizes: Vec<usize> = (0..CLASSES).map(class_size).collect();
        assert_eq!(&sizes[..10], [64, 128, 192, 256, 320, 384, 448, 512, 640, 768]);
        assert!(sizes.is_sorted_by(|a, b| a < b));
        assert!(sizes.iter().all(|size| size.is_multiple_of(64)));
        assert_eq!(sizes[CLASSES - 1], LARGEST);
        for (class, &size) in sizes.iter().enumerate() {
            assert_eq!(class_of(size), Some(class));
            assert_eq!(class_of(size - 1), Some(class));
        }
        assert_eq!(class_of(0), Some(0));
        assert_eq!(class_of(LARGEST + 1), None);
    }

    proptest! {
        #[test]
        fn a_block_holds_what_was_asked_for_and_at_most_a_quarter_more(len in 0..=LARGEST) {
            let size = class_size(class_of(len).unwrap());
            prop_assert!(size >= len);
            prop_assert!(size < len + (len / 4).max(64));
        }
    }
}

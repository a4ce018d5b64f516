use super::*;
use proptest::prelude::*;

fn noise_image(seed: u32, shape: [usize; 3]) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn frame(values: &[u8], shape: [usize; 3]) -> Frame<'_, u8> {
    Frame::packed(values, shape)
}

proptest! {
    #[test]
    fn exactly_the_tiles_that_differ_are_marked(
        height in 1usize..40, width in 1usize..40, channels in 1usize..5, tile in 1usize..20,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
    ) {
        let shape = [height, width, channels];
        let before = noise_image(7, shape);
        let mut after = before.clone();
        for (index, difference) in &changes {
            let at = index.index(after.len());
            after[at] = before[at].wrapping_add(*difference);
        }
        let mut gate = ChangeGate::new(tile, Comparison::Exact);
        let all = gate.compare(Isa::SCALAR, frame(&before, shape));
        prop_assert_eq!(all, gate.mask().len());
        gate.accept(Isa::SCALAR, frame(&before, shape));
        let count = gate.compare(Isa::SCALAR, frame(&after, shape));
        let columns = gate.grid()[1];
        let mut expected = vec![0; gate.mask().len()];
        for (i, (a, b)) in before.iter().zip(&after).enumerate() {
            if a != b {
                let (y, x) = (i / channels / width, i / channels % width);
                expected[y / tile * columns + x / tile] = 1;
            }
        }
        prop_assert_eq!(gate.mask(), &expected[..]);
        prop_assert_eq!(count, expected.iter().filter(|&&mark| mark == 1).count());
        gate.accept(Isa::SCALAR, frame(&after, shape));
        prop_assert_eq!(gate.compare(Isa::SCALAR, frame(&after, shape)), 0);
    }

    #[test]
    fn luma_differences_agree_at_every_level(height in 1usize..50, width in 1usize..50, tile in 1usize..20) {
        let shape = [height, width, 1];
        let (before, after) = (noise_image(1, shape), noise_image(2, shape));
        let masks: Vec<Vec<u8>> = Isa::available().into_iter().map(|isa| {
            let mut gate = ChangeGate::new(tile, Comparison::Luma);
            gate.compare(isa, frame(&before, shape));
            gate.accept(isa, frame(&before, shape));
            gate.compare(isa, frame(&after, shape));
            gate.mask().to_vec()
        }).collect();
        prop_assert!(masks.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn rows_in_other_order_are_compared_too() {
    let shape = [20, 12, 3];
    let values = noise_image(3, shape);
    let flipped: Vec<u8> = values.chunks(36).rev().flatten().copied().collect();
    // SAFETY: from the first byte of the last row upwards, the strides reach exactly the values.
    let upside_down = unsafe { Frame::from_raw_parts(values[19 * 36..].as_ptr(), shape, [-36, 3, 1]) };
    let mut gate = ChangeGate::new(8, Comparison::Exact);
    gate.compare(Isa::SCALAR, upside_down);
    gate.accept(Isa::SCALAR, upside_down);
    assert_eq!(gate.compare(Isa::SCALAR, frame(&flipped, shape)), 0);
    assert!(gate.compare(Isa::SCALAR, frame(&values, shape)) > 0);
}

#[test]
fn a_new_size_is_all_new() {
    let mut gate = ChangeGate::new(16, Comparison::Exact);
    let values = [0; 64 * 48];
    gate.compare(Isa::SCALAR, frame(&values, [48, 64, 1]));
    gate.accept(Isa::SCALAR, frame(&values, [48, 64, 1]));
    assert_eq!(gate.compare(Isa::SCALAR, frame(&values, [64, 48, 1])), 12);
    gate.accept(Isa::SCALAR, frame(&values, [64, 48, 1]));
    assert_eq!(gate.compare(Isa::SCALAR, frame(&values, [64, 48, 1])), 0);
}

#[test]
fn noise_is_no_change_and_a_letter_is() {
    let shape = [160, 160, 1];
    let base: Vec<u8> = (0..160 * 160).map(|i| 60 + (i / 160 % 50) as u8).collect();
    let noisy = |seed| -> Vec<u8> {
        base.iter().zip(noise_image(seed, shape)).map(|(&value, noise)| value + noise % 9).collect()
    };
    let mut gate = ChangeGate::new(16, Comparison::Luma);
    let isa = vedette_simd::isa();
    gate.compare(isa, frame(&noisy(0), shape));
    gate.accept(isa, frame(&noisy(0), shape));
    for seed in 1..20 {
        assert_eq!(gate.compare(isa, frame(&noisy(seed), shape)), 0, "frame {seed}");
    }
    assert!(gate.noise() > 2.0 && gate.noise() < 4.0, "{}", gate.noise());
    let mut written = noisy(20);
    for y in 40..50 {
        for x in 64..67 {
            written[y * 160 + x] = 250;
        }
    }
    assert!(gate.compare(isa, frame(&written, shape)) >= 1);
    assert_eq!(gate.mask()[2 * 10 + 4], 1);
    let darker: Vec<u8> = noisy(21).iter().map(|value| value / 3).collect();
    assert_eq!(gate.compare(isa, frame(&darker, shape)), 100);
}

#[test]
fn scrolled_content_is_recognised_and_proven() {
    let (height, width) = (300, 200);
    let page = noise_image(5, [600, width, 3]);
    let window = |top: usize| &page[top * width * 3..(top + height) * width * 3];
    let shape = [height, width, 3];
    let mut gate = ChangeGate::new(16, Comparison::Exact);
    gate.compare(Isa::SCALAR, frame(window(100), shape));
    gate.accept(Isa::SCALAR, frame(window(100), shape));
    for top in [137, 63] {
        let now = frame(window(top), shape);
        gate.compare(Isa::SCALAR, now);
        let found = gate.moves(now);
        let distance = 100 - top as isize;
        assert_eq!(found[0].offset, [distance, 0]);
        let inside = Rectangle { top: 50, left: 3, bottom: 200, right: 199 };
        assert!(gate.equals(now, inside, [distance, 0]));
        assert!(!gate.equals(now, inside, [distance + 1, 0]));
        assert!(!gate.equals(now, Rectangle { top: 0, left: 0, bottom: 300, right: 1 }, [distance, 0]));
    }
}

#[test]
fn content_moved_sideways_is_recognised() {
    let shape = [90, 200, 3];
    let before = noise_image(9, shape);
    let mut after = noise_image(10, shape);
    for y in 0..90 {
        after[y * 600 + 75..(y + 1) * 600].copy_from_slice(&before[y * 600..(y + 1) * 600 - 75]);
    }
    let mut gate = ChangeGate::new(16, Comparison::Exact);
    gate.compare(Isa::SCALAR, frame(&before, shape));
    gate.accept(Isa::SCALAR, frame(&before, shape));
    gate.compare(Isa::SCALAR, frame(&after, shape));
    assert_eq!(gate.moves(frame(&after, shape))[0].offset, [0, 25]);
}

#[test]
fn hashes_tell_tiles_apart() {
    let shape = [50, 70, 3];
    let mut values = noise_image(4, shape);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    tile_hashes(frame(&values, shape), 16, &mut first);
    assert_eq!(first.len(), 4 * 5);
    values[49 * 210 + 209] ^= 1;
    tile_hashes(frame(&values, shape), 16, &mut second);
    assert_eq!(first[..19], second[..19]);
    assert_ne!(first[19], second[19]);
}

use super::super::packing::BLOCK;
use super::*;
use crate::epilogue::tests::numbers;

/// The sums of a tile of extreme bytes among random ones.
fn sums(kernel: &Kernel, blocks: usize, height: usize, runs: &[isize], words: usize) -> Vec<i32> {
    let byte = |x: u32| if x & 7 == 0 { 255 } else { (x >> 17) as u8 };
    let weight = |x: u32| match x & 7 {
        0 => -128,
        1 => 127,
        _ => (x >> 17) as i8,
    };
    let row_bytes = 1000;
    let rows: Vec<u8> = numbers(1, height * row_bytes).into_iter().map(byte).collect();
    let panel_bytes = runs.len() * words * BLOCK * 4;
    let panel: Vec<i8> = numbers(2, blocks * panel_bytes).into_iter().map(weight).collect();
    let start: Vec<i32> = numbers(3, blocks * BLOCK).into_iter().map(|x| x as i32).collect();
    let pointers: Vec<*const u8> =
        (0..height).map(|row| rows[row * row_bytes + row % 3..].as_ptr()).collect();
    let mut sums = vec![0i32; height * blocks * BLOCK];
    let tile = Tile {
        rows: pointers.as_ptr(),
        height,
        runs: runs.as_ptr(),
        run_count: runs.len(),
        words,
        panel: panel.as_ptr(),
        blocks,
        block_bytes: panel_bytes,
        start: start.as_ptr(),
        sums: sums.as_mut_ptr(),
        sums_stride: blocks * BLOCK,
    };
    // SAFETY: the runs end within 1000 bytes of the row's beginning; the slices have the sizes the tile says.
    unsafe { kernel.run(&tile) };
    sums
}

#[test]
fn every_kernel_and_tile_sums_as_the_oracle_does() {
    for isa in Isa::available() {
        for kernel in kernels(isa) {
            for blocks in 1..=kernel.widest() {
                for height in 1..=kernel.tallest(blocks) {
                    for (runs, words) in [(&[0][..], 1), (&[0, 64, 500], 7), (&[9, 0], 48), (&[], 3)] {
                        let found = sums(kernel, blocks, height, runs, words);
                        let expected = sums(&scalar::KERNEL, blocks, height, runs, words);
                        assert_eq!(found, expected, "{} {blocks} {height} {runs:?}", isa.name());
                    }
                }
            }
        }
    }
}

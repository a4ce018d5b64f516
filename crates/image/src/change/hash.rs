//! Hashes of pixels: 64 bits to find candidates, 128 to know content again.

use crate::Frame;

const KEYS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// One step: a full multiplication folded, so that every bit of the word reaches every bit of the state.
#[inline(always)]
pub fn mix(state: u64, word: u64, key: u64) -> u64 {
    let product = u128::from(state ^ word ^ key) * u128::from(key.rotate_left(17) | 1);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Of bytes; their number counts.
#[inline(always)]
pub fn bytes(state: u64, values: &[u8], key: u64) -> u64 {
    let (words, rest) = values.as_chunks::<8>();
    let mut state = words.iter().fold(state, |state, &word| mix(state, u64::from_le_bytes(word), key));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state = mix(state, u64::from_le_bytes(last), key);
    mix(state, values.len() as u64, key)
}

/// 128 bits for each tile, row by row.
pub fn tile_hashes(frame: Frame<'_, u8>, tile: usize, out: &mut Vec<[u64; 2]>) {
    let columns = frame.width().div_ceil(tile);
    let step = tile * frame.channels();
    out.clear();
    out.resize(frame.height().div_ceil(tile) * columns, KEYS);
    let mut scratch = Vec::new();
    for y in 0..frame.height() {
        let row = frame.row(y, &mut scratch);
        for (state, values) in out[y / tile * columns..].iter_mut().zip(row.chunks(step)) {
            *state = [bytes(state[0], values, KEYS[0]), bytes(state[1], values, KEYS[1])];
        }
    }
}

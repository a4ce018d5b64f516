//! Mixtures of pixels in whole registers, eight bytes from each corner on.

use super::bytes::{ALONG_SHIFT, DONE, DOWN_SHIFT, EASY, Places};
use crate::registers::Registers;
use vedette_simd::{Avx2, Isa, Level, call_avx2};

/// Byte shuffles of a lane of two places: of two channels each, left and right as 16-bit values side by side.
const fn masks<const C: usize>() -> [[i8; 16]; 2] {
    let mut masks = [[-1i8; 16]; 2];
    let mut channel = 0;
    while channel < C {
        let mut place = 0;
        while place < 2 {
            let at = 8 * place + 4 * (channel % 2);
            masks[channel / 2][at] = (8 * place + channel) as i8;
            masks[channel / 2][at + 2] = (8 * place + channel + C) as i8;
            place += 1;
        }
        channel += 1;
    }
    masks
}

/// The byte shuffle that brings the two pixels of a lane together, out of words packed from two channels each.
const fn order<const C: usize>() -> [i8; 16] {
    let mut order = [-1i8; 16];
    let mut byte = 0;
    while byte < 2 * C {
        let (place, channel) = (byte / C, byte % C);
        order[byte] = (2 * (channel / 2 * 4 + 2 * place + channel % 2)) as i8;
        byte += 1;
    }
    order
}

/// Mixes those of the first `count` of `pixels` whose places are easy, a register's worth at a time, and marks them as
/// done; returns how many. What stands behind them in `pixels` may be overwritten.
///
/// # Safety
/// From the corners of easy places on, eight bytes are readable in their row, `row` bytes apart, and the next.
pub unsafe fn mix<const C: usize>(
    isa: Isa,
    first: *const u8,
    row: isize,
    places: &mut Places,
    count: usize,
    pixels: &mut [[u8; C]],
) -> usize {
    // SAFETY: the level is there; the rest is the caller's promise.
    unsafe {
        match isa.level() {
            // Bringing places together takes shuffles, and wide registers leave one port for them.
            Level::Avx2 | Level::Avx512 => call_avx2(
                #[inline(always)]
                || groups::<Avx2, C>(first, row, places, count, pixels),
            ),
            _ => 0,
        }
    }
}

/// # Safety
/// As [`mix`], at the level of `R`.
#[inline(always)]
unsafe fn groups<R: Registers, const C: usize>(
    first: *const u8,
    row: isize,
    places: &mut Places,
    count: usize,
    pixels: &mut [[u8; C]],
) -> usize {
    let group = R::BYTES / 8;
    let masks = const { masks::<C>() };
    let masks = [R::lanes(&masks[0]), R::lanes(&masks[1])];
    let order = R::lanes(&const { order::<C>() });
    let half_along = R::splat32(1 << (ALONG_SHIFT - 1));
    let half_down = R::splat32(1 << (DOWN_SHIFT - 1));
    let low = R::splat32(0xffff);
    let mut done = 0;
    for start in (0..count.min(pixels.len()) / group * group).step_by(group) {
        let mut easy = true;
        for k in 0..group {
            easy &= places.state[start + k] == EASY;
        }
        if !easy {
            continue;
        }
        let offsets = &places.offsets[start..start + group];
        // Vectors go through no closure: it would be called through functions that lack the level's instructions.
        // SAFETY: the places are easy; each weight fills eight bytes.
        let (above, below, along, down) = unsafe {
            let corner = |k: usize| first.offset(*offsets.get_unchecked(k) as isize);
            (
                R::load_groups(corner),
                R::load_groups(|k| corner(k).offset(row)),
                R::load(places.along.as_ptr().add(start).cast()),
                R::load(places.down.as_ptr().add(start).cast()),
            )
        };
        let mut mixed = [R::splat16(0); 2];
        for i in 0..C.div_ceil(2) {
            let above = R::madd(R::shuffle(above, masks[i]), along);
            let below = R::madd(R::shuffle(below, masks[i]), along);
            let above = R::shift32(R::add32(above, half_along), ALONG_SHIFT);
            let below = R::shift32(R::add32(below, half_along), ALONG_SHIFT);
            let pairs = R::select(low, above, R::shift_left32(below, 16));
            mixed[i] = R::shift32(R::add32(R::madd(pairs, down), half_down), DOWN_SHIFT);
        }
        let bytes = R::shuffle(R::pack32(mixed[0], mixed[1]), order);
        // Lanes are stored whole, each over the rest of the one before.
        let behind = pixels[start..].as_flattened_mut();
        let reach = (group / 2 - 1) * 2 * C + 16;
        if reach <= behind.len() {
            // SAFETY: just checked.
            unsafe { R::store_lanes_at(behind.as_mut_ptr(), 2 * C, bytes) }
        } else {
            let mut results = [0u8; 4 * 16];
            // SAFETY: no lane reaches further than the registers' bytes.
            unsafe { R::store_lanes_at(results.as_mut_ptr(), 2 * C, bytes) }
            behind[..group * C].copy_from_slice(&results[..group * C]);
        }
        places.state[start..start + group].fill(DONE);
        done += group;
    }
    done
}

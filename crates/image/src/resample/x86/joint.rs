//! The horizontal pass over all channels of several rows at once.
//!
//! A lane of 128 bits is a row's. It holds two neighbouring pixels with each channel's samples side by side
//! (`r0 r1 g0 g1 b0 b1 a0 a1`), so that one multiplication and addition of neighbours by a weight pair that all lanes
//! share serves all channels of all rows, and no sum crosses lanes.

use super::super::plan::{HORIZONTAL_BITS, Pairs};
use crate::registers::Registers;
use std::ops::Range;

/// Rows at once.
pub const ROWS: usize = 4;
/// Results that fill a lane.
const GROUP: usize = super::super::plan::GROUP;
/// Samples of a lane, and of a pair of pixels in all rows.
const LANE: usize = 8;
const PAIR: usize = ROWS * LANE;
/// Samples of a pair of pixels before, at least.
const NARROWEST: usize = 6;
/// Samples of which whole registers and whole pairs of three or four channels can be made.
const BLOCK: usize = 384;
/// Most columns between the passes at once, and room for a row of them: a rest that would fill no register is done with
/// them, and the last lane is read whole.
const MAX_COLUMNS: usize = 8 * BLOCK;
const ROOM: usize = MAX_COLUMNS + REGISTER + PAIR;
/// Bytes of a register, at most.
const REGISTER: usize = 64;
/// Bytes that columns at once take: the rows they are made of and what they become lie in a core's first cache then.
const CLOSE: usize = 28 << 10;

/// How rows are taken: some columns after the other.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    at_once: usize,
    channels: usize,
    len: usize,
}

impl Columns {
    /// Of rows of `len` samples, with so many a pixel, that `span` rows of the input are read for.
    pub fn new(span: usize, channels: usize, len: usize) -> Columns {
        let at_once = CLOSE / (span + ROWS * size_of::<i16>()) / BLOCK * BLOCK;
        Columns { at_once: at_once.clamp(BLOCK, MAX_COLUMNS), channels, len }
    }

    /// Samples a pixel.
    pub fn channels(self) -> usize {
        self.channels
    }

    /// Those from that of a pair on.
    pub fn from(self, pair: usize) -> Range<usize> {
        let start = (pair * 2 * self.channels).min(self.len);
        // A rest that fills no register would be done one by one.
        let end = if self.len - start < self.at_once + REGISTER { self.len } else { start + self.at_once };
        start..end
    }
}

/// Samples that rows between the passes need room for.
pub const ROWS_ROOM: usize = ROWS * ROOM;

/// The place of a row's columns among them.
pub const fn row_place(row: usize) -> usize {
    row * ROOM
}

/// Samples that pairs need room for.
pub fn pairs_room(plan: &Pairs) -> usize {
    (ROOM / NARROWEST + plan.span + plan.count) * PAIR
}

/// What lies between the passes, and where results go.
#[derive(Clone, Copy)]
pub struct Places {
    /// Some columns of rows of interleaved pixels.
    pub rows: *const i16,
    /// Pairs of pixels, each of all rows.
    pub pairs: *mut i16,
    /// The results of each channel of the first row.
    pub planes: [Option<*mut i16>; 4],
    /// Results from row to row.
    pub pitch: usize,
}

/// The horizontal pass over rows of pixels of `CHANNELS` samples, `PARTS` registers for their lanes. `make` makes these columns
/// of the rows.
///
/// # Safety
/// Reached at the level of `R`; rows and pairs with [`ROWS_ROOM`] and [`pairs_room`], planes of every row writable for whole
/// groups of outputs.
#[inline(always)]
pub unsafe fn joint<R: Registers, const CHANNELS: usize, const PARTS: usize>(
    plan: &Pairs,
    columns: Columns,
    places: Places,
    make: &mut dyn FnMut(Range<usize>),
) {
    let by_sample = R::lanes(&sample_order(CHANNELS));
    let groups = plan.starts.as_chunks::<GROUP>().0;
    // Columns may be stored back to front.
    let backwards = plan.starts.first() > plan.starts.last();
    let place = |i: usize| if backwards { groups.len() - 1 - i } else { i };
    let bounds = |i: usize| {
        let starts = &groups[place(i)];
        (starts[0].min(starts[GROUP - 1]), starts[0].max(starts[GROUP - 1]) + plan.count)
    };
    // Pairs from `kept` to `made` are there.
    let (mut kept, mut made, mut done) = (0, 0, 0);
    while done < groups.len() {
        // What the columns before these have of the next group comes first.
        let start = bounds(done).0.min(made);
        for pair in start..made {
            for part in 0..PARTS {
                // SAFETY: both places lie within the room for pairs.
                unsafe {
                    let from = places.pairs.add((pair - kept) * PAIR).cast::<u8>().add(part * R::BYTES);
                    let to = places.pairs.add((pair - start) * PAIR).cast::<u8>().add(part * R::BYTES);
                    R::store(to, R::load(from));
                }
            }
        }
        kept = start;
        let next = columns.from(made);
        let count = next.len().div_ceil(2 * CHANNELS);
        let last = next.end == columns.len;
        make(next);
        let (mut from, mut to) = (places.rows, places.pairs.wrapping_add((made - kept) * PAIR));
        for _ in 0..count {
            for part in 0..PARTS {
                // SAFETY: the columns are there, and room for the lane of the last pair.
                unsafe {
                    let pixels = R::load_lanes(
                        #[inline(always)]
                        |lane| from.add(row_place(part * R::BYTES / 16 + lane)).cast(),
                    );
                    R::store(to.cast::<u8>().add(part * R::BYTES), R::shuffle(pixels, by_sample));
                }
            }
            (from, to) = (from.wrapping_add(2 * CHANNELS), to.wrapping_add(PAIR));
        }
        made += count;
        // Behind the last pair there are only weights of zero.
        while done < groups.len() && (last || bounds(done).1 <= made) {
            let pairs = places.pairs.wrapping_sub(kept * PAIR);
            // SAFETY: planes and weights are there for whole groups, and the group's pairs were just made.
            unsafe { any_group::<R, PARTS>(plan, &places, pairs, place(done)) }
            done += 1;
        }
    }
}

/// A group of outputs of [`joint`].
///
/// # Safety
/// As there, its pairs in place.
#[inline(always)]
unsafe fn any_group<R: Registers, const PARTS: usize>(
    plan: &Pairs,
    places: &Places,
    pairs: *const i16,
    group: usize,
) {
    // SAFETY: as the caller grants.
    unsafe {
        match plan.count {
            2 => one_group::<R, PARTS, 2>(plan, places, pairs, group),
            3 => one_group::<R, PARTS, 3>(plan, places, pairs, group),
            4 => one_group::<R, PARTS, 4>(plan, places, pairs, group),
            5 => one_group::<R, PARTS, 5>(plan, places, pairs, group),
            6 => one_group::<R, PARTS, 6>(plan, places, pairs, group),
            8 => one_group::<R, PARTS, 8>(plan, places, pairs, group),
            10 => one_group::<R, PARTS, 10>(plan, places, pairs, group),
            _ => one_group::<R, PARTS, { usize::MAX }>(plan, places, pairs, group),
        }
    }
}

/// [`any_group`] of outputs of `COUNT` pairs, any number at its maximum.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn one_group<R: Registers, const PARTS: usize, const COUNT: usize>(
    plan: &Pairs,
    places: &Places,
    pairs: *const i16,
    group: usize,
) {
    let count = if COUNT == usize::MAX { plan.count } else { COUNT };
    let by_channel = R::lanes(&CHANNEL_ORDER);
    let half = R::splat32(1 << (HORIZONTAL_BITS - 1));
    let starts = &plan.starts.as_chunks::<GROUP>().0[group];
    let weights = plan.weights[group * GROUP * count..].as_ptr();
    // Two outputs a register, channel by channel.
    let mut twos = [[half; GROUP / 2]; PARTS];
    for i in 0..GROUP / 2 {
        let mut sums = [[half; 2]; PARTS];
        for k in 0..2 {
            let from = pairs.wrapping_add(starts[2 * i + k] * PAIR);
            for pair in 0..count {
                // SAFETY: `count` pairs from the start on are there, and as many weights an output.
                unsafe {
                    let weight = R::splat32(*weights.add((2 * i + k) * count + pair));
                    for (part, sums) in sums.iter_mut().enumerate() {
                        let values = R::load(from.add(pair * PAIR).cast::<u8>().add(part * R::BYTES));
                        sums[k] = R::add32(sums[k], R::madd(values, weight));
                    }
                }
            }
        }
        for (twos, sums) in twos.iter_mut().zip(sums) {
            let [first, second] =
                [R::shift32(sums[0], HORIZONTAL_BITS), R::shift32(sums[1], HORIZONTAL_BITS)];
            twos[i] = R::shuffle(R::pack32(first, second), by_channel);
        }
    }
    for (part, two) in twos.into_iter().enumerate() {
        let first = [R::unpack_low32(two[0], two[1]), R::unpack_high32(two[0], two[1])];
        let second = [R::unpack_low32(two[2], two[3]), R::unpack_high32(two[2], two[3])];
        let channels = [
            R::unpack_low64(first[0], second[0]),
            R::unpack_high64(first[0], second[0]),
            R::unpack_low64(first[1], second[1]),
            R::unpack_high64(first[1], second[1]),
        ];
        for (values, plane) in channels.into_iter().zip(places.planes) {
            if let Some(plane) = plane {
                // SAFETY: planes are writable for whole groups.
                unsafe {
                    let to = plane.add(part * R::BYTES / 16 * places.pitch + group * GROUP);
                    R::store_lanes_at(to.cast(), 2 * places.pitch, values);
                }
            }
        }
    }
}

/// Where the bytes of two pixels' 16-bit samples go: each channel's two side by side.
const fn sample_order(channels: usize) -> [i8; 16] {
    let mut order = [-1; 16];
    let mut byte = 0;
    while byte < 4 * channels {
        let (channel, sample) = (byte / 4, byte / 2 % 2);
        order[byte] = (2 * (sample * channels + channel) + byte % 2) as i8;
        byte += 1;
    }
    order
}

/// The same for two pixels of four samples, as results are.
const CHANNEL_ORDER: [i8; 16] = sample_order(4);

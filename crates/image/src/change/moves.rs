//! Content that moved by whole rows or columns: rows that are equal and unlike any other vote for their distance.

use super::hash;
use crate::Frame;
use std::collections::HashMap;

/// A distance content may have moved over, down and to the right, and how many rows or columns say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Rows and columns.
    pub offset: [isize; 2],
    /// Rows (or columns) of strips that agree.
    pub votes: usize,
}

/// Tiles across a strip. Narrow enough that a scroll bar or a page beside the moved one spoils few of them.
const STRIP_TILES: usize = 4;
const LEAST_VOTES: usize = 12;
const MOST_MOVES: usize = 3;
const KEY: u64 = 0xa076_1d64_78bd_642f;

/// Likely moves, the best first; columns are looked at only where rows say nothing.
pub fn moves(frame: Frame<'_, u8>, reference: Frame<'_, u8>, mask: &[u8], tile: usize) -> Vec<Move> {
    let (height, width) = (frame.height(), frame.width());
    let columns = width.div_ceil(tile);
    let rows = mask.len() / columns.max(1);
    let mut votes = HashMap::new();
    for strip in (0..columns).step_by(STRIP_TILES) {
        let strip_end = (strip + STRIP_TILES).min(columns);
        let marked = |row: usize| mask[row * columns + strip..row * columns + strip_end].contains(&1);
        let (Some(first), Some(last)) =
            ((0..rows).find(|&row| marked(row)), (0..rows).rfind(|&row| marked(row)))
        else {
            continue;
        };
        if last == first {
            continue;
        }
        let lines = first * tile..((last + 1) * tile).min(height);
        let across = strip * tile..(strip_end * tile).min(width);
        let now: Vec<_> = lines.clone().map(|y| row_hash(&frame, y, across.clone())).collect();
        let before: Vec<_> = lines.map(|y| row_hash(&reference, y, across.clone())).collect();
        vote(&before, &now, &mut votes);
    }
    let vertical = ranked(votes, |distance| [distance, 0]);
    if !vertical.is_empty() {
        return vertical;
    }
    let mut votes = HashMap::new();
    for strip in (0..rows).step_by(STRIP_TILES) {
        let strip_end = (strip + STRIP_TILES).min(rows);
        let marked = |column: usize| (strip..strip_end).any(|row| mask[row * columns + column] == 1);
        let (Some(first), Some(last)) =
            ((0..columns).find(|&column| marked(column)), (0..columns).rfind(|&column| marked(column)))
        else {
            continue;
        };
        if last == first {
            continue;
        }
        let across = first * tile..((last + 1) * tile).min(width);
        let lines = strip * tile..(strip_end * tile).min(height);
        let now = column_hashes(&frame, lines.clone(), across.clone());
        let before = column_hashes(&reference, lines, across);
        vote(&before, &now, &mut votes);
    }
    ranked(votes, |distance| [0, distance])
}

/// The hash of part of a row; none where all of its pixels are alike, as they are between lines of text.
fn row_hash(frame: &Frame<'_, u8>, y: usize, across: std::ops::Range<usize>) -> Option<u64> {
    let channels = frame.channels();
    let mut scratch = Vec::new();
    let row = &frame.row(y, &mut scratch)[across.start * channels..across.end * channels];
    if row[channels..] == row[..row.len() - channels] { None } else { Some(hash::bytes(KEY, row, KEY)) }
}

fn column_hashes(
    frame: &Frame<'_, u8>,
    lines: std::ops::Range<usize>,
    across: std::ops::Range<usize>,
) -> Vec<Option<u64>> {
    let channels = frame.channels();
    let pixel = |row: &[u8], x: usize| {
        let mut word = [0; 8];
        word[..channels].copy_from_slice(&row[x * channels..(x + 1) * channels]);
        u64::from_le_bytes(word)
    };
    let mut scratch = Vec::new();
    let first: Vec<u64> = {
        let row = frame.row(lines.start, &mut scratch);
        across.clone().map(|x| pixel(row, x)).collect()
    };
    let mut states = vec![(KEY, false); first.len()];
    for y in lines {
        let row = frame.row(y, &mut scratch);
        for ((state, &start), x) in states.iter_mut().zip(&first).zip(across.clone()) {
            let word = pixel(row, x);
            *state = (hash::mix(state.0, word, KEY), state.1 | (word != start));
        }
    }
    states.into_iter().map(|(state, varies)| varies.then_some(state)).collect()
}

/// Lines that occur once before and once now vote for the distance between the two.
fn vote(before: &[Option<u64>], now: &[Option<u64>], votes: &mut HashMap<isize, usize>) {
    let places = places(before);
    let occurrences = self::places(now);
    for (hash, &place) in &occurrences {
        if let (Some(now), Some(Some(before))) = (place, places.get(hash))
            && now != *before
        {
            *votes.entry(now as isize - *before as isize).or_insert(0) += 1;
        }
    }
}

/// Where each hash occurs, none where it does more than once.
fn places(hashes: &[Option<u64>]) -> HashMap<u64, Option<usize>> {
    let mut places = HashMap::with_capacity(hashes.len());
    for (index, hash) in hashes.iter().enumerate() {
        if let Some(hash) = hash {
            places.entry(*hash).and_modify(|place| *place = None).or_insert(Some(index));
        }
    }
    places
}

fn ranked(votes: HashMap<isize, usize>, offset: impl Fn(isize) -> [isize; 2]) -> Vec<Move> {
    let mut found: Vec<Move> = votes
        .into_iter()
        .filter(|&(_, votes)| votes >= LEAST_VOTES)
        .map(|(distance, votes)| Move { offset: offset(distance), votes })
        .collect();
    found.sort_by_key(|found| (std::cmp::Reverse(found.votes), found.offset));
    found.truncate(MOST_MOVES);
    found
}

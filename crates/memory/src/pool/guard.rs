//! The debug mode: fresh blocks hold a pattern, a canary stands behind each, and released blocks are kept aside for a
//! while to see whether somebody still writes to them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use super::Block;
use crate::lock::lock;

/// What a block holds when it is acquired: reading it before writing shows.
pub const UNWRITTEN: u8 = 0xa5;
/// What stands behind the bytes that were asked for.
pub const CANARY: u8 = 0xfb;
/// What a block holds after its release.
pub const RELEASED: u8 = 0xdd;

/// Bytes of canary behind every block, at least.
pub(super) const TAIL: usize = 64;

const QUARANTINE_BYTES: usize = 32 << 20;
const MOST_VIOLATIONS: usize = 1000;

/// Somebody wrote where they had no right to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What happened.
    pub kind: ViolationKind,
    /// Bytes that were asked for.
    pub size: usize,
    /// The first byte that was wrongly written, counted from the start of the block.
    pub offset: usize,
}

/// The ways to write to memory that is not one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// Past the end of the block.
    Overrun,
    /// After the block was released.
    UseAfterRelease,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.kind {
            ViolationKind::Overrun => "past its end",
            ViolationKind::UseAfterRelease => "after its release",
        };
        write!(f, "a block of {} bytes was written {how}, at byte {}", self.size, self.offset)
    }
}

pub(super) struct Guard {
    owner_pid: u32,
    quarantine: Mutex<Quarantine>,
    violations: Mutex<Vec<Violation>>,
}

#[derive(Default)]
struct Quarantine {
    blocks: VecDeque<(Block, usize)>,
    bytes: usize,
}

impl Guard {
    pub(super) fn new(owner_pid: u32) -> Guard {
        Guard { owner_pid, quarantine: Mutex::default(), violations: Mutex::default() }
    }

    pub(super) fn prepare(&self, block: &mut Block, len: usize) {
        let (used, tail) = block.buffer.as_mut_slice().split_at_mut(len);
        used.fill(UNWRITTEN);
        tail.fill(CANARY);
    }

    /// Checks and poisons a released block and puts it aside; returns those that have been aside long enough.
    pub(super) fn retire(&self, mut block: Block, len: usize) -> (Vec<Block>, Option<Violation>) {
        let tail = &block.buffer.as_slice()[len..];
        let violation = tail.iter().position(|&byte| byte != CANARY).map(|at| Violation {
            kind: ViolationKind::Overrun,
            size: len,
            offset: len + at,
        });
        if let Some(violation) = &violation {
            self.record(violation.clone());
        }
        block.buffer.as_mut_slice().fill(RELEASED);
        let Some(mut quarantine) = lock(&self.quarantine, self.owner_pid) else {
            return (vec![block], violation);
        };
        quarantine.bytes += block.capacity();
        quarantine.blocks.push_back((block, len));
        let over = quarantine.bytes.saturating_sub(QUARANTINE_BYTES);
        let leaving = quarantine.take(over);
        drop(quarantine);
        (self.inspect(leaving), violation)
    }

    /// Ends the quarantine of the oldest `wanted` bytes.
    pub(super) fn dismiss(&self, wanted: usize) -> Vec<Block> {
        let leaving = lock(&self.quarantine, self.owner_pid).map(|mut quarantine| quarantine.take(wanted));
        self.inspect(leaving.unwrap_or_default())
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        lock(&self.violations, self.owner_pid).map(|list| list.clone()).unwrap_or_default()
    }

    /// Adds the bytes in quarantine, by what `class` says of a block's size, to `bytes`.
    pub(super) fn count_into(&self, bytes: &mut [usize], class: impl Fn(usize) -> usize) {
        if let Some(quarantine) = lock(&self.quarantine, self.owner_pid) {
            for (block, _) in &quarantine.blocks {
                bytes[class(block.capacity())] += block.capacity();
            }
        }
    }

    fn inspect(&self, leaving: Vec<(Block, usize)>) -> Vec<Block> {
        leaving
            .into_iter()
            .map(|(block, size)| {
                if let Some(offset) = block.buffer.as_slice().iter().position(|&byte| byte != RELEASED) {
                    self.record(Violation { kind: ViolationKind::UseAfterRelease, size, offset });
                }
                block
            })
            .collect()
    }

    fn record(&self, violation: Violation) {
        if let Some(mut list) = lock(&self.violations, self.owner_pid)
            && list.len() < MOST_VIOLATIONS
        {
            list.push(violation);
        }
    }
}

impl Quarantine {
    fn take(&mut self, wanted: usize) -> Vec<(Block, usize)> {
        let mut taken = Vec::new();
        let mut found = 0;
        while found < wanted
            && let Some((block, len)) = self.blocks.pop_front()
        {
            found += block.capacity();
            taken.push((block, len));
        }
        self.bytes -= found;
        taken
    }
}

//! The order of steps that keeps the fewest bytes alive at once.

use smallvec::SmallVec;
use std::collections::BTreeSet;

/// What a step means to memory.
pub(super) struct Need {
    /// Buffers it reads and writes, each once.
    pub(super) reads: SmallVec<[usize; 4]>,
    pub(super) writes: SmallVec<[usize; 1]>,
    pub(super) scratch_bytes: usize,
}

/// An order in which fewer bytes are alive at the worst step than in the one given, if there is such: whatever frees at
/// least as much as it makes goes as soon as it can. `bytes` are those of every buffer, `kept` those that outlive all
/// steps.
///
/// Of two readers of one large map, say, the pooling that takes the map's place is better done before the convolution
/// that makes another.
pub(super) fn frugal_order(needs: &[Need], bytes: &[usize], kept: &[bool]) -> Option<Vec<usize>> {
    let mut readers = vec![SmallVec::<[usize; 4]>::new(); bytes.len()];
    let mut writer = vec![None; bytes.len()];
    for (step, need) in needs.iter().enumerate() {
        need.reads.iter().for_each(|&id| readers[id].push(step));
        need.writes.iter().for_each(|&id| writer[id] = Some(step));
    }
    let mut unread: Vec<usize> = readers.iter().map(SmallVec::len).collect();
    let inputs = |need: &Need| need.reads.iter().filter(|&&id| writer[id].is_some()).count();
    let mut waiting: Vec<usize> = needs.iter().map(inputs).collect();
    let mut ready: BTreeSet<usize> = (0..needs.len()).filter(|&step| waiting[step] == 0).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(&first) = ready.first() {
        let frees_as_much = |&&step: &&usize| {
            let dying = needs[step].reads.iter().filter(|&&id| unread[id] == 1 && !kept[id]);
            let freed: usize = dying.map(|&id| bytes[id]).sum();
            freed > 0 && freed >= needs[step].writes.iter().map(|&id| bytes[id]).sum()
        };
        let step = ready.iter().find(frees_as_much).copied().unwrap_or(first);
        ready.remove(&step);
        order.push(step);
        needs[step].reads.iter().for_each(|&id| unread[id] -= 1);
        for &reader in needs[step].writes.iter().flat_map(|&id| &readers[id]) {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    let given: Vec<usize> = (0..needs.len()).collect();
    let better =
        order.len() == needs.len() && peak(needs, bytes, kept, &order) < peak(needs, bytes, kept, &given);
    better.then_some(order)
}

/// The most bytes alive at once.
fn peak(needs: &[Need], bytes: &[usize], kept: &[bool], order: &[usize]) -> usize {
    let mut unread = vec![0usize; bytes.len()];
    needs.iter().flat_map(|need| &need.reads).for_each(|&id| unread[id] += 1);
    let (mut alive, mut peak) = (0usize, 0usize);
    for &step in order {
        let need = &needs[step];
        alive = need.writes.iter().fold(alive, |sum, &id| sum.saturating_add(bytes[id]));
        peak = peak.max(alive.saturating_add(need.scratch_bytes));
        for &id in &need.reads {
            unread[id] -= 1;
        }
        let ends = |id: &&usize| unread[**id] == 0 && !kept[**id];
        alive -= need.reads.iter().chain(&need.writes).filter(ends).map(|&id| bytes[id]).sum::<usize>();
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn need(reads: &[usize], writes: usize) -> Need {
        Need { reads: SmallVec::from_slice(reads), writes: smallvec![writes], scratch_bytes: 0 }
    }

    #[test]
    fn a_reader_that_takes_a_map_s_place_goes_before_one_that_makes_another() {
        // The map 0 is convolved (1), that again (2), and pooled (3); 2 and 3 are then joined.
        let needs = [need(&[], 0), need(&[0], 1), need(&[1], 2), need(&[0], 3), need(&[2, 3], 4)];
        let bytes = [50, 25, 50, 50, 12];
        let kept = [false, false, false, false, true];
        assert_eq!(peak(&needs, &bytes, &kept, &[0, 1, 2, 3, 4]), 150);
        assert_eq!(frugal_order(&needs, &bytes, &kept), Some(vec![0, 1, 3, 2, 4]));
        assert_eq!(peak(&needs, &bytes, &kept, &[0, 1, 3, 2, 4]), 125);
    }

    #[test]
    fn an_order_that_saves_nothing_stays() {
        let needs = [need(&[], 0), need(&[0], 1), need(&[1], 2)];
        assert_eq!(frugal_order(&needs, &[8, 8, 8], &[false, false, true]), None);
        let kept_to_the_end = [need(&[], 0), need(&[0], 1), need(&[0], 2)];
        assert_eq!(frugal_order(&kept_to_the_end, &[8, 8, 8], &[true; 3]), None);
    }
}

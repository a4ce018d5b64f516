use vedette_runtime::ThreadPool;
use vedette_simd::{Isa, Simd, dispatch};

/// Classes looked at before the best of them is remembered: small enough to be found again in the first-level cache.
const BLOCK: usize = 1024;

/// Values below which another thread costs more than it saves.
const VALUES_PER_PART: usize = 1 << 18;

/// For each row of `classes` values, the index of its largest value (the first of equals) and that value.
///
/// Values that are not numbers are passed over; a row of nothing else gives class 0 and the value -infinity.
///
/// # Panics
/// Where the lengths disagree.
pub fn best_classes(
    isa: Isa,
    values: &[f32],
    classes: usize,
    indices: &mut [u32],
    scores: &mut [f32],
    pool: &ThreadPool,
) {
    assert_eq!(values.len(), indices.len() * classes);
    assert_eq!(indices.len(), scores.len());
    if classes == 0 || indices.is_empty() {
        return;
    }
    let parts = (values.len() / VALUES_PER_PART).clamp(1, pool.threads());
    let rows = indices.len().div_ceil(parts);
    let jobs: Vec<_> = values
        .chunks(rows * classes)
        .zip(indices.chunks_mut(rows).zip(scores.chunks_mut(rows)))
        .map(std::sync::Mutex::new)
        .collect();
    pool.run(jobs.len(), |job| {
        let Ok(mut job) = jobs[job].lock() else { unreachable!("each job is locked once") };
        let (values, (indices, scores)) = &mut *job;
        for (row, (index, score)) in
            values.chunks_exact(classes).zip(indices.iter_mut().zip(scores.iter_mut()))
        {
            (*index, *score) = dispatch!(isa, S => best_class::<S>(row));
        }
    });
}

#[inline(always)]
fn best_class<S: Simd>(row: &[f32]) -> (u32, f32) {
    let (mut best, mut holder) = (f32::NEG_INFINITY, None);
    for (number, block) in row.chunks(BLOCK).enumerate() {
        let largest = largest::<S>(block);
        if largest > best {
            (best, holder) = (largest, Some(number));
        }
    }
    let Some(number) = holder else { return (0, best) };
    let start = number * BLOCK;
    let within = row[start..].iter().position(|&value| value == best).unwrap_or(0);
    ((start + within) as u32, best)
}

#[inline(always)]
fn largest<S: Simd>(block: &[f32]) -> f32 {
    // Four independent chains hide the latency of the maximum.
    let mut best = [S::splat(f32::NEG_INFINITY); 4];
    let mut groups = block.chunks_exact(4 * S::LANES);
    for group in &mut groups {
        for (i, best) in best.iter_mut().enumerate() {
            // SAFETY: a group has four registers' values.
            let values = unsafe { S::load(group.as_ptr().add(i * S::LANES)) };
            // In this order a value that is not a number leaves the maximum as it was.
            *best = S::max(values, *best);
        }
    }
    let [a, b, c, d] = best;
    let start = S::max_lane(S::max(S::max(a, b), S::max(c, d)));
    groups.remainder().iter().copied().fold(start, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oracle(row: &[f32]) -> (u32, f32) {
        row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (index, &value)| {
            if value > best.1 { (index as u32, value) } else { best }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_a_plain_search(
            classes in 1..3000usize,
            rows in 1..6usize,
            seed in any::<u64>(),
            levels in 1..200u64,
        ) {
            let mut state = seed | 1;
            let values: Vec<f32> = (0..rows * classes)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    if state % 97 == 0 { f32::NAN } else { (state % levels) as f32 - 20.0 }
                })
                .collect();
            for isa in Isa::available() {
                let (mut indices, mut scores) = (vec![0; rows], vec![0.0; rows]);
                best_classes(isa, &values, classes, &mut indices, &mut scores, &ThreadPool::new(2));
                for (row, got) in values.chunks(classes).zip(indices.into_iter().zip(scores)) {
                    prop_assert_eq!(oracle(row), got);
                }
            }
        }
    }

    #[test]
    fn many_rows_are_shared_between_threads() {
        let (rows, classes) = (100, 18_710);
        let values: Vec<f32> = (0..rows * classes).map(|i| ((i * 7919) % 104_729) as f32).collect();
        let (mut indices, mut scores) = (vec![0; rows], vec![0.0; rows]);
        best_classes(vedette_simd::isa(), &values, classes, &mut indices, &mut scores, &ThreadPool::new(3));
        for (row, got) in values.chunks(classes).zip(indices.into_iter().zip(scores)) {
            assert_eq!(oracle(row), got);
        }
    }
}

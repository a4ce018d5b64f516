//! Counts of levels, and the threshold that parts them best.

use crate::Frame;
use vedette_runtime::ThreadPool;

/// Rows a thread counts at least.
const ROWS_PER_PART: usize = 128;

/// How often each level occurs in one channel.
///
/// # Panics
/// Where the image has no such channel.
pub fn histogram(image: Frame<'_, u8>, channel: usize, pool: &ThreadPool) -> [u64; 256] {
    assert!(channel < image.channels() || image.is_empty());
    let total = std::sync::Mutex::new([0u64; 256]);
    pool.run_ranges(image.height(), ROWS_PER_PART, 1, |range| {
        // Four tables, so that runs of one level do not wait for their own last count.
        let mut counts = [[0u32; 256]; 4];
        let mut scratch = Vec::new();
        let mut sums = [0u64; 256];
        for y in range {
            let row = image.row(y, &mut scratch);
            for (i, pixel) in row.chunks_exact(image.channels()).enumerate() {
                counts[i % 4][usize::from(pixel[channel])] += 1;
            }
            // A table counts far fewer than 2^32 pixels between two rows.
            for table in &mut counts {
                for (sum, count) in sums.iter_mut().zip(table) {
                    *sum += u64::from(std::mem::take(count));
                }
            }
        }
        let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (sum, own) in total.iter_mut().zip(sums) {
            *sum += own;
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The level with the greatest variance between the levels up to it and those above (Otsu, "A Threshold Selection
/// Method from Gray-Level Histograms", 1979), the lowest of several.
pub fn otsu(counts: &[u64; 256]) -> u8 {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return 0;
    }
    let scale = 1.0 / total as f64;
    let mean: f64 =
        counts.iter().enumerate().map(|(level, &count)| level as f64 * count as f64).sum::<f64>() * scale;
    let (mut best, mut greatest) = (0, 0.0);
    let (mut below, mut mean_below) = (0.0, 0.0);
    for (level, &count) in counts.iter().enumerate() {
        let share = count as f64 * scale;
        mean_below *= below;
        below += share;
        let above = 1.0 - below;
        if below.min(above) < f64::from(f32::EPSILON) || below.max(above) > 1.0 - f64::from(f32::EPSILON) {
            continue;
        }
        mean_below = (mean_below + level as f64 * share) / below;
        let mean_above = (mean - below * mean_below) / above;
        let variance = below * above * (mean_below - mean_above) * (mean_below - mean_above);
        if variance > greatest {
            (best, greatest) = (level as u8, variance);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_pixel_and_parts_two_heaps() {
        let pixels: Vec<u8> = (0..300 * 200)
            .map(|i| if i % 3 == 0 { 200 + (i % 7) as u8 } else { 20 + (i % 11) as u8 })
            .collect();
        for threads in [1, 2] {
            let counts = histogram(Frame::packed(&pixels, [300, 200, 1]), 0, &ThreadPool::new(threads));
            assert_eq!(counts.iter().sum::<u64>(), 300 * 200);
            assert_eq!(counts[200], pixels.iter().filter(|&&pixel| pixel == 200).count() as u64);
            assert_eq!(otsu(&counts), 30);
        }
        assert_eq!(otsu(&[0; 256]), 0);
    }
}

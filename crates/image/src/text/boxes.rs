use super::RotatedRectangle;
use image::GrayImage;
use imageproc::contours::{BorderType, find_contours};

/// How a map of text probabilities becomes boxes (Liao et al., "Real-time Scene Text Detection with Differentiable
/// Binarization", 2020, section 3.5).
#[derive(Clone, Copy, Debug)]
pub struct BoxOptions {
    /// Probability above which a place belongs to text.
    pub threshold: f32,
    /// Least mean probability inside a box.
    pub box_threshold: f32,
    /// A box is expanded by `area * unclip_ratio / perimeter`, as the network is trained on shrunken boxes.
    pub unclip_ratio: f64,
    /// Least side of a box, in places of the map, before it is expanded.
    pub min_side: f64,
    /// Most regions looked at.
    pub max_candidates: usize,
    /// Whether regions grow by one place to the right and below first, which joins the letters of small text.
    pub dilate: bool,
}

/// One line of text on the map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextBox {
    /// Top left, top right, bottom right, bottom left, as `[x, y]`.
    pub corners: [[f64; 2]; 4],
    /// Mean probability inside, before it was expanded.
    pub score: f32,
}

/// The text boxes of a probability map of `height` rows.
///
/// # Panics
/// Where the map is not a whole number of rows.
pub fn find_text_boxes(map: &[f32], height: usize, options: &BoxOptions) -> Vec<TextBox> {
    if map.is_empty() {
        return Vec::new();
    }
    let width = map.len() / height;
    assert_eq!(map.len(), width * height);
    let mask = binarize(map, width, options);
    find_contours::<i32>(&mask)
        .into_iter()
        .filter(|contour| contour.border_type == BorderType::Outer)
        .take(options.max_candidates)
        .filter_map(|contour| {
            let mut rectangle = RotatedRectangle::around(&contour.points)?;
            rectangle.center = rectangle.center.map(|position| position - 1.0);
            let [a, b] = rectangle.sides;
            if a.min(b) < options.min_side {
                return None;
            }
            let score = mean_inside(map, width, &rectangle.corners());
            if score < options.box_threshold {
                return None;
            }
            let distance = a * b * options.unclip_ratio / (2.0 * (a + b));
            Some(TextBox { corners: rectangle.expanded(distance).corners(), score })
        })
        .collect()
}

/// The places above the threshold, with a margin of one empty place on every side: `find_contours` takes a region
/// that touches the left border of the image for a hole.
fn binarize(map: &[f32], width: usize, options: &BoxOptions) -> GrayImage {
    let (height, stride) = (map.len() / width, width + 2);
    let mut mask = vec![0u8; (height + 2) * stride];
    for (row, mask) in map.chunks_exact(width).zip(mask.chunks_exact_mut(stride).skip(1)) {
        for (mask, &probability) in mask[1..].iter_mut().zip(row) {
            *mask = u8::from(probability > options.threshold);
        }
    }
    if options.dilate {
        // Backwards, so that what a place takes from its left and upper neighbours is still undilated.
        for y in (1..=height).rev() {
            for x in (1..=width).rev() {
                let at = y * stride + x;
                mask[at] |= mask[at - 1] | mask[at - stride] | mask[at - stride - 1];
            }
        }
    }
    match GrayImage::from_raw(stride as u32, height as u32 + 2, mask) {
        Some(image) => image,
        None => unreachable!("the mask is as large as the image"),
    }
}

/// Mean of the places whose centres lie in a convex quadrilateral, its border included.
fn mean_inside(map: &[f32], width: usize, corners: &[[f64; 2]; 4]) -> f32 {
    let height = map.len() / width;
    let top = corners.iter().map(|corner| corner[1]).fold(f64::INFINITY, f64::min);
    let bottom = corners.iter().map(|corner| corner[1]).fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut count) = (0.0f64, 0usize);
    let first = top.round().clamp(0.0, (height - 1) as f64) as usize;
    let last = bottom.round().clamp(0.0, (height - 1) as f64) as usize;
    for y in first..=last {
        // The outermost rows are those nearest to the corners, which may lie up to half a place beyond them.
        let level = (y as f64).clamp(top, bottom);
        let (mut left, mut right) = (f64::INFINITY, f64::NEG_INFINITY);
        for i in 0..4 {
            let (from, to) = (corners[i], corners[(i + 1) % 4]);
            if level < from[1].min(to[1]) || level > from[1].max(to[1]) {
                continue;
            }
            let crossing = if from[1] == to[1] {
                [from[0], to[0]]
            } else {
                [from[0] + (to[0] - from[0]) * (level - from[1]) / (to[1] - from[1]); 2]
            };
            left = left.min(crossing[0].min(crossing[1]));
            right = right.max(crossing[0].max(crossing[1]));
        }
        if left > right {
            continue;
        }
        let edge = (width - 1) as f64;
        let (left, right) = (left.round().clamp(0.0, edge) as usize, right.round().clamp(0.0, edge) as usize);
        let row = &map[y * width + left..=y * width + right];
        sum += row.iter().map(|&value| f64::from(value)).sum::<f64>();
        count += row.len();
    }
    if count == 0 { 0.0 } else { (sum / count as f64) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BoxOptions = BoxOptions {
        threshold: 0.3,
        box_threshold: 0.5,
        unclip_ratio: 1.6,
        min_side: 3.0,
        max_candidates: 1000,
        dilate: false,
    };

    fn block(
        map: &mut [f32],
        width: usize,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        p: f32,
    ) {
        for y in rows {
            map[y * width + columns.start..y * width + columns.end].fill(p);
        }
    }

    #[test]
    fn blocks_become_expanded_boxes() {
        let (height, width) = (64, 160);
        let mut map = vec![0.0; height * width];
        block(&mut map, width, 10..21, 20..61, 0.9);
        block(&mut map, width, 40..51, 80..141, 0.4);
        block(&mut map, width, 30..32, 5..30, 0.9);
        let boxes = find_text_boxes(&map, height, &OPTIONS);
        // The second is too faint, the third too thin.
        assert_eq!(boxes.len(), 1);
        assert!((boxes[0].score - 0.9).abs() < 1e-6);
        let distance = 40.0 * 10.0 * 1.6 / 100.0;
        let [tl, _, br, _] = boxes[0].corners;
        assert!((tl[0] - (20.0 - distance)).abs() < 1e-9 && (br[1] - (20.0 + distance)).abs() < 1e-9);
    }

    #[test]
    fn dilation_joins_diagonal_neighbours_and_grows_right_and_down() {
        let (height, width) = (20, 20);
        let mut map = vec![0.0; height * width];
        block(&mut map, width, 5..10, 5..10, 1.0);
        block(&mut map, width, 5..10, 11..16, 1.0);
        assert_eq!(find_text_boxes(&map, height, &OPTIONS).len(), 2);
        let options = BoxOptions { dilate: true, unclip_ratio: 0.0, ..OPTIONS };
        let boxes = find_text_boxes(&map, height, &options);
        assert_eq!(boxes.len(), 1);
        assert_eq!(boxes[0].corners[0], [5.0, 5.0]);
        assert_eq!(boxes[0].corners[2], [16.0, 10.0]);
    }

    #[test]
    fn maps_of_any_size_and_content_are_taken() {
        assert!(find_text_boxes(&[], 0, &OPTIONS).is_empty());
        assert!(find_text_boxes(&[1.0], 1, &OPTIONS).is_empty());
        assert!(find_text_boxes(&[f32::NAN; 64], 8, &OPTIONS).is_empty());
        assert_eq!(find_text_boxes(&[1.0; 64], 8, &OPTIONS).len(), 1);
    }
}

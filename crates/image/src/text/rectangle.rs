use imageproc::geometry::convex_hull;
use imageproc::point::Point;

/// A rectangle at any angle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotatedRectangle {
    /// Its middle.
    pub center: [f64; 2],
    /// Unit vector along its first side; the second side is at a right angle to it.
    pub direction: [f64; 2],
    /// Lengths of the sides.
    pub sides: [f64; 2],
}

impl RotatedRectangle {
    /// The rectangle of least area around the points; `None` without points.
    ///
    /// `imageproc::geometry::min_area_rect` moves each corner outwards to whole pixels, which bends thin lines of
    /// text, so only its convex hull is used.
    pub fn around(points: &[Point<i32>]) -> Option<RotatedRectangle> {
        let mut distinct = points.to_vec();
        // The hull's sort wants points that differ, and a border passes thin places twice.
        distinct.sort_unstable_by_key(|point| (point.y, point.x));
        distinct.dedup();
        let hull = convex_hull(distinct);
        let &first = hull.first()?;
        let mut best: Option<RotatedRectangle> = None;
        for (i, &from) in hull.iter().enumerate() {
            let to = hull[(i + 1) % hull.len()];
            let edge = [f64::from(to.x - from.x), f64::from(to.y - from.y)];
            let length = edge[0].hypot(edge[1]);
            if length == 0.0 {
                continue;
            }
            let direction = [edge[0] / length, edge[1] / length];
            let mut low = [f64::INFINITY; 2];
            let mut high = [f64::NEG_INFINITY; 2];
            for point in &hull {
                let (x, y) = (f64::from(point.x), f64::from(point.y));
                let along = [x * direction[0] + y * direction[1], y * direction[0] - x * direction[1]];
                for axis in 0..2 {
                    low[axis] = low[axis].min(along[axis]);
                    high[axis] = high[axis].max(along[axis]);
                }
            }
            let sides = [high[0] - low[0], high[1] - low[1]];
            if best.is_none_or(|best| sides[0] * sides[1] < best.sides[0] * best.sides[1]) {
                let middle = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
                let center = [
                    middle[0] * direction[0] - middle[1] * direction[1],
                    middle[0] * direction[1] + middle[1] * direction[0],
                ];
                best = Some(RotatedRectangle { center, direction, sides });
            }
        }
        Some(best.unwrap_or(RotatedRectangle {
            center: [f64::from(first.x), f64::from(first.y)],
            direction: [1.0, 0.0],
            sides: [0.0; 2],
        }))
    }

    /// The same rectangle, each side moved outwards by `distance`.
    pub fn expanded(&self, distance: f64) -> RotatedRectangle {
        RotatedRectangle { sides: self.sides.map(|side| side + 2.0 * distance), ..*self }
    }

    /// Top left, top right, bottom right, bottom left, as `[x, y]`: of the two leftmost corners the upper one is the
    /// top left.
    pub fn corners(&self) -> [[f64; 2]; 4] {
        let half = self.sides.map(|side| side / 2.0);
        let [dx, dy] = self.direction;
        let mut corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)].map(|(a, b)| {
            let (along, across) = (a * half[0], b * half[1]);
            [self.center[0] + along * dx - across * dy, self.center[1] + along * dy + across * dx]
        });
        corners.sort_by(|a, b| a[0].total_cmp(&b[0]));
        corners[..2].sort_by(|a, b| a[1].total_cmp(&b[1]));
        corners[2..].sort_by(|a, b| a[1].total_cmp(&b[1]));
        [corners[0], corners[2], corners[3], corners[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_upright_block_has_its_own_corners() {
        let points: Vec<Point<i32>> =
            (3..=10).flat_map(|y| [Point::new(5, y), Point::new(40, y), Point::new(5, y)]).collect();
        let rectangle = RotatedRectangle::around(&points).unwrap();
        let expected = [[5.0, 3.0], [40.0, 3.0], [40.0, 10.0], [5.0, 10.0]];
        for (corner, expected) in rectangle.corners().iter().zip(expected) {
            assert!((corner[0] - expected[0]).hypot(corner[1] - expected[1]) < 1e-9);
        }
        let wider = rectangle.expanded(2.0).corners();
        assert!((wider[0][0] - 3.0).abs() < 1e-9 && (wider[2][1] - 12.0).abs() < 1e-9);
    }

    #[test]
    fn a_tilted_block_is_found_at_its_angle() {
        for degrees in [-40.0f64, -12.0, 5.0, 30.0] {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let points: Vec<Point<i32>> = (-300..=300)
                .flat_map(|a| (-20..=20).step_by(4).map(move |b| (f64::from(a), f64::from(b))))
                .map(|(a, b)| {
                    Point::new(
                        (500.0 + a * cos - b * sin).round() as i32,
                        (400.0 + a * sin + b * cos).round() as i32,
                    )
                })
                .collect();
            let rectangle = RotatedRectangle::around(&points).unwrap();
            let [tl, tr, br, _] = rectangle.corners();
            let angle = (tr[1] - tl[1]).atan2(tr[0] - tl[0]).to_degrees();
            // Rounded to pixels, a block 600 long can lean by a pixel at each end.
            assert!((angle - degrees).abs() < 0.2, "{angle} for {degrees}");
            assert!(((tr[0] - tl[0]).hypot(tr[1] - tl[1]) - 600.0).abs() < 2.0);
            assert!(((br[0] - tr[0]).hypot(br[1] - tr[1]) - 40.0).abs() < 2.0);
        }
    }

    #[test]
    fn points_and_lines_are_rectangles_without_area() {
        assert_eq!(RotatedRectangle::around(&[]), None);
        assert_eq!(RotatedRectangle::around(&[Point::new(4, 7)]).unwrap().center, [4.0, 7.0]);
        let line: Vec<Point<i32>> = (0..9).map(|i| Point::new(i, 2 * i)).collect();
        let sides = RotatedRectangle::around(&line).unwrap().sides;
        assert!(sides[0].min(sides[1]) < 1e-9 && (sides[0].max(sides[1]) - 320f64.sqrt()).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn every_point_lies_inside(points in proptest::collection::vec((0..60i32, 0..60i32), 1..40)) {
            let points: Vec<Point<i32>> = points.into_iter().map(|(x, y)| Point::new(x, y)).collect();
            let rectangle = RotatedRectangle::around(&points).unwrap();
            let [dx, dy] = rectangle.direction;
            for point in points {
                let (x, y) = (f64::from(point.x) - rectangle.center[0], f64::from(point.y) - rectangle.center[1]);
                prop_assert!((x * dx + y * dy).abs() <= rectangle.sides[0] / 2.0 + 1e-9);
                prop_assert!((y * dx - x * dy).abs() <= rectangle.sides[1] / 2.0 + 1e-9);
            }
        }
    }
}

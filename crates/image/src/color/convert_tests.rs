use super::*;

/// Every level against one pixel after the other, for colours from everywhere and rows of any length.
fn check(from: &str, to: &str, oracle: impl Fn(&[u8]) -> Vec<u8>) {
    let conversion = Conversion::from_names(from, to).expect("known spaces");
    let (a, b) = (conversion.from_channels(), conversion.to_channels());
    for pixels in [1, 15, 64, 65, 1 << 16] {
        let row: Vec<u8> =
            (0..pixels * a).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 15) as u8).collect();
        for isa in Isa::available() {
            let mut out = vec![0; pixels * b];
            u8::convert(isa, conversion, &row, &mut out);
            for (pixel, got) in row.chunks_exact(a).zip(out.chunks_exact(b)) {
                assert_eq!(got, oracle(pixel), "{from} {pixel:?} to {to} at {}", isa.name());
            }
        }
    }
}

#[test]
fn channels_change_places() {
    check("rgb", "bgr", |p| vec![p[2], p[1], p[0]]);
    check("rgba", "bgr", |p| vec![p[2], p[1], p[0]]);
    check("bgra", "rgba", |p| vec![p[2], p[1], p[0], p[3]]);
    check("bgr", "rgba", |p| vec![p[2], p[1], p[0], 255]);
    check("gray", "bgra", |p| vec![p[0], p[0], p[0], 255]);
    check("rgb", "rgb", <[u8]>::to_vec);
    check("bgra", "gray", |p| vec![u8::luma(Weights::OPENCV, [p[2], p[1], p[0]])]);
}

#[test]
fn hue_and_saturation_are_divided_by_table() {
    let table = |numerator: f64, i: i32| {
        if i == 0 { 0 } else { (numerator / f64::from(i)).round_ties_even() as i32 }
    };
    check("rgb", "hsv", |p| {
        let [r, g, b] = [p[0], p[1], p[2]].map(i32::from);
        let value = r.max(g).max(b);
        let chroma = value - r.min(g).min(b);
        let sector = if value == r {
            g - b
        } else if value == g {
            b - r + 2 * chroma
        } else {
            r - g + 4 * chroma
        };
        let hue = (sector * table(f64::from(180 << 12) / 6.0, chroma) + (1 << 11)) >> 12;
        let saturation = (chroma * table(f64::from(255 << 12), value) + (1 << 11)) >> 12;
        vec![(if hue < 0 { hue + 180 } else { hue }) as u8, saturation as u8, value as u8]
    });
}

#[test]
fn hues_come_back_sector_by_sector() {
    let conversion = Conversion::from_names("hsv", "rgb").expect("known spaces");
    for isa in Isa::available() {
        for hue in 0..=255 {
            let row: Vec<u8> = (0..1 << 16).flat_map(|i| [hue, (i >> 8) as u8, i as u8]).collect();
            let mut out = vec![0; row.len()];
            u8::convert(isa, conversion, &row, &mut out);
            for (pixel, got) in row.chunks_exact(3).zip(out.chunks_exact(3)) {
                let (saturation, value) = (f64::from(pixel[1]) / 255.0, f64::from(pixel[2]));
                let sector = f64::from(hue) / 30.0;
                let along = sector - sector.floor();
                let low = value * (1.0 - saturation);
                let falling = value * (1.0 - saturation * along);
                let rising = value * (1.0 - saturation * (1.0 - along));
                let parts = match sector as i32 % 6 {
                    0 => [value, rising, low],
                    1 => [falling, value, low],
                    2 => [low, value, rising],
                    3 => [low, falling, value],
                    4 => [rising, low, value],
                    _ => [value, low, falling],
                };
                for (part, &level) in parts.iter().zip(got) {
                    // To the nearest, but for the rounding of sectors up to 8.5, some 1.1e-6, times a chroma of 255.
                    assert!((part - f64::from(level)).abs() < 0.5 + 3e-4, "{pixel:?}: {level} for {part}");
                }
            }
        }
    }
}

#[test]
fn luma_and_chroma_are_weighted_sums() {
    let level = |sum: i32| ((sum + (1 << 13)) >> 14).clamp(0, 255) as u8;
    check("bgr", "yuv", |p| {
        let [b, g, r] = [p[0], p[1], p[2]].map(i32::from);
        let luma = i32::from(level(r * 4899 + g * 9617 + b * 1868));
        vec![luma as u8, level((b - luma) * 8061 + (128 << 14)), level((r - luma) * 14369 + (128 << 14))]
    });
    check("yuv", "rgb", |p| {
        let [y, u, v] = [i32::from(p[0]), i32::from(p[1]) - 128, i32::from(p[2]) - 128];
        [18678 * v, -6472 * u - 9519 * v, 33292 * u]
            .map(|chroma| (y + ((chroma + (1 << 13)) >> 14)).clamp(0, 255) as u8)
            .to_vec()
    });
}

#[test]
fn wider_elements_keep_their_values() {
    let conversion = Conversion::from_names("bgr", "rgba").expect("known spaces");
    for isa in Isa::available() {
        let mut out = [0.0; 8];
        f32::convert(isa, conversion, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], &mut out);
        assert_eq!(out, [0.3, 0.2, 0.1, 1.0, 0.6, 0.5, 0.4, 1.0]);
        let mut out = [0; 4];
        u16::convert(isa, conversion, &[1000, 2000, 60000], &mut out);
        assert_eq!(out, [60000, 2000, 1000, 65535]);
    }
}

use std::sync::OnceLock;

/// A colour space of interleaved pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Rgb,
    Bgr,
    Rgba,
    Bgra,
    Gray,
    Hsv,
    Yuv,
}

impl Space {
    fn from_name(name: &str) -> Option<Space> {
        Some(match name {
            "rgb" => Space::Rgb,
            "bgr" => Space::Bgr,
            "rgba" => Space::Rgba,
            "bgra" => Space::Bgra,
            "gray" => Space::Gray,
            "hsv" => Space::Hsv,
            "yuv" => Space::Yuv,
            _ => return None,
        })
    }

    fn channels(self) -> usize {
        match self {
            Space::Gray => 1,
            Space::Rgba | Space::Bgra => 4,
            _ => 3,
        }
    }
}

/// From one colour space to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    from: Space,
    to: Space,
}

impl Conversion {
    /// Between the spaces of these names: rgb, bgr, rgba, bgra, gray, hsv (hue 0 to 179), yuv.
    pub fn from_names(from: &str, to: &str) -> Option<Conversion> {
        Some(Conversion { from: Space::from_name(from)?, to: Space::from_name(to)? })
    }

    /// Channels of the input.
    pub fn from_channels(self) -> usize {
        self.from.channels()
    }

    /// Channels of the output.
    pub fn to_channels(self) -> usize {
        self.to.channels()
    }

    /// Converts a row of packed pixels.
    pub fn row(self, row: &[u8], out: &mut [u8]) {
        if self.from == self.to {
            out.copy_from_slice(row);
            return;
        }
        match self.from {
            Space::Rgb => self.write::<3>(row, out, |[r, g, b]| [r, g, b, 255]),
            Space::Bgr => self.write::<3>(row, out, |[b, g, r]| [r, g, b, 255]),
            Space::Rgba => self.write::<4>(row, out, |rgba| rgba),
            Space::Bgra => self.write::<4>(row, out, |[b, g, r, a]| [r, g, b, a]),
            Space::Gray => self.write::<1>(row, out, |[l]| [l, l, l, 255]),
            Space::Hsv => self.write::<3>(row, out, hsv_to_rgb),
            Space::Yuv => self.write::<3>(row, out, yuv_to_rgb),
        }
    }

    #[inline(always)]
    fn write<const C: usize>(self, row: &[u8], out: &mut [u8], read: impl Fn([u8; C]) -> [u8; 4]) {
        match self.to {
            Space::Rgb => each::<C, 3>(row, out, read, |[r, g, b, _]| [r, g, b]),
            Space::Bgr => each::<C, 3>(row, out, read, |[r, g, b, _]| [b, g, r]),
            Space::Rgba => each::<C, 4>(row, out, read, |rgba| rgba),
            Space::Bgra => each::<C, 4>(row, out, read, |[r, g, b, a]| [b, g, r, a]),
            Space::Gray => each::<C, 1>(row, out, read, |[r, g, b, _]| {
                let sum = 9798 * u32::from(r) + 19235 * u32::from(g) + 3735 * u32::from(b);
                [((sum + (1 << 14)) >> 15) as u8]
            }),
            Space::Hsv => {
                let tables = hue_tables();
                each::<C, 3>(row, out, read, |rgba| rgb_to_hsv(tables, rgba));
            }
            Space::Yuv => each::<C, 3>(row, out, read, rgb_to_yuv),
        }
    }
}

#[inline(always)]
fn each<const A: usize, const B: usize>(
    row: &[u8],
    out: &mut [u8],
    read: impl Fn([u8; A]) -> [u8; 4],
    write: impl Fn([u8; 4]) -> [u8; B],
) {
    for (target, pixel) in out.as_chunks_mut::<B>().0.iter_mut().zip(row.as_chunks::<A>().0) {
        *target = write(read(*pixel));
    }
}

/// `255 * 2^12 / i` and `180 * 2^12 / (6 i)`, rounded: divisions by value and by chroma.
struct HueTables {
    saturation: [i32; 256],
    hue: [i32; 256],
}

fn hue_tables() -> &'static HueTables {
    static TABLES: OnceLock<HueTables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let table = |numerator: f64| {
            std::array::from_fn(|i| if i == 0 { 0 } else { (numerator / i as f64).round_ties_even() as i32 })
        };
        HueTables { saturation: table(f64::from(255 << 12)), hue: table(f64::from(180 << 12) / 6.0) }
    })
}

fn rgb_to_hsv(tables: &HueTables, [r, g, b, _]: [u8; 4]) -> [u8; 3] {
    let [r, g, b] = [r, g, b].map(i32::from);
    let value = r.max(g).max(b);
    let chroma = value - r.min(g).min(b);
    let saturation = (chroma * tables.saturation[value as usize] + (1 << 11)) >> 12;
    let sector = if value == r {
        g - b
    } else if value == g {
        b - r + 2 * chroma
    } else {
        r - g + 4 * chroma
    };
    let hue = (sector * tables.hue[chroma as usize] + (1 << 11)) >> 12;
    [(if hue < 0 { hue + 180 } else { hue }) as u8, saturation as u8, value as u8]
}

fn hsv_to_rgb([h, s, v]: [u8; 3]) -> [u8; 4] {
    let (saturation, value) = (f32::from(s) / 255.0, f32::from(v) / 255.0);
    let hue = f32::from(h) * (6.0 / 180.0);
    let sector = hue.floor();
    let along = hue - sector;
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - saturation * along);
    let rising = value * (1.0 - saturation * (1.0 - along));
    let [r, g, b] = match sector as i32 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
    .map(|part| (part * 255.0).round_ties_even() as u8);
    [r, g, b, 255]
}

/// Rounds 14 fraction bits away, and saturates.
fn descale(value: i32) -> u8 {
    ((value + (1 << 13)) >> 14).clamp(0, 255) as u8
}

fn rgb_to_yuv([r, g, b, _]: [u8; 4]) -> [u8; 3] {
    let [r, g, b] = [r, g, b].map(i32::from);
    let luma = (r * 4899 + g * 9617 + b * 1868 + (1 << 13)) >> 14;
    [luma as u8, descale((b - luma) * 8061 + (128 << 14)), descale((r - luma) * 14369 + (128 << 14))]
}

fn yuv_to_rgb([y, u, v]: [u8; 3]) -> [u8; 4] {
    let [y, u, v] = [i32::from(y), i32::from(u) - 128, i32::from(v) - 128];
    let at = |chroma: i32| (y + ((chroma + (1 << 13)) >> 14)).clamp(0, 255) as u8;
    [at(v * 18678), at(u * -6472 + v * -9519), at(u * 33292), 255]
}

const PHOTOMETRIC_INTERPRETATION: u16 = 262;
const COLOR_MAP: u16 = 320;
const SHORT: u16 = 3;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

/// The colours of an 8-bit palette.
pub(super) type Colors = [[u8; 3]; 256];

/// For a TIFF file whose first image has an 8-bit palette: the same file declared as gray, so that the decoder, which
/// does not look colours up, gives their numbers; and the colours.
pub(super) fn without_palette(bytes: &[u8]) -> Option<(Vec<u8>, Box<Colors>)> {
    let order = match bytes.get(..4)? {
        b"II*\0" => u16::from_le_bytes,
        b"MM\0*" => u16::from_be_bytes,
        _ => return None,
    };
    let short = |at: usize| Some(order(bytes.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| {
        let (first, second) = (usize::from(short(at)?), usize::from(short(at + 2)?));
        Some(if bytes[0] == b'I' { second << 16 | first } else { first << 16 | second })
    };
    let directory = long(4)?;
    let entries = (0..usize::from(short(directory)?)).map(|i| directory + 2 + 12 * i);
    let (mut interpretation, mut colors) = (None, None);
    for entry in entries {
        match (short(entry)?, short(entry + 2)?) {
            (PHOTOMETRIC_INTERPRETATION, SHORT) if short(entry + 8)? == PALETTE => {
                interpretation = Some(entry + 8)
            }
            (COLOR_MAP, SHORT) if long(entry + 4)? == 3 * 256 => colors = Some(long(entry + 8)?),
            _ => {}
        }
    }
    let (interpretation, colors) = (interpretation?, colors?);
    let mut table = Box::new([[0; 3]; 256]);
    for (i, color) in table.iter_mut().enumerate() {
        for (channel, value) in color.iter_mut().enumerate() {
            // All reds, then all greens, then all blues, of 16 bits each.
            *value = (short(colors + 2 * (256 * channel + i))? >> 8) as u8;
        }
    }
    let mut gray = bytes.to_vec();
    let declared = if bytes[0] == b'I' { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
    gray[interpretation..interpretation + 2].copy_from_slice(&declared);
    Some((gray, table))
}

const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Whether the markers of a JPEG lead to its end-of-image marker.
///
/// The decoder fills what is missing with gray, which reads as an empty page instead of as a broken file.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut position = 2;
    loop {
        let Some(marker) = next_marker(bytes, &mut position) else { return false };
        match marker {
            END_OF_IMAGE => return true,
            // Markers that stand alone, without a length.
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let Some(length) = bytes.get(position..position + 2) else { return false };
                position += usize::from(u16::from_be_bytes([length[0], length[1]]));
                if marker == START_OF_SCAN {
                    skip_entropy_coded(bytes, &mut position);
                }
            }
        }
    }
}

fn next_marker(bytes: &[u8], position: &mut usize) -> Option<u8> {
    let mut rest = bytes.get(*position..)?;
    // Bytes between segments are garbage that decoders skip; 0xff may be repeated as filling.
    loop {
        let start = rest.iter().position(|&byte| byte == 0xff)?;
        let marker = *rest.get(start + 1)?;
        if marker == 0xff {
            rest = &rest[start + 1..];
        } else if marker == 0 {
            rest = &rest[start + 2..];
        } else {
            *position = bytes.len() - rest.len() + start + 2;
            return Some(marker);
        }
    }
}

/// Moves to the first marker that is neither a stuffed zero nor a restart.
fn skip_entropy_coded(bytes: &[u8], position: &mut usize) {
    while let Some(pair) = bytes.get(*position..*position + 2) {
        if pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff) {
            return;
        }
        *position += 1;
    }
    *position = bytes.len();
}

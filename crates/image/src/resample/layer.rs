use super::Plan;
use crate::Frame;

/// Most layers of one image: three planes, and one to spare for alpha.
pub const MAX_LAYERS: usize = 4;

/// Channels that lie together in memory and are resampled together: all of an interleaved image's, one of a planar
/// image's.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    pub(super) frame: Frame<'a, u8>,
    pub(super) plan: &'a Plan,
    /// Bytes from pixel to pixel.
    pub(super) step: usize,
    /// The output plane of each byte of a pixel, if any.
    pub(super) planes: [Option<usize>; 4],
    /// Whether rows are gathered before use, because bytes of a pixel lie too far apart.
    pub(super) staged: bool,
}

impl Layer<'_> {
    pub(super) fn planes_end(&self) -> usize {
        self.planes.iter().flatten().max().map_or(0, |plane| plane + 1)
    }

    /// Bytes of so many pixels side by side, up to the last that belongs to the image.
    pub(super) fn row_len(&self, pixels: usize) -> usize {
        if pixels == 0 { 0 } else { (pixels - 1) * self.step + self.frame.channels() }
    }
}

/// The layers of one image.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    layers: [Option<Layer<'a>>; MAX_LAYERS],
    len: usize,
}

/// How an image's channels lie in memory, as far as plans are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    /// Pixels of up to four bytes with the channels next to each other, reversed or not.
    Interleaved,
    /// Pixels of up to four bytes, channels anywhere.
    Apart,
    /// Anything else.
    Scattered,
}

fn arrangement(frame: &Frame<'_, u8>) -> Arrangement {
    let [_, pixel, channel] = frame.strides();
    let (pixel, channels) = (pixel.unsigned_abs(), frame.channels());
    if !(1..=4).contains(&pixel) {
        return Arrangement::Scattered;
    }
    let together = channels == 1 || (channel.unsigned_abs() == 1 && channels <= pixel);
    if together { Arrangement::Interleaved } else { Arrangement::Apart }
}

/// Whether the columns of a frame are stored back to front in a way that is read in place; its plan must then be made
/// from [mirrored](super::Taps::mirrored) columns.
pub fn is_mirrored(frame: &Frame<'_, u8>) -> bool {
    frame.strides()[1] < 0 && arrangement(frame) != Arrangement::Scattered
}

impl<'a> Layers<'a> {
    /// No layers yet.
    pub fn empty() -> Layers<'a> {
        Layers { layers: [None; MAX_LAYERS], len: 0 }
    }

    /// The layers of an image whose channel `c` becomes plane `planes[c]`.
    ///
    /// # Panics
    /// Where the frame is empty or has more than four channels.
    pub fn new(frame: Frame<'a, u8>, plan: &'a Plan, planes: &[Option<usize>]) -> Layers<'a> {
        let mut layers = Layers::empty();
        layers.add(frame, plan, planes);
        layers
    }

    /// Adds the layers of an image, as [`Layers::new`].
    ///
    /// # Panics
    /// As there, or beyond [`MAX_LAYERS`].
    pub fn add(&mut self, frame: Frame<'a, u8>, plan: &'a Plan, planes: &[Option<usize>]) {
        let channels = frame.channels();
        assert!(!frame.is_empty() && channels <= 4 && channels == planes.len());
        let [row, pixel, channel] = frame.strides();
        let (height, width) = (frame.height(), frame.width());
        let to_last = if pixel < 0 { (width as isize - 1) * pixel } else { 0 };
        match arrangement(&frame) {
            Arrangement::Interleaved => {
                let reversed = channels > 1 && channel < 0;
                let offset = to_last + if reversed { (channels as isize - 1) * channel } else { 0 };
                let mut ordered = [None; 4];
                for (c, plane) in planes.iter().enumerate() {
                    ordered[if reversed { channels - 1 - c } else { c }] = *plane;
                }
                self.push(frame, offset, [height, width, channels], [row, pixel.abs(), 1], plan, ordered);
            }
            Arrangement::Apart => {
                for (c, plane) in planes.iter().enumerate().filter(|(_, plane)| plane.is_some()) {
                    let offset = to_last + c as isize * channel;
                    let planes = [*plane, None, None, None];
                    self.push(frame, offset, [height, width, 1], [row, pixel.abs(), 1], plan, planes);
                }
            }
            Arrangement::Scattered => {
                let mut ordered = [None; 4];
                ordered[..channels].copy_from_slice(planes);
                self.append(Layer { frame, plan, step: channels, planes: ordered, staged: true });
            }
        }
    }

    fn push(
        &mut self,
        frame: Frame<'a, u8>,
        offset: isize,
        shape: [usize; 3],
        strides: [isize; 3],
        plan: &'a Plan,
        planes: [Option<usize>; 4],
    ) {
        // SAFETY: the same elements, columns and channels listed from the lowest address up.
        let frame = unsafe { frame.reinterpret(offset, shape, strides) };
        // An image of one column has no step of its own.
        let step = if shape[1] == 1 { shape[2] } else { strides[1] as usize };
        self.append(Layer { frame, plan, step, planes, staged: false });
    }

    fn append(&mut self, layer: Layer<'a>) {
        self.layers[self.len] = Some(layer);
        self.len += 1;
    }

    /// Calls `f` with the layers in a slice.
    pub fn with<R>(&self, f: impl FnOnce(&[Layer<'a>]) -> R) -> R {
        match self.layers[..self.len] {
            [Some(a)] => f(&[a]),
            [Some(a), Some(b)] => f(&[a, b]),
            [Some(a), Some(b), Some(c)] => f(&[a, b, c]),
            [Some(a), Some(b), Some(c), Some(d)] => f(&[a, b, c, d]),
            _ => f(&[]),
        }
    }
}

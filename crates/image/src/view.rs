use std::marker::PhantomData;

/// A borrowed image of three 8-bit channels with any strides (in bytes), so that crops, BGR seen as RGB and RGBA
/// seen as RGB are read in place.
#[derive(Clone, Copy, Debug)]
pub struct ImageView<'a> {
    pointer: *const u8,
    height: usize,
    width: usize,
    strides: [isize; 3],
    borrow: PhantomData<&'a [u8]>,
}

// SAFETY: a shared borrow of plain bytes.
unsafe impl Send for ImageView<'_> {}
// SAFETY: as above.
unsafe impl Sync for ImageView<'_> {}

impl<'a> ImageView<'a> {
    /// A view from parts: the first pixel's first channel, and byte strides over rows, pixels and channels.
    ///
    /// # Safety
    /// For `'a`, every byte reached by rows below `height`, pixels below `width` and channels below 3 must be
    /// readable and initialised.
    pub unsafe fn from_raw_parts(
        pointer: *const u8,
        height: usize,
        width: usize,
        strides: [isize; 3],
    ) -> ImageView<'a> {
        ImageView { pointer, height, width, strides, borrow: PhantomData }
    }

    /// A view of interleaved pixels without gaps.
    ///
    /// # Panics
    /// Where the slice is not `height * width * 3` long.
    pub fn packed(pixels: &'a [u8], height: usize, width: usize) -> ImageView<'a> {
        assert_eq!(pixels.len(), height * width * 3);
        // SAFETY: the strides reach exactly the bytes of the slice.
        unsafe { ImageView::from_raw_parts(pixels.as_ptr(), height, width, [3 * width as isize, 3, 1]) }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether there are no pixels.
    pub fn is_empty(&self) -> bool {
        self.height == 0 || self.width == 0
    }

    /// The same image with its channels in the opposite order.
    pub fn channels_reversed(&self) -> ImageView<'a> {
        let [row, pixel, channel] = self.strides;
        ImageView {
            pointer: self.pointer.wrapping_offset(2 * channel),
            strides: [row, pixel, -channel],
            ..*self
        }
    }

    /// One pixel.
    ///
    /// # Safety
    /// `y < height` and `x < width`.
    #[inline(always)]
    pub unsafe fn pixel_unchecked(&self, y: usize, x: usize) -> [u8; 3] {
        let [row, pixel, channel] = self.strides;
        // SAFETY: the caller keeps within the image, whose every byte is readable.
        unsafe {
            let first = self.pointer.offset(y as isize * row + x as isize * pixel);
            [*first, *first.offset(channel), *first.offset(2 * channel)]
        }
    }

    /// Whether the channels of a pixel are neighbours and pixels stand apart by at least three bytes, two to a row or
    /// more: then [`word_unchecked`](Self::word_unchecked) reads a pixel at once.
    pub(crate) fn is_packed(&self) -> bool {
        let [_, pixel, channel] = self.strides;
        self.width > 1 && pixel >= 3 && channel.abs() == 1
    }

    /// Which byte of a word each channel is.
    #[inline(always)]
    pub(crate) fn channel_bytes<const PACKED: bool>(&self) -> [u32; 3] {
        if PACKED && self.strides[2] < 0 { [2, 1, 0] } else { [0, 1, 2] }
    }

    /// The three bytes of a pixel in the lower part of a word, in the order of
    /// [`channel_bytes`](Self::channel_bytes).
    ///
    /// # Safety
    /// `y < height` and `x < width`; `PACKED` only where [`is_packed`](Self::is_packed).
    #[inline(always)]
    pub(crate) unsafe fn word_unchecked<const PACKED: bool>(&self, y: usize, x: usize) -> u32 {
        if !PACKED {
            // SAFETY: granted by the caller.
            let [first, second, third] = unsafe { self.pixel_unchecked(y, x) };
            return u32::from_le_bytes([first, second, third, 0]);
        }
        let [row, pixel, channel] = self.strides;
        let offset = y as isize * row + x as isize * pixel + (2 * channel).min(0);
        // The fourth byte must lie within the row too: it is the one after the pixel, or before the last pixel.
        let is_last = x + 1 == self.width;
        // SAFETY: the caller keeps within the image; between its first byte and that of the next pixel, or between
        // that of the pixel before and its last, a row has at least four.
        let word =
            unsafe { self.pointer.offset(offset - isize::from(is_last)).cast::<u32>().read_unaligned() };
        u32::from_le(word) >> (8 * u32::from(is_last))
    }

    /// One pixel.
    ///
    /// # Panics
    /// Outside the image.
    pub fn pixel(&self, y: usize, x: usize) -> [u8; 3] {
        assert!(y < self.height && x < self.width, "pixel ({y}, {x}) of {} x {}", self.height, self.width);
        // SAFETY: just checked.
        unsafe { self.pixel_unchecked(y, x) }
    }
}

/// `(value / 255 - mean) / deviation` per channel, folded into one multiplication and one addition.
#[derive(Clone, Copy, Debug)]
pub struct Normalization {
    /// Factor on the 8-bit value.
    pub scale: [f32; 3],
    /// Added afterwards.
    pub offset: [f32; 3],
}

impl Normalization {
    /// From mean and standard deviation on the scale of 0 to 1.
    pub fn new(mean: [f32; 3], deviation: [f32; 3]) -> Normalization {
        Normalization {
            scale: deviation.map(|deviation| 1.0 / (255.0 * deviation)),
            offset: std::array::from_fn(|channel| -mean[channel] / deviation[channel]),
        }
    }
}

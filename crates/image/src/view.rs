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

//! Borrowed images of any strides: what every kernel reads and writes.

use crate::interleaved::reversed;
use std::marker::PhantomData;
use vedette_simd::isa;

/// An element of an image.
pub trait Sample: Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + 'static {
    /// The value as `f32`, exactly.
    fn to_f32(self) -> f32;
    /// The nearest representable value, halves to even, saturating.
    fn from_f32(value: f32) -> Self;
}

impl Sample for u8 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> u8 {
        value.round_ties_even() as u8
    }
}

impl Sample for u16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> u16 {
        value.round_ties_even() as u16
    }
}

impl Sample for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }
}

/// `height` x `width` x `channels` elements, with byte strides of any size and sign. Elements need no alignment.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a, T> {
    pointer: *const u8,
    shape: [usize; 3],
    strides: [isize; 3],
    borrow: PhantomData<&'a [T]>,
}

/// A [`Frame`] for writing. Its elements do not overlap one another.
#[derive(Clone, Copy, Debug)]
pub struct FrameMut<'a, T> {
    pointer: *mut u8,
    shape: [usize; 3],
    strides: [isize; 3],
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a shared borrow of plain elements.
unsafe impl<T: Sync> Send for Frame<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Frame<'_, T> {}
// SAFETY: an exclusive borrow by the contract of its constructor; threads are given disjoint rows.
unsafe impl<T: Send> Send for FrameMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for FrameMut<'_, T> {}

/// Strides along axes of one element never count, so they are made to look packed.
fn canonical(shape: [usize; 3], mut strides: [isize; 3], size: usize) -> [isize; 3] {
    if shape[2] == 1 {
        strides[2] = size as isize;
    }
    if shape[1] == 1 {
        strides[1] = (shape[2] * size) as isize;
    }
    strides
}

macro_rules! common {
    ($name:ident) => {
        impl<T: Sample> $name<'_, T> {
            /// Rows.
            pub fn height(&self) -> usize {
                self.shape[0]
            }
            /// Pixels in a row.
            pub fn width(&self) -> usize {
                self.shape[1]
            }
            /// Elements in a pixel.
            pub fn channels(&self) -> usize {
                self.shape[2]
            }
            /// Byte strides over rows, pixels and channels.
            pub fn strides(&self) -> [isize; 3] {
                self.strides
            }
            /// Whether there are no elements.
            pub fn is_empty(&self) -> bool {
                self.shape.contains(&0)
            }
            /// Whether the elements of each row lie in order without gaps.
            pub fn has_packed_rows(&self) -> bool {
                let size = size_of::<T>() as isize;
                self.strides[2] == size && self.strides[1] == size * self.shape[2] as isize
            }
            /// Elements in a row.
            pub fn row_len(&self) -> usize {
                self.shape[1] * self.shape[2]
            }
            /// Whether each row starts where the one before it would have its next pixel.
            pub fn has_joined_rows(&self) -> bool {
                self.strides[0] == self.shape[1] as isize * self.strides[1]
            }
            /// The rows `range` as one row of all their pixels.
            ///
            /// # Panics
            /// Outside the frame, or where there are gaps [between rows](Self::has_joined_rows).
            #[must_use]
            pub fn joined(&self, range: std::ops::Range<usize>) -> Self {
                assert!(self.has_joined_rows() && range.start <= range.end && range.end <= self.shape[0]);
                let mut joined = *self;
                let offset = range.start as isize * self.strides[0];
                joined.pointer = self.pointer.wrapping_offset(offset);
                joined.shape[..2].copy_from_slice(&[1, range.len() * self.shape[1]]);
                joined
            }
        }
    };
}

common!(Frame);
common!(FrameMut);

/// Copies pixels of `C` elements, `step` bytes apart, for as long as `out` is.
///
/// # Safety
/// Every element of the pixels must be readable.
unsafe fn gather_pixels<T: Sample, const C: usize>(first: *const u8, step: isize, out: &mut [T]) {
    let pixels = out.as_chunks_mut::<C>().0;
    if step == -(C as isize) && size_of::<T>() == 1 {
        let last = first.wrapping_offset((pixels.len().max(1) - 1) as isize * step);
        // SAFETY: the same pixels from the lowest address up; T is as large as a byte, and so is none but `u8`.
        unsafe {
            let from = std::slice::from_raw_parts(last.cast::<[u8; C]>(), pixels.len());
            let to = std::slice::from_raw_parts_mut(pixels.as_mut_ptr().cast::<[u8; C]>(), pixels.len());
            reversed(isa(), from, to);
        }
        return;
    }
    for (x, pixel) in pixels.iter_mut().enumerate() {
        // SAFETY: as the caller grants.
        *pixel = unsafe { first.offset(x as isize * step).cast::<[T; C]>().read_unaligned() };
    }
}

impl<'a, T: Sample> Frame<'a, T> {
    /// A frame from parts: the first element, the shape, and byte strides over rows, pixels and channels.
    ///
    /// # Safety
    /// For `'a`, every element reached must be readable and initialised.
    pub unsafe fn from_raw_parts(pointer: *const T, shape: [usize; 3], strides: [isize; 3]) -> Frame<'a, T> {
        let strides = canonical(shape, strides, size_of::<T>());
        Frame { pointer: pointer.cast(), shape, strides, borrow: PhantomData }
    }

    /// A frame over elements without gaps.
    ///
    /// # Panics
    /// Where the slice is not as long as the shape says.
    pub fn packed(elements: &'a [T], shape: [usize; 3]) -> Frame<'a, T> {
        assert_eq!(elements.len(), shape.iter().product::<usize>());
        let size = size_of::<T>() as isize;
        let [_, width, channels] = shape.map(|dim| dim as isize);
        // SAFETY: the strides reach exactly the elements of the slice.
        unsafe {
            Frame::from_raw_parts(elements.as_ptr(), shape, [width * channels * size, channels * size, size])
        }
    }

    /// Address of the first element of a row.
    ///
    /// # Panics
    /// Outside the frame.
    pub fn row_ptr(&self, y: usize) -> *const T {
        assert!(y < self.shape[0], "row {y} of {}", self.shape[0]);
        self.pointer.wrapping_offset(y as isize * self.strides[0]).cast()
    }

    /// One element.
    ///
    /// # Safety
    /// The place must lie within the frame.
    #[inline(always)]
    pub unsafe fn get_unchecked(&self, y: usize, x: usize, channel: usize) -> T {
        let [row, pixel, step] = self.strides;
        let offset = y as isize * row + x as isize * pixel + channel as isize * step;
        // SAFETY: the caller keeps within the frame, whose every element is readable.
        unsafe { self.pointer.offset(offset).cast::<T>().read_unaligned() }
    }

    /// One element.
    ///
    /// # Panics
    /// Outside the frame.
    pub fn get(&self, y: usize, x: usize, channel: usize) -> T {
        assert!(y < self.shape[0] && x < self.shape[1] && channel < self.shape[2]);
        // SAFETY: just checked.
        unsafe { self.get_unchecked(y, x, channel) }
    }

    /// Copies the pixels `start..` of a row into `out`, packed.
    ///
    /// # Panics
    /// Outside the frame, or where `out` holds no whole number of pixels.
    pub fn gather_row(&self, y: usize, start: usize, out: &mut [T]) {
        let channels = self.shape[2];
        let pixels = out.len() / channels.max(1);
        assert!(y < self.shape[0] && start + pixels <= self.shape[1] && pixels * channels == out.len());
        if self.strides[2] == size_of::<T>() as isize {
            let first = self.row_ptr(y).cast::<u8>().wrapping_offset(start as isize * self.strides[1]);
            // SAFETY: the pixels lie within the frame, as just checked, and are whole.
            unsafe {
                match channels {
                    1 => gather_pixels::<T, 1>(first, self.strides[1], out),
                    2 => gather_pixels::<T, 2>(first, self.strides[1], out),
                    3 => gather_pixels::<T, 3>(first, self.strides[1], out),
                    4 => gather_pixels::<T, 4>(first, self.strides[1], out),
                    _ => self.gather_elements(y, start, out),
                }
            }
        } else {
            self.gather_elements(y, start, out);
        }
    }

    fn gather_elements(&self, y: usize, start: usize, out: &mut [T]) {
        for (x, pixel) in out.chunks_exact_mut(self.shape[2]).enumerate() {
            for (channel, element) in pixel.iter_mut().enumerate() {
                // SAFETY: the caller keeps within the frame.
                *element = unsafe { self.get_unchecked(y, start + x, channel) };
            }
        }
    }

    /// A row as a slice: its own elements where they are packed and aligned, else gathered into `scratch`.
    pub fn row<'s>(&self, y: usize, scratch: &'s mut Vec<T>) -> &'s [T]
    where
        'a: 's,
    {
        let pointer = self.row_ptr(y);
        if self.has_packed_rows() && pointer.is_aligned() {
            // SAFETY: a packed row is row_len() readable elements, borrowed for 'a.
            return unsafe { std::slice::from_raw_parts(pointer, self.row_len()) };
        }
        scratch.resize(self.row_len(), T::default());
        self.gather_row(y, 0, scratch);
        scratch
    }

    /// The same pixels with other shape and strides.
    ///
    /// # Safety
    /// Every element reached from `offset` bytes on must be one of this frame's memory.
    pub unsafe fn reinterpret(&self, offset: isize, shape: [usize; 3], strides: [isize; 3]) -> Frame<'a, T> {
        // SAFETY: as promised by the caller.
        unsafe { Frame::from_raw_parts(self.pointer.wrapping_offset(offset).cast(), shape, strides) }
    }
}

impl<'a, T: Sample> FrameMut<'a, T> {
    /// A frame from parts, as [`Frame::from_raw_parts`].
    ///
    /// # Safety
    /// For `'a`, every element reached must be writable, reached by nothing else, and reached once.
    pub unsafe fn from_raw_parts(pointer: *mut T, shape: [usize; 3], strides: [isize; 3]) -> FrameMut<'a, T> {
        let strides = canonical(shape, strides, size_of::<T>());
        FrameMut { pointer: pointer.cast(), shape, strides, borrow: PhantomData }
    }

    /// A frame over elements without gaps.
    ///
    /// # Panics
    /// Where the slice is not as long as the shape says.
    pub fn packed(elements: &'a mut [T], shape: [usize; 3]) -> FrameMut<'a, T> {
        assert_eq!(elements.len(), shape.iter().product::<usize>());
        let size = size_of::<T>() as isize;
        let [_, width, channels] = shape.map(|dim| dim as isize);
        let strides = [width * channels * size, channels * size, size];
        // SAFETY: the strides reach exactly the elements of the slice, which is borrowed exclusively.
        unsafe { FrameMut::from_raw_parts(elements.as_mut_ptr(), shape, strides) }
    }

    /// Address of the first element of a row.
    ///
    /// # Panics
    /// Outside the frame.
    pub fn row_ptr(&self, y: usize) -> *mut T {
        assert!(y < self.shape[0], "row {y} of {}", self.shape[0]);
        self.pointer.wrapping_offset(y as isize * self.strides[0]).cast()
    }

    /// Lets `write` fill a row: in place where it is packed and aligned, else through `scratch`. The slice's former
    /// content is not the row's.
    ///
    /// # Safety
    /// No other thread may write this row at the same time.
    pub unsafe fn write_row(&self, y: usize, scratch: &mut Vec<T>, write: impl FnOnce(&mut [T])) {
        let pointer = self.row_ptr(y);
        if self.has_packed_rows() && pointer.is_aligned() {
            // SAFETY: a packed row is row_len() writable elements, which are this thread's alone.
            write(unsafe { std::slice::from_raw_parts_mut(pointer, self.row_len()) });
            return;
        }
        scratch.resize(self.row_len(), T::default());
        write(scratch);
        let [_, pixel, step] = self.strides;
        for (x, values) in scratch.chunks_exact(self.shape[2]).enumerate() {
            for (channel, &value) in values.iter().enumerate() {
                let offset = x as isize * pixel + channel as isize * step;
                // SAFETY: within the row, which is this thread's alone.
                unsafe { pointer.cast::<u8>().offset(offset).cast::<T>().write_unaligned(value) }
            }
        }
    }

    /// The frame for reading, as when it is both input and output.
    pub fn as_frame(&self) -> Frame<'a, T> {
        Frame { pointer: self.pointer, shape: self.shape, strides: self.strides, borrow: PhantomData }
    }
}

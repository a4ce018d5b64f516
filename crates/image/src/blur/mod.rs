//! Box and Gaussian blur. Bytes are summed in integers, which gives the same bits at every level.

mod kernel;
mod mean;
mod rows;
mod weighted;

pub use kernel::Kernel;

use crate::{Frame, FrameMut, Sample};
use mean::{Long, Short};
use rows::Rows;
use std::ops::Range;
use vedette_runtime::ThreadPool;
use vedette_simd::Isa;

pub use rows::Border;

/// What each element becomes.
#[derive(Clone, Debug)]
pub enum Blur {
    /// The mean of so many (odd) neighbours along rows' and columns' axes: `[down, along]`.
    Mean([usize; 2]),
    /// Sums weighted along each axis: `[down, along]`.
    Weighted([Kernel; 2]),
}

impl Blur {
    fn size(&self) -> [usize; 2] {
        match self {
            Blur::Mean(size) => *size,
            Blur::Weighted(kernels) => [kernels[0].len(), kernels[1].len()],
        }
    }
}

/// Rows below which another thread costs more than it saves.
const ROWS_PER_PART: usize = 64;

/// An element type that images are blurred in.
pub trait Blurred: Sample {
    /// Blurs the rows `range`.
    ///
    /// # Safety
    /// No other thread writes these rows.
    #[doc(hidden)]
    unsafe fn blur(isa: Isa, pass: &Pass<'_, Self>, range: Range<usize>);
}

/// One call's image, output, window and border.
#[doc(hidden)]
pub struct Pass<'a, T> {
    image: Frame<'a, T>,
    out: FrameMut<'a, T>,
    blur: &'a Blur,
    border: Border,
}

impl<T: Sample> Pass<'_, T> {
    /// Elements of a row with those that stand for what lies left and right of it.
    fn padded(&self) -> usize {
        let [_, along] = self.blur.size();
        self.image.row_len() + (along - 1) * self.image.channels()
    }

    /// Elements before a row.
    fn margin(&self) -> usize {
        self.blur.size()[1] / 2 * self.image.channels()
    }

    /// Fills the margins of a row.
    fn extend<A: Copy>(&self, row: &mut [A]) {
        let (reach, width, channels) = (self.blur.size()[1] / 2, self.image.width(), self.image.channels());
        for beyond in 1..=reach {
            let sides = [
                (reach - beyond, -(beyond as isize)),
                (reach + width - 1 + beyond, (width - 1 + beyond) as isize),
            ];
            for (place, index) in sides {
                let from = reach + self.border.resolve(index, width);
                row.copy_within(from * channels..(from + 1) * channels, place * channels);
            }
        }
    }
}

impl Blurred for u8 {
    unsafe fn blur(isa: Isa, pass: &Pass<'_, u8>, range: Range<usize>) {
        // SAFETY: granted by the caller.
        unsafe {
            match pass.blur {
                Blur::Mean(size) => match Short::new(size[0] * size[1]) {
                    Some(division) => mean::rows::<_, u16, _>(isa, pass, *size, division, range),
                    None => mean::rows::<_, u32, _>(isa, pass, *size, Long::new(size[0] * size[1]), range),
                },
                Blur::Weighted(kernels) => weighted::fixed(isa, pass, kernels, range),
            }
        }
    }
}

impl Blurred for u16 {
    unsafe fn blur(isa: Isa, pass: &Pass<'_, u16>, range: Range<usize>) {
        // SAFETY: granted by the caller.
        unsafe {
            match pass.blur {
                Blur::Mean(size) => {
                    mean::rows::<_, u32, _>(isa, pass, *size, Long::new(size[0] * size[1]), range);
                }
                Blur::Weighted([down, along]) => {
                    weighted::float(isa, pass, [&down.floats(), &along.floats()], 1.0, range)
                }
            }
        }
    }
}

impl Blurred for f32 {
    unsafe fn blur(isa: Isa, pass: &Pass<'_, f32>, range: Range<usize>) {
        // SAFETY: granted by the caller.
        unsafe {
            match pass.blur {
                // Running sums would carry an infinity on to every row below it.
                Blur::Mean([down, along]) => {
                    let ones = [vec![1.0; *down], vec![1.0; *along]];
                    let scale = 1.0 / (down * along) as f32;
                    weighted::float(isa, pass, [&ones[0], &ones[1]], scale, range);
                }
                Blur::Weighted([down, along]) => {
                    weighted::float(isa, pass, [&down.floats(), &along.floats()], 1.0, range)
                }
            }
        }
    }
}

/// Blurs each channel.
///
/// # Panics
/// Where shapes differ, or a size is even.
pub fn blur<T: Blurred>(
    isa: Isa,
    image: Frame<'_, T>,
    out: FrameMut<'_, T>,
    blur: &Blur,
    border: Border,
    pool: &ThreadPool,
) {
    assert!(
        image.height() == out.height() && image.width() == out.width() && image.channels() == out.channels()
    );
    assert!(blur.size().iter().all(|side| side % 2 == 1), "sizes are odd, not {:?}", blur.size());
    if out.is_empty() {
        return;
    }
    let pass = Pass { image, out, blur, border };
    pool.run_ranges(out.height(), ROWS_PER_PART, 1, |range| {
        // SAFETY: the ranges are disjoint.
        unsafe { T::blur(isa, &pass, range) }
    });
}

#[cfg(test)]
mod tests;

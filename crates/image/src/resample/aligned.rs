/// Bytes of a cache line.
const LINE: usize = 64;

/// Samples that start at a cache line, so that registers of them lie in one line each.
#[derive(Default)]
pub struct Aligned(Vec<i16>);

impl Aligned {
    /// Makes room for so many samples; what the first ones were may be lost.
    pub fn grow(&mut self, len: usize) {
        let needed = len + LINE / size_of::<i16>();
        if self.0.len() < needed {
            self.0.resize(needed, 0);
        }
    }

    /// The first samples.
    pub fn get(&mut self, len: usize) -> &mut [i16] {
        let skip = self.0.as_ptr().align_offset(LINE);
        &mut self.0[skip..skip + len]
    }

    /// As [`get`](Self::get), with room made for them.
    pub fn grown(&mut self, len: usize) -> &mut [i16] {
        self.grow(len);
        self.get(len)
    }
}

use std::io::{Error, ErrorKind, Result, Seek, SeekFrom, Write};
use vedette_memory::{Lease, default_pool};

/// Bytes that are written one after the other into a block of the process's pool, which is changed for a larger one where
/// it is full.
#[derive(Debug)]
pub struct Growing {
    block: Lease,
    len: usize,
    place: usize,
}

impl Growing {
    /// No bytes yet, with room for `capacity`.
    pub fn with_capacity(capacity: usize) -> Result<Growing> {
        Ok(Growing { block: acquire(capacity)?, len: 0, place: 0 })
    }

    /// The block, and how many of its bytes were written.
    pub fn finish(self) -> (Lease, usize) {
        (self.block, self.len)
    }

    fn reserve(&mut self, end: usize) -> Result<()> {
        if end <= self.block.len() {
            return Ok(());
        }
        let mut larger = acquire(end.max(2 * self.block.len()))?;
        larger[..self.len].copy_from_slice(&self.block[..self.len]);
        self.block = larger;
        Ok(())
    }
}

fn acquire(len: usize) -> Result<Lease> {
    default_pool().acquire(len).map_err(|error| Error::new(ErrorKind::OutOfMemory, error.to_string()))
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let end = self.place.checked_add(bytes.len()).ok_or(ErrorKind::OutOfMemory)?;
        self.reserve(end)?;
        // What a jump passed over has not been written, and blocks hold what their last use left there.
        if self.place > self.len {
            self.block[self.len..self.place].fill(0);
        }
        self.block[self.place..end].copy_from_slice(bytes);
        self.place = end;
        self.len = self.len.max(end);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Seek for Growing {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => usize::try_from(place).ok(),
            SeekFrom::End(offset) => self.len.checked_add_signed(offset as isize),
            SeekFrom::Current(offset) => self.place.checked_add_signed(offset as isize),
        };
        self.place = place.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.place as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    proptest! {
        #[test]
        fn it_writes_what_a_cursor_writes(
            steps in prop::collection::vec((0..5_u8, -400..900_i64, prop::collection::vec(1..=255_u8, 0..300)), 0..40),
        ) {
            let mut expected = Cursor::new(Vec::new());
            let mut growing = Growing::with_capacity(10).unwrap();
            for (step, offset, bytes) in steps {
                let to = match step {
                    0 => SeekFrom::Start(offset.unsigned_abs()),
                    1 => SeekFrom::End(offset),
                    2 => SeekFrom::Current(offset),
                    _ => SeekFrom::Current(0),
                };
                prop_assert_eq!(growing.seek(to).ok(), expected.seek(to).ok());
                // A cursor fills up to its place even where nothing is written there.
                if !bytes.is_empty() {
                    growing.write_all(&bytes).unwrap();
                    expected.write_all(&bytes).unwrap();
                }
            }
            let (block, len) = growing.finish();
            prop_assert_eq!(&block[..len], expected.get_ref().as_slice());
        }
    }
}

//! Files as memory.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file, read by the system when they are touched and shared with every process that maps it.
///
/// Whoever shortens the file meanwhile takes the bytes away: touching them then ends the process (SIGBUS). That is so
/// for every mapping of a file; replace files by renaming, as careful writers do, and the mapping keeps the old one.
#[derive(Debug)]
pub struct MappedFile {
    map: Option<Mmap>,
}

impl MappedFile {
    /// Maps the whole of a regular file.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        // Before it is opened, since opening a pipe waits for somebody to write to it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::open(path)?;
        let facts = file.metadata()?;
        let len = usize::try_from(facts.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if len == 0 {
            // Systems refuse to map nothing.
            return Ok(MappedFile { map: None });
        }
        // SAFETY: the bytes are only read, and the type's documentation says what shortening the file does. Other
        // processes may change them; numbers of any value are valid, so nothing unsound can be read.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(&file)? };
        Ok(MappedFile { map: Some(map) })
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_seen_as_it_is() {
        let path = std::env::temp_dir().join(format!("vedette-map-{}", std::process::id()));
        for contents in [&b""[..], b"a", &[7; 10_000]] {
            std::fs::write(&path, contents).unwrap();
            assert_eq!(&*MappedFile::open(&path).unwrap(), contents);
        }
        let kept = MappedFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(kept.len(), 10_000);
        assert_eq!(MappedFile::open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_mapped() {
        for path in [std::env::temp_dir().as_path(), Path::new("/dev/null")] {
            assert_eq!(MappedFile::open(path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}

use std::io;
use std::path::Path;

use super::Reading;
pub(super) use super::sleep::Sleeper;

pub(super) struct Gauge;

impl Gauge {
    pub(super) fn new(_root: &Path) -> io::Result<Gauge> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn read(&mut self) -> io::Result<Reading> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

"""Sources by the names people type."""

from __future__ import annotations

import glob
from pathlib import Path

from vedette.errors import SourceError
from vedette.sources.images import SUFFIXES, Folder, Images
from vedette.sources.source import Source

__all__ = ["open_source"]


def open_source(text: str, *, follow: bool = False, interval_s: float | None = None) -> Source:
    """The source of that name, not opened yet.

    Parameters
    ----------
    text
        A folder of images, an image, or a pattern of them.
    follow
        Whether a folder is waited on for more images.
    interval_s
        Time between two images of a folder, where they are a recording.

    Raises
    ------
    SourceError
        Nothing of that name can be a source.
    """
    path = Path(text)
    if path.is_dir():
        return Folder(path, follow=follow, interval_s=interval_s)
    if path.suffix.lower() in SUFFIXES or (glob.has_magic(text) and not path.exists()):
        return Images([text], name=text, interval_s=interval_s)
    raise SourceError(f"{text}: no such source")

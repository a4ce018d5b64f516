"""Sources by the names people type."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vedette.errors import SourceError
from vedette.sources.images import SUFFIXES, Folder, Images
from vedette.sources.live import Latest
from vedette.sources.screen import Screen
from vedette.sources.source import Source
from vedette.sources.video import Camera, Stream, Video

__all__ = ["open_source"]

_STREAM = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt|mms)://", re.IGNORECASE)


def open_source(
    text: str,
    *,
    follow: bool = False,
    interval_s: float | None = None,
    rate: float | None = None,
    comparison: Literal["exact", "luma"] | None = None,
    hidden_windows: Sequence[re.Pattern[str]] = (),
) -> Source:
    """The source of that name, not opened yet.

    Parameters
    ----------
    text
        ``screen``, ``screen:2``, ``screen:LEFT,TOP,WIDTHxHEIGHT``; ``camera:0``; the address of a stream
        (``rtsp://...``); a folder of images, an image, a pattern of them, or a video file.
    follow
        Whether a folder is waited on for more images.
    interval_s
        Of a video, the time between the frames looked at; of images, the time that passed between two.
    rate
        Frames a second to ask of a camera.
    comparison
        How frames are compared, where not as is usual for the source.
    hidden_windows
        Of screens: windows whose title or application one of these matches are black in every frame.

    Raises
    ------
    SourceError
        Nothing of that name can be a source.
    """
    source = _source(text, follow, interval_s, rate, hidden_windows)
    if comparison is not None:
        source.comparison = comparison
    return source


def _source(
    text: str,
    follow: bool,
    interval_s: float | None,
    rate: float | None,
    hidden_windows: Sequence[re.Pattern[str]],
) -> Source:
    if text == "screen" or text.startswith("screen:"):
        return Screen.parse(text, hidden=hidden_windows)
    if hidden_windows:
        raise SourceError(f"{text}: only screens tell which windows they show")
    if text == "camera" or text.startswith("camera:"):
        return Latest(Camera(text.partition(":")[2] or 0, rate=rate))
    if _STREAM.match(text):
        return Latest(Stream(text))
    path = Path(text)
    if path.is_dir():
        return Folder(path, follow=follow, interval_s=interval_s)
    if path.suffix.lower() in SUFFIXES or (glob.has_magic(text) and not path.exists()):
        return Images([text], name=text, interval_s=interval_s)
    if path.is_file():
        return Video(text, interval_s=interval_s)
    raise SourceError(
        f"{text}: no such file or folder, nor screen, camera:NUMBER or the address of a stream (rtsp://...)"
    )

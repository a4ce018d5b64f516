"""What must not be seen: covered parts of frames, and times in which nobody looks."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vedette.errors import WatchError
from vedette.ocr.change import Rectangle
from vedette.sources import Frame

__all__ = ["cover", "pause", "paused_until", "resume"]

_BLACK = {"nv12": (16, 128), "i420": (16, 128, 128)}


def cover(frame: Frame, boxes: Sequence[Rectangle]) -> Frame:
    """The frame with these rectangles black, before anything has looked at it.

    Planes that can be written are painted over, others are copied.
    """
    if not boxes:
        return frame
    values = _BLACK.get(frame.format, (0,))
    planes = []
    for index, (plane, value) in enumerate(zip(frame.planes, values, strict=True)):
        pixels: NDArray[np.uint8] = plane if plane.flags.writeable else plane.copy()
        half = 2 if index else 1
        for top, left, bottom, right in boxes:
            # Chroma stands for two rows and columns: whatever touches the rectangle goes.
            pixels[top // half : -(-bottom // half), left // half : -(-right // half)] = value
        planes.append(pixels)
    return replace(frame, planes=tuple(planes), _rgb=None)


def _mark(store: Path) -> Path:
    return store.with_name(store.name + ".paused")


def pause(store: Path, for_s: float | None = None) -> None:
    """Have every watch that writes this store look away, at once and after a restart too.

    Parameters
    ----------
    for_s
        How long; None until it is told to go on.
    """
    until = float("inf") if for_s is None else time.time() + for_s
    try:
        store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(_mark(store), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(repr(until))
    except OSError as error:
        raise WatchError(f"{_mark(store)}: {error.strerror}") from error


def resume(store: Path) -> bool:
    """Have them look again; False where they were not looking away."""
    try:
        _mark(store).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise WatchError(f"{_mark(store)}: {error.strerror}") from error
    return True


def paused_until(store: Path) -> float | None:
    """Until what Unix time nobody looks; infinity without an end, None where nothing is paused."""
    try:
        text = _mark(store).read_text()
    except FileNotFoundError:
        return None
    except OSError:
        # Whoever asked for it must not be overheard because of a failing disk.
        return float("inf")
    try:
        until = float(text)
    except ValueError:
        until = float("inf")
    if until <= time.time():
        with contextlib.suppress(OSError):
            _mark(store).unlink()
        return None
    return until

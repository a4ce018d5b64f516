"""An X server without a monitor (Xvfb), and what it shows."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from vedette.bench.recording import SIZE
from vedette.sources.screen import Screen

BAND = 16
"""Rows sent at once: a request holds 256 KB."""


def available() -> bool:
    """Whether there is a server to be started, and the package that talks to it."""
    return shutil.which("Xvfb") is not None and importlib.util.find_spec("xcffib") is not None


@contextmanager
def server() -> Iterator[None]:
    """A server of 1080p that this process and its children take for theirs.

    Raises
    ------
    FileNotFoundError
        There is no Xvfb.
    """
    read, write = os.pipe()
    command = [
        "Xvfb",
        "-displayfd",
        str(write),
        "-screen",
        "0",
        f"{SIZE[0]}x{SIZE[1]}x24",
        "-nolisten",
        "tcp",
    ]
    try:
        process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    finally:
        os.close(write)
    with os.fdopen(read) as numbers:
        os.environ["DISPLAY"] = f":{numbers.readline().strip()}"
    os.environ.pop("WAYLAND_DISPLAY", None)
    os.environ.pop("XDG_SESSION_TYPE", None)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


class BlindScreen(Screen):
    """A screen whose server is not asked what it drew, as one without the extension DAMAGE.

    Parameters
    ----------
    peeked
        Whether it may be looked at more often than asked.
    """

    def __init__(self, *, peeked: bool) -> None:
        super().__init__()
        self.can_be_peeked = peeked

    def _meet_display(self) -> None:
        """There is nobody to be asked."""


class Monitor:
    """What the X server shows."""

    def __init__(self) -> None:
        import xcffib
        from xcffib.xproto import ImageFormat

        self._format = ImageFormat.ZPixmap
        self._connection = xcffib.Connection()
        self._screen = self._connection.get_setup().roots[0]
        self._context = self._connection.generate_id()
        self._connection.core.CreateGC(self._context, self._screen.root, 0, [])
        self._shown: NDArray[np.uint8] | None = None

    def show(self, pixels: NDArray[np.uint8]) -> float:
        """Draw what changed; when that was done."""
        height, width = pixels.shape[:2]
        padded = np.dstack([pixels[:, :, ::-1], np.zeros((height, width), np.uint8)])
        for top in range(0, height, BAND):
            part = padded[top : top + BAND]
            if self._shown is None or not np.array_equal(part, self._shown[top : top + BAND]):
                self._connection.core.PutImage(
                    self._format, self._screen.root, self._context, width, len(part), 0, top, 0,
                    self._screen.root_depth, part.nbytes, part.tobytes(),
                )  # fmt: skip
        self._connection.core.GetInputFocus().reply()
        self._shown = padded
        return time.monotonic()

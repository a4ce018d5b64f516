"""Video files, network streams and cameras, decoded by FFmpeg through PyAV (the extra ``video``)."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vedette.errors import SourceError
from vedette.sources.frame import Frame
from vedette.sources.source import Source, SourceEnded

__all__ = ["Camera", "Stream", "Video"]

_FORMATS = {
    "yuv420p": "i420",
    "nv12": "nv12",
    "gray": "gray",
    "rgb24": "rgb",
    "bgr24": "bgr",
    "rgba": "rgba",
    "bgra": "bgra",
}
"""Pixel formats that are passed on as they are, by FFmpeg's names; others are converted to RGB."""

_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}

_FULL_RANGE = 2


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise SourceError(
            f"videos, streams and cameras need PyAV ({error}); pip install 'vedette[video]'"
        ) from error
    return av


class Video(Source):
    """A video file, every frame in order.

    Parameters
    ----------
    path
        Of the file, or an address.
    interval_s
        Least time between two frames that are given, in the video's own time; the others are decoded and left
        out. None gives all.
    options
        For FFmpeg, by its names.
    timeout_s
        After so long without data, opening or reading fails.
    """

    comparison = "luma"

    def __init__(
        self,
        path: str,
        *,
        interval_s: float | None = None,
        options: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        super().__init__(path)
        self._timeout_s = timeout_s
        self._path = path
        self._format: str | None = None
        self._interval_s = interval_s
        self._options = dict(options or {})
        self._container: Any = None
        self._packets: Iterator[Any] = iter(())
        self._decoded: deque[Any] = deque()
        self._index = 0
        self._due_s = float("-inf")
        self._flushed = False

    def open(self) -> None:
        """Open the file and find its video."""
        av = _av()
        try:
            container = av.open(
                self._path,
                format=self._format,
                options=self._options,
                timeout=(self._timeout_s, self._timeout_s),
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._lost(error, "cannot be opened") from error
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self.name}: there is no video in it")
        stream = container.streams.video[0]
        # One thread: decoding a frame a second is not worth waking more, and frames come without delay.
        stream.codec_context.thread_count = 1
        self._container = container
        self._packets = container.demux(stream)
        self._decoded.clear()
        self._due_s = float("-inf")
        self._flushed = False

    def close(self) -> None:
        """Close the file."""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame that is due."""
        del timeout_s
        while True:
            picture = self._next()
            if picture.is_corrupt:
                self.count_dropped("corrupt")
                continue
            position = picture.time
            if self._interval_s is not None and position is not None:
                if position < self._due_s - 1e-6:
                    continue
                # From the frame's own time on, so that gaps in the video shift what comes after them.
                self._due_s = max(self._due_s + self._interval_s, position)
                if self._due_s <= position:
                    self._due_s = position + self._interval_s
            frame = self._frame(picture, position)
            self._index += 1
            return frame

    def _next(self) -> Any:
        """The next picture that can be decoded."""
        av = _av()
        while not self._decoded:
            if self._container is None or self._flushed:
                raise self._ended()
            try:
                packet = next(self._packets)
            except StopIteration:
                raise self._ended() from None
            except (av.error.FFmpegError, OSError, ValueError) as error:
                if isinstance(error, av.error.EOFError):
                    raise self._ended() from None
                raise self._lost(error, "cannot be read on") from error
            try:
                # A packet of no size is the end: what the decoder kept comes out.
                self._flushed = packet.dts is None and packet.size == 0
                self._decoded.extend(packet.decode())
            except av.error.EOFError:
                raise self._ended() from None
            except (av.error.FFmpegError, ValueError):
                self.count_dropped("corrupt")
        return self._decoded.popleft()

    def _ended(self) -> Exception:
        return SourceEnded()

    def _lost(self, error: Exception, what: str) -> SourceError:
        reason = getattr(error, "strerror", None) or str(error)
        return SourceError(f"{self.name}: {what}: {reason}", temporary=self.live)

    def _frame(self, picture: Any, position: float | None) -> Frame:
        name = picture.format.name
        at = time.time()
        if name in _FORMATS and picture.color_range != _FULL_RANGE:
            planes = [_plane(plane) for plane in picture.planes]
            chosen: Any = _FORMATS[name]
            if chosen == "nv12":
                planes[1] = planes[1].reshape(planes[1].shape[0], -1, 2)
            elif chosen in _CHANNELS:
                planes = [planes[0].reshape(picture.height, -1, _CHANNELS[chosen])]
            width = picture.width
            planes = [
                plane[:, : width if index == 0 else -(-width // 2)] for index, plane in enumerate(planes)
            ]
            return Frame(tuple(planes), chosen, self._index, at, position)
        return Frame((picture.to_ndarray(format="rgb24"),), "rgb", self._index, at, position)


def _plane(plane: Any) -> Any:
    """The bytes of a plane, with the padding of its rows."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


class Stream(Video):
    """A network stream: RTSP, RTMP, HTTP and whatever else FFmpeg opens."""

    live = True

    def __init__(
        self, address: str, *, options: Mapping[str, str] | None = None, timeout_s: float = 10.0
    ) -> None:
        chosen = dict(options or {})
        if address.startswith("rtsp"):
            # Without this FFmpeg tries UDP first, and lost packets are corrupt frames.
            chosen.setdefault("rtsp_transport", "tcp")
        super().__init__(address, options=chosen, timeout_s=timeout_s)
        # A password in the address must not reach the store or the screen.
        self.name = re.sub(r"//[^/@]*@", "//", address)

    def _ended(self) -> Exception:
        return SourceError(f"{self.name}: the stream ended", temporary=True)


class Camera(Video):
    """A camera of this machine.

    Parameters
    ----------
    device
        Its number, or its name or path as the system has it.
    size
        Width and height to ask for.
    rate
        Frames a second to ask for: few, so that little is decoded.
    """

    live = True

    def __init__(
        self, device: int | str = 0, *, size: tuple[int, int] | None = None, rate: float | None = None
    ) -> None:
        options = {}
        if size is not None:
            options["video_size"] = f"{size[0]}x{size[1]}"
        if rate is not None:
            options["framerate"] = f"{rate:g}"
        address, self_format = _device(device)
        super().__init__(address, options=options)
        self.name = f"camera:{device}"
        self._format = self_format

    def open(self) -> None:
        """Open the camera; without the wished size and rate where it does not have them."""
        try:
            super().open()
        except SourceError:
            if not self._options:
                raise
            wished, self._options = self._options, {}
            with contextlib.ExitStack() as stack:
                stack.callback(setattr, self, "_options", wished)
                super().open()

    def _ended(self) -> Exception:
        return SourceError(f"{self.name}: the camera is gone", temporary=True)


def _device(device: int | str) -> tuple[str, str]:
    """Address and format of a camera for FFmpeg."""
    number = isinstance(device, int) or device.isdecimal()
    if sys.platform == "darwin":
        return str(device), "avfoundation"
    if sys.platform == "win32":
        if number:
            raise SourceError(f"camera:{device}: on Windows cameras have names: camera:NAME OF THE CAMERA")
        return f"video={device}", "dshow"
    return (f"/dev/video{device}" if number else str(device)), "v4l2"

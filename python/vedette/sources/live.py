"""Live sources: the latest frame counts, and a source that is lost is opened again."""

from __future__ import annotations

import contextlib
import random
import threading
import time

from vedette.errors import SourceError, VedetteError
from vedette.sources.frame import Frame
from vedette.sources.source import Source, SourceEnded

__all__ = ["Latest"]


class Latest(Source):
    """Reads a source on a thread of its own, keeps the latest frame only, and opens it again when it is lost.

    Parameters
    ----------
    source
        What is read.
    first_wait_s, longest_wait_s
        How long to wait before it is opened again; each time twice as long as before.
    stall_s
        After so long without a frame that is reported; reading itself fails after the source's own timeout.
    """

    live = True

    def __init__(
        self,
        source: Source,
        *,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 30.0,
        stall_s: float = 20.0,
    ) -> None:
        super().__init__(source.name)
        self.comparison = source.comparison
        # What the inner source drops counts here.
        self.dropped = source.dropped
        self._source = source
        self._waits = (first_wait_s, longest_wait_s)
        self._stall_s = stall_s
        self._slot: Frame | None = None
        self._error: SourceError | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._alive_at = time.monotonic()

    def open(self) -> None:
        """Begin to read; a source that cannot be opened yet is tried again."""
        self._closing.clear()
        self._error = None
        self._slot = None
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"read {self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def read(self, timeout_s: float) -> Frame | None:
        """The latest frame, each once; None where none came in this time."""
        with self._changed:
            self._changed.wait_for(self._is_awaited, timeout_s)
            if self._slot is not None:
                frame, self._slot = self._slot, None
                return frame
            if self._error is not None:
                raise self._error
        if time.monotonic() - self._alive_at > self._stall_s and not self._closing.is_set():
            self._alive_at = time.monotonic()
            self.report("stalled", f"no frame for {self._stall_s:.0f} s")
        return None

    @property
    def waiting(self) -> int:
        """Whether the latest frame was not read yet."""
        return int(self._slot is not None)

    def skip(self) -> None:
        """Drop the frame that waits."""
        with self._changed:
            self._slot = None

    def _is_awaited(self) -> bool:
        return self._slot is not None or self._error is not None or self._closing.is_set()

    def _run(self) -> None:
        wait_s, longest_s = self._waits
        lost = False
        while not self._closing.is_set():
            try:
                self._source.open()
                self._alive_at = time.monotonic()
                while not self._closing.is_set():
                    frame = self._source.read(0.5)
                    if frame is None:
                        continue
                    if lost:
                        self.report("back", "")
                        lost = False
                    wait_s = self._waits[0]
                    self._put(frame)
            except SourceEnded:
                self._fail(SourceError(f"{self.name}: ended"))
                return
            except SourceError as error:
                if self._closing.is_set():
                    return
                if not error.temporary:
                    self._fail(error)
                    return
                if not lost:
                    self.report("lost", str(error))
                    lost = True
            finally:
                with contextlib.suppress(VedetteError):
                    self._source.close()
            # Not all at the same moment, where several come back together.
            self._closing.wait(wait_s * random.uniform(0.8, 1.2))
            wait_s = min(2 * wait_s, longest_s)
            self._alive_at = time.monotonic()

    def _put(self, frame: Frame) -> None:
        with self._changed:
            self._alive_at = time.monotonic()
            if self._slot is not None:
                self.count_dropped("newer frame came")
            self._slot = frame
            self._changed.notify_all()

    def _fail(self, error: SourceError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

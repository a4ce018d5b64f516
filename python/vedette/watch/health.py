"""What a watch knows of itself: frames by what became of them, processor time by stage, what stalls."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SourceHealth", "StageClock"]

STAGES = ("capture", "gate", "inference", "storage")


class StageClock:
    """Processor seconds by stage; what belongs to none of them is overhead.

    Inference uses several threads, so its time is that of the process; the others' is that of their thread.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._began = time.process_time()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside."""
        clock = time.process_time if name == "inference" else time.thread_time
        start = clock()
        try:
            yield
        finally:
            self.seconds[name] += clock() - start

    def by_stage(self) -> dict[str, float]:
        """Seconds by stage, with the overhead and the total."""
        total = time.process_time() - self._began
        known = {name: self.seconds[name] for name in STAGES}
        return {**known, "overhead": max(0.0, total - sum(known.values())), "total": total}


@dataclass(slots=True)
class SourceHealth:
    """One source's counters and times; times are of the monotonic clock.

    Attributes
    ----------
    seen, unchanged, processed, failed
        Frames read; of them those that the gate held back, that tasks looked at, and at which a task failed.
    state
        ``starting``, ``watching``, ``paused``, ``lost``, ``ended`` or ``failed``.
    processing_since
        When the frame being processed was begun.
    """

    name: str
    seen: int = 0
    unchanged: int = 0
    processed: int = 0
    failed: int = 0
    events: int = 0
    reopened: int = 0
    waiting: int = 0
    state: str = "starting"
    detail: str = ""
    last_frame: float | None = None
    last_output: float | None = None
    processing_since: float | None = None
    stalled: bool = False
    dropped: dict[str, int] = field(default_factory=dict)

    def stall(self, now: float, limit_s: float) -> str | None:
        """What stalls, if anything has for so long."""
        if self.processing_since is not None and now - self.processing_since > limit_s:
            return f"a frame has been processed for {now - self.processing_since:.0f} s"
        if self.state == "watching" and self.last_frame is not None and now - self.last_frame > limit_s:
            return f"no frame for {now - self.last_frame:.0f} s"
        return None

    def to_dict(self, now: float) -> dict[str, Any]:
        """As plain values, ready for JSON."""
        return {
            "source": self.name,
            "state": self.state,
            "detail": self.detail,
            "seen": self.seen,
            "unchanged": self.unchanged,
            "processed": self.processed,
            "failed": self.failed,
            "dropped": dict(self.dropped),
            "waiting": self.waiting,
            "events": self.events,
            "reopened": self.reopened,
            "stalled": self.stalled,
            "last_frame_age_s": None if self.last_frame is None else round(now - self.last_frame, 3),
            "last_output_age_s": None if self.last_output is None else round(now - self.last_output, 3),
        }

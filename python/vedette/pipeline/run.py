"""One stream through a pipeline: what is under way, what has arrived, what was dropped and why."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from vedette.errors import ClosedError, StageError

OnError = Literal["stop", "skip", "return"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item."""

    index: int
    value: Any = None
    error: StageError | None = None


class Run:
    """Bounded by its window: an item is under way from when it is taken in until its result is taken out."""

    def __init__(
        self,
        *,
        window: int,
        ordered: bool,
        latest: bool,
        on_error: OnError,
        told: Counter[str] | None = None,
    ) -> None:
        self.latest = latest
        self.stopped = False
        self.drops: Counter[str] = Counter()
        # The caller's may count other streams too.
        self._told: Counter[str] = Counter() if told is None else told
        self._window = window
        self._ordered = ordered and not latest
        self._on_error = on_error
        self._changed = threading.Condition()
        self._under_way = 0
        self._taken_in = 0
        self._arrived: dict[int, Outcome | None] = {}
        """Outcomes by index; None for items that were dropped or skipped."""
        self._next = 0
        self._source_ended = False
        self._source_error: BaseException | None = None

    def take_in(self) -> int | None:
        """The number of a new item, as soon as there is room for it; None where the run has ended."""
        with self._changed:
            while not self.latest and self._under_way >= self._window and not self.stopped:
                self._changed.wait()
            if self.stopped:
                return None
            self._under_way += 1
            self._taken_in += 1
            return self._taken_in - 1

    def end_source(self, error: BaseException | None = None) -> None:
        """There are no more items."""
        with self._changed:
            self._source_ended, self._source_error = True, error
            self._changed.notify_all()

    def arrive(self, outcome: Outcome) -> None:
        """An item has passed the last stage, or failed in one."""
        with self._changed:
            if outcome.error is not None and self._on_error == "skip":
                self._drop(outcome.index, f"failed in {outcome.error.stage}")
                return
            if not self.latest:
                self._arrived[outcome.index] = outcome
            elif outcome.index < self._next:
                self._drop(outcome.index, "overtaken by a newer result")
                return
            else:
                for older in [index for index in self._arrived if index < outcome.index]:
                    del self._arrived[older]
                    self._drop(older, "newer result before this one was taken")
                if self._arrived:
                    self._drop(outcome.index, "overtaken by a newer result")
                    return
                self._arrived[outcome.index] = outcome
            self._changed.notify_all()

    def drop(self, index: int, cause: str) -> None:
        """An item goes no further."""
        with self._changed:
            self._drop(index, cause)

    def stop(self) -> None:
        """Take nothing more in; what is under way is dropped where it is."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def take_out(self) -> Outcome | None:
        """The next outcome; None at the end.

        Raises
        ------
        StageError
            The item failed and the stream is to stop at failures.
        BaseException
            What the source raised, once everything before has been taken out.
        """
        with self._changed:
            while True:
                index = self._due()
                if index is not None:
                    outcome = self._arrived.pop(index)
                    self._next = max(self._next, index + 1)
                    if outcome is None:
                        continue
                    self._under_way -= 1
                    self._changed.notify_all()
                    if outcome.error is not None and self._on_error == "stop":
                        self.stopped = True
                        raise outcome.error
                    return outcome
                if self.stopped:
                    raise ClosedError("the pipeline was shut down while this stream was under way")
                if self._source_ended and not self._under_way:
                    if self._source_error is not None:
                        raise self._source_error
                    return None
                self._changed.wait()

    def _due(self) -> int | None:
        if self._ordered:
            return self._next if self._next in self._arrived else None
        return next(iter(self._arrived), None)

    def _drop(self, index: int, cause: str) -> None:
        self.drops[cause] += 1
        self._told[cause] += 1
        self._under_way -= 1
        if self._ordered:
            # Those behind it must not wait for it.
            self._arrived[index] = None
        self._changed.notify_all()

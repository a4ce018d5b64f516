"""When a live source is looked at: as often as asked, or at once where it tells of a change."""

from __future__ import annotations

import time
from collections.abc import Callable

from vedette.sources import Source
from vedette.watch.pace import Pace

__all__ = ["Looks"]

_STILL_S = 30.0
"""After so long without a change a source is no longer peeked at."""

_LONGEST_SILENCE_S = 10.0
"""Longest time for which a source that tells of nothing is believed."""


class Looks:
    """The looks at one source.

    A source that tells of changes need not be looked at while it tells of none, if it can be believed: each
    look that finds what it said, nothing, lets it be silent for twice as long, and one that finds something
    has it looked at as often as asked again.

    Parameters
    ----------
    source
        What is looked at; its wait ends early when the source is interrupted.
    rate
        Looks a second.
    peek_s
        A source that can be peeked at and does not tell is looked at ahead of time after so long; 0: never.
    silence_s
        Longest time between two looks, whatever the source says.
    wait
        Waits for so many seconds; True where the watch is to end.
    """

    def __init__(
        self, source: Source, rate: float, peek_s: float, silence_s: float, wait: Callable[[float], bool]
    ) -> None:
        now = time.monotonic()
        self._source, self._rate, self._peek_s, self._wait = source, rate, peek_s, wait
        self._longest_silence_s = min(silence_s, _LONGEST_SILENCE_S)
        self._pace = Pace(1 / rate, now)
        self._changed = now
        self._silence_s = 0.0
        self._told = True

    def await_next(self, slowed: float, is_over: Callable[[], bool]) -> bool:
        """Wait until the source is to be looked at; False where it no longer is.

        ``slowed`` is the part of the looks asked for that is taken now.
        """
        pace = self._pace
        pace.interval_s = 1 / (self._rate * slowed)
        began = time.monotonic()
        while not is_over():
            now = time.monotonic()
            self._told = False
            wait_s = pace.wait_s(now)
            if self._source.tells_changes:
                wait_s = max(wait_s, pace.looked_in_s(self._silence_s, now))
            if wait_s <= 0:
                break
            hurry_s = pace.hurry_in_s(now)
            if hurry_s > 0:
                self._wait(min(wait_s, hurry_s))
            elif self._source.tells_changes:
                self._told = self._source.await_change(wait_s)
                if self._told:
                    break
            else:
                peek_s = self._peek_in_s(slowed, now)
                if not self._wait(min(wait_s, peek_s)) and peek_s < wait_s:
                    break
        else:
            return False
        self._source.count_dropped("busy", pace.look(time.monotonic(), began))
        return True

    def found(self, change: bool) -> None:
        """Note whether the look found a change."""
        now = time.monotonic()
        if change:
            self._changed = now
            self._pace.spend(now)
        if not self._told:
            longer_s = min(2 * max(self._silence_s, self._pace.interval_s), self._longest_silence_s)
            self._silence_s = 0.0 if change else longer_s

    def is_late(self) -> bool:
        """Whether the next look is due already."""
        return self._source.live and self._pace.late(time.monotonic())

    def _peek_in_s(self, slowed: float, now: float) -> float:
        """Seconds until a source that does not tell of changes is looked at ahead of time."""
        wanted = self._peek_s > 0 and self._source.can_be_peeked
        if not wanted or now - self._changed >= _STILL_S:
            return float("inf")
        return self._pace.looked_in_s(self._peek_s / slowed, now)

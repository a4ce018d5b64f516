"""When a live source is looked at next."""

from __future__ import annotations

__all__ = ["Pace"]

_HURRIES = 4.0
"""Looks ahead of time that are there at once after a pause."""

_ALWAYS_S = 0.05
"""Least time between two looks."""


class Pace:
    """At least a look every interval, and sooner where the source tells of a change.

    Looks ahead of time are paid for out of what the rate allows: a source that changes all the time is looked
    at as often as asked, and one that rests for a second now and then at the moment it changes.

    Parameters
    ----------
    interval_s
        Between two looks.
    now
        The time, in seconds of any clock.
    """

    def __init__(self, interval_s: float, now: float) -> None:
        self.interval_s = interval_s
        self._due = now
        self._looked = float("-inf")
        self._hurries = _HURRIES
        self._earned_at = now

    def wait_s(self, now: float) -> float:
        """Seconds until the next look is due."""
        return max(0.0, self._due - now)

    def hurry_in_s(self, now: float) -> float:
        """Seconds until the source may be looked at ahead of time."""
        self._earn(now)
        lacking = max(0.0, 1.0 - self._hurries) * self.interval_s
        return max(lacking, self._looked + _ALWAYS_S - now, 0.0)

    def looked_in_s(self, interval_s: float, now: float) -> float:
        """Seconds until so much time has passed since the last look."""
        return max(0.0, self._looked + interval_s - now)

    def late(self, now: float) -> bool:
        """Whether a look is overdue: the one before took too long."""
        return now > self._due + 0.1 * self.interval_s

    def look(self, now: float, free: float | None = None) -> int:
        """Note a look by someone who was ``free`` to look since then (now); how many were missed before.

        The next is due an interval after this one was; time lost is not made up for.
        """
        free = now if free is None else free
        missed = max(0, int((free - self._due) / self.interval_s))
        due = self._due + self.interval_s
        if now < self._due or free < self._due <= due < now:
            # Ahead of time, or put off by someone who could have looked.
            due = now + self.interval_s
        self._due = max(due, now)
        self._looked = now
        return missed

    def spend(self, now: float) -> None:
        """Note that the look found a change: those cost something, looks that find nothing hardly do."""
        self._earn(now)
        self._hurries = max(0.0, self._hurries - 1.0)

    def _earn(self, now: float) -> None:
        self._hurries = min(_HURRIES, self._hurries + (now - self._earned_at) / self.interval_s)
        self._earned_at = now

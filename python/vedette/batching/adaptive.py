"""Batches as large as a target latency allows, by what batches have cost so far."""

from __future__ import annotations

from collections import deque
from typing import Any

from vedette.batching.policy import BatchConfig, BatchPolicy, Group

_KEEP = 0.92
"""Weight of what was known, with each batch: what is a dozen batches old counts a third."""

_RIDGE = 0.02
"""Weight of "there is no fixed cost", against one batch. Where all batches have one size, the data cannot
tell fixed from growing cost, and taking it all for growing never promises more than was seen."""

_RESIDUALS = 40
_SHIFT = 1.3
"""A cost this many times off, twice in a row, is another cost and no residual."""


class CostModel:
    """Seconds that a batch of n takes: a line through past batches, and the 95th percentile of its misses.

    The line is a ridge fit with exponentially falling weights.
    """

    def __init__(self) -> None:
        self.slope = 0.0
        self.fixed = 0.0
        self.largest = 0
        """The largest batch seen."""
        self._weight = self._n = self._nn = self._y = self._ny = 0.0
        self._residuals: deque[float] = deque(maxlen=_RESIDUALS)
        self._margin = 0.0
        self._off = 0.0
        """The ratio by which the last batch was off, if it was."""

    @property
    def known(self) -> bool:
        """Whether there has been a batch."""
        return self.largest > 0

    def learn(self, size: int, seconds: float) -> None:
        """Take note of a batch."""
        if self.known:
            expected = self._line(size)
            ratio = seconds / expected if expected > 0 else 1.0
            beyond = abs(seconds - expected) > self._margin
            off = ratio if beyond and not 1 / _SHIFT < ratio < _SHIFT else 0.0
            if off and self._off and (off > 1) == (self._off > 1):
                self._shift(ratio)
            else:
                self._residuals.append(seconds - expected)
                self._off = off
        self._scale(_KEEP)
        self._weight += 1.0
        self._n += size
        self._nn += size * size
        self._y += seconds
        self._ny += size * seconds
        self.largest = max(self.largest, size)
        self._fit()

    def predict(self, size: int) -> float:
        """Seconds that nineteen of twenty batches of this size stay below."""
        return self._line(size) + self._margin

    def largest_within(self, seconds: float, most: int, *, sure: bool = True) -> int:
        """The largest size predicted to take no longer, at least 1; not far beyond what has been tried.

        Where not ``sure``, of batches on the line itself.
        """
        most = min(most, 2 * self.largest) if self.known else 1
        margin = self._margin if sure else 0.0
        if self.slope > 0:
            room = (seconds - self.fixed - margin) / self.slope
            # Not more than `most`, so that a tiny slope does not make a number too large for an int.
            most = int(min(most, max(room + 1e-9, 0.0)))
        elif self.fixed + margin > seconds:
            most = 1
        return max(1, most)

    def _line(self, size: int) -> float:
        return self.slope * size + self.fixed

    def _fit(self) -> None:
        weight = self._weight + _RIDGE * self._weight
        determinant = self._nn * weight - self._n * self._n
        slope = (self._ny * weight - self._n * self._y) / determinant
        fixed = (self._nn * self._y - self._n * self._ny) / determinant
        if slope < 0:
            slope, fixed = 0.0, self._y / self._weight
        elif fixed < 0:
            slope, fixed = self._ny / self._nn, 0.0
        self.slope, self.fixed = slope, fixed
        ordered = sorted(self._residuals)
        # Of few residuals the largest is taken.
        self._margin = max(0.0, ordered[int(0.95 * (len(ordered) - 1) + 0.999)]) if ordered else 0.0

    def _shift(self, ratio: float) -> None:
        """The machine, or the work, has changed: keep the form of the line and little of its weight."""
        self._y *= ratio
        self._ny *= ratio
        self._scale(0.3)
        self._residuals.clear()
        self._off = 0.0

    def _scale(self, factor: float) -> None:
        self._weight *= factor
        self._n *= factor
        self._nn *= factor
        self._y *= factor
        self._ny *= factor


class AdaptivePolicy(BatchPolicy):
    """As many items as the target latency allows; waiting only where that costs less than it saves.

    An item that comes just after a batch has started waits for that batch and then for its own, so in the
    long run a batch may take half of the target; where the oldest item has waited less, what is left of it.
    """

    def __init__(self, config: BatchConfig, target_s: float) -> None:
        super().__init__(config)
        self.target_s = target_s
        self.cost = CostModel()
        self._gap: float | None = None
        """Mean time between two arrivals."""
        self._last: float | None = None

    def submit(self, now: float, entry: Any) -> bool:
        """Take an item in, and note how fast items come."""
        if self._last is not None:
            # No single pause makes a busy time look quiet.
            gap = min(now - self._last, self.target_s)
            self._gap = gap if self._gap is None else self._gap + 0.05 * (gap - self._gap)
        self._last = now
        return super().submit(now, entry)

    def finished(self, size: int, took_s: float) -> None:
        """A batch has ended; learn what it cost."""
        super().finished(size, took_s)
        self.cost.learn(size, took_s)

    def limit(self, waited_s: float) -> int:
        """The most items that may run with one that has waited so long."""
        room = max(self.target_s - waited_s, self.target_s / 2)
        # Once items are late, batches small enough to be sure would give less than what comes in, for good.
        sure = waited_s < self.target_s
        return self.cost.largest_within(room, self.config.max_batch_size, sure=sure)

    def _due(self, group: Group, now: float) -> tuple[int, str]:
        limit = self.limit(now - group.oldest())
        if group.count >= limit:
            return limit, "full" if limit == self.config.max_batch_size else "target"
        if self.draining:
            return group.count, "drain"
        return (group.count, "waited") if now >= self._due_at(group) else (0, "")

    def _due_at(self, group: Group) -> float:
        """At once, unless one more arrival delays those who wait by less than the fixed cost it saves."""
        oldest = group.oldest()
        if not self.cost.known or self._gap is None or group.count * self._gap >= self.cost.fixed:
            return oldest
        in_time = oldest + self.target_s - self.cost.predict(group.count + 1)
        due = min(group.latest + 2 * self._gap, in_time)
        if self._wait_s:
            due = min(due, oldest + self._wait_s)
        return max(due, oldest)

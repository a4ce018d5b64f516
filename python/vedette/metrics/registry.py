"""Counters, gauges and histograms, and the registry that gathers them."""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from vedette.errors import InputError

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]

MAX_SERIES = 200
"""Combinations of labels that a metric has at most; what comes later counts for ``other``."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for times."""


@dataclass
class Buckets:
    """How often values up to each bound came, the last count being those beyond; not safe among threads."""

    bounds: tuple[float, ...] = SECONDS
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Take note of a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """Values in all."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """A value that this share of all stay below, as far as the bounds tell; 0 where there are none."""
        if self.count == 0:
            return 0.0
        wanted, seen, low = share * self.count, 0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and seen + count >= wanted:
                return low + (bound - low) * max(0.0, wanted - seen) / count
            seen += count
            low = bound
        return low

    def copy(self) -> Buckets:
        """The same values, apart."""
        return Buckets(self.bounds, list(self.counts), self.sum)

    def add(self, other: Buckets) -> None:
        """Take over another's values, of the same bounds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


Value = float | Buckets


@dataclass
class Family:
    """A metric and its values by labels."""

    name: str
    kind: Kind
    help: str
    samples: dict[Labels, Value] = field(default_factory=dict)

    def add(self, value: Value, **labels: str) -> Family:
        """Add a value; to what is there, where these labels have one."""
        self.merge(tuple(sorted(labels.items())), value)
        return self

    def merge(self, key: Labels, value: Value) -> None:
        """Add a value under labels, within the number of series a metric may have."""
        if key not in self.samples and len(self.samples) >= MAX_SERIES:
            key = tuple((name, "other") for name, _ in key)
        present = self.samples.get(key)
        if isinstance(value, Buckets):
            if isinstance(present, Buckets):
                present.add(value)
            else:
                self.samples[key] = value.copy()
        else:
            assert not isinstance(present, Buckets)
            self.samples[key] = value if present is None else present + value


class Source(Protocol):
    """Whatever has metrics to give."""

    def metrics(self) -> Iterable[Family]:
        """Its metrics now."""
        ...


class Metric:
    """A metric that a program keeps by itself; made by :meth:`Registry.counter` and its like."""

    def __init__(self, family: Family, bounds: tuple[float, ...]) -> None:
        self._family = family
        self._bounds = bounds
        self._lock = threading.Lock()

    def add(self, amount: float = 1.0, **labels: str) -> None:
        """Count; a gauge may go down as well."""
        if self._family.kind == "histogram" or (self._family.kind == "counter" and amount < 0):
            raise InputError(f"{self._family.name} is a {self._family.kind}: it cannot add {amount}")
        with self._lock:
            self._family.add(amount, **labels)

    def set(self, value: float, **labels: str) -> None:
        """Set a gauge."""
        if self._family.kind != "gauge":
            raise InputError(f"{self._family.name} is a {self._family.kind}: it cannot be set")
        with self._lock:
            key = tuple(sorted(labels.items()))
            self._family.samples.pop(key, None)
            self._family.merge(key, value)

    def observe(self, value: float, **labels: str) -> None:
        """Take note of a value in a histogram."""
        if self._family.kind != "histogram":
            raise InputError(f"{self._family.name} is a {self._family.kind}: it cannot observe")
        one = Buckets(self._bounds)
        one.observe(value)
        with self._lock:
            self._family.add(one, **labels)

    def metrics(self) -> Iterator[Family]:
        """Its values now."""
        copy = Family(self._family.name, self._family.kind, self._family.help)
        with self._lock:
            for key, value in self._family.samples.items():
                copy.merge(key, value)
        yield copy


class Registry:
    """Everything that has metrics. What it tracks may die: it does not keep it alive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: weakref.WeakSet[Source] = weakref.WeakSet()
        self._own: dict[str, Metric] = {}

    def track(self, source: Source) -> None:
        """Ask this source as well, as long as it lives."""
        with self._lock:
            self._sources.add(source)

    def counter(self, name: str, help: str) -> Metric:
        """A number that only grows; the same one for the same name."""
        return self._metric(name, "counter", help, ())

    def gauge(self, name: str, help: str) -> Metric:
        """A number that goes up and down."""
        return self._metric(name, "gauge", help, ())

    def histogram(self, name: str, help: str, bounds: tuple[float, ...] = SECONDS) -> Metric:
        """How often which values came."""
        if not bounds or list(bounds) != sorted(set(bounds)):
            raise InputError(f"bounds must rise, got {bounds}")
        return self._metric(name, "histogram", help, bounds)

    def collect(self) -> list[Family]:
        """All metrics now, by name. Values of several sources under the same labels are added up."""
        with self._lock:
            sources: list[Source] = [*self._own.values(), *self._sources]
        gathered: dict[str, Family] = {}
        for source in sources:
            for family in source.metrics():
                whole = gathered.setdefault(family.name, Family(family.name, family.kind, family.help))
                for key, value in family.samples.items():
                    whole.merge(key, value)
        return [gathered[name] for name in sorted(gathered)]

    def _metric(self, name: str, kind: Kind, help: str, bounds: tuple[float, ...]) -> Metric:
        if not name.isidentifier():
            raise InputError(f"a metric's name is letters, digits and underscores, got {name!r}")
        with self._lock:
            metric = self._own.get(name)
            if metric is None:
                metric = self._own[name] = Metric(Family(name, kind, help), bounds)
            elif metric._family.kind != kind:
                raise InputError(f"{name} is a {metric._family.kind} already")
            return metric


_registry = Registry()

if hasattr(os, "register_at_fork"):
    # Whoever held the lock stayed behind.
    os.register_at_fork(after_in_child=lambda: setattr(_registry, "_lock", threading.Lock()))


def registry() -> Registry:
    """The registry of this process; runtimes, batchers, pipelines and budgets are in it by themselves."""
    return _registry


def to_json(families: Iterable[Family]) -> list[dict[str, object]]:
    """Metrics as JSON holds them."""

    def plain(value: Value) -> object:
        if isinstance(value, Buckets):
            return {"bounds": list(value.bounds), "counts": value.counts, "sum": value.sum}
        return value

    return [
        {
            "name": family.name,
            "kind": family.kind,
            "help": family.help,
            "samples": [
                {"labels": dict(key), "value": plain(value)} for key, value in family.samples.items()
            ],
        }
        for family in families
    ]


def of_counts(counts: Mapping[int, int], bounds: tuple[float, ...]) -> Buckets:
    """Buckets of values of which it is known how often each came."""
    buckets = Buckets(bounds)
    for value, times in counts.items():
        buckets.observe(value, times)
    return buckets

"""Metrics in the form Prometheus reads; needs ``pip install 'vedette[prometheus]'``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from vedette.errors import VedetteError
from vedette.metrics.registry import Buckets, Family, Registry, registry

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
except ImportError as error:
    raise VedetteError(
        "Prometheus' format needs prometheus-client: pip install 'vedette[prometheus]'"
    ) from error

__all__ = ["Collector", "exposition"]


class Collector:
    """For ``prometheus_client.REGISTRY.register(Collector())`` in a program that exports metrics already."""

    def __init__(self, source: Registry | None = None) -> None:
        self._source = source or registry()

    def collect(self) -> Iterator[Metric]:
        """The metrics now, as prometheus_client has them."""
        for family in self._source.collect():
            yield _family(family)


def exposition(source: Registry | None = None) -> str:
    """The metrics now, as text."""
    gathered = CollectorRegistry()
    gathered.register(Collector(source))
    return generate_latest(gathered).decode()


def _family(family: Family) -> Metric:
    names = sorted({name for key in family.samples for name, _ in key})
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=names)
        for key, value in family.samples.items():
            assert isinstance(value, Buckets)
            bounds = [*map(str, value.bounds), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(value.counts)), strict=True))
            histogram.add_metric(_values(key, names), buckets=buckets, sum_value=value.sum)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    simple = kind(family.name, family.help, labels=names)
    for key, value in family.samples.items():
        assert not isinstance(value, Buckets)
        simple.add_metric(_values(key, names), value)
    return simple


def _values(key: tuple[tuple[str, str], ...], names: list[str]) -> list[str]:
    given = dict(key)
    return [given.get(name, "") for name in names]

"""Observers: ranges of streams, in constant memory."""

import numpy as np
import pytest

from vedette.errors import InputError
from vedette.quantization import METHODS, Parameters, observer
from vedette.quantization.histogram import Histogram
from vedette.quantization.observers import rounding_error


def stream(count: int = 8) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [(1 + at) * random.normal(0, 1, (4, 999)).astype(np.float32) for at in range(count)]


def test_minmax() -> None:
    seen = observer("minmax")
    for x in stream():
        seen.update(x)
    every = np.concatenate(stream())
    assert seen.range() == (every.min(), every.max())


def test_moving_average() -> None:
    seen = observer("moving_average", momentum=0.5)
    for high in (2.0, 4.0, 8.0):
        seen.update(np.array([-1.0, high]))
    assert seen.range() == (-1.0, ((2 + 4) / 2 + 8) / 2)


def test_percentile_leaves_outliers_out() -> None:
    seen = observer("percentile", percentile=99.0)
    seen.update(np.linspace(-1, 1, 10001))
    seen.update(np.array([1000.0]))
    low, high = seen.range()
    # The outlier made bins a thousandth of the range wide.
    assert low == pytest.approx(-0.99, abs=1.0)
    assert high < 3


@pytest.mark.parametrize(("method", "most"), [("mse", 37), ("entropy", 30)])
def test_ranges_are_drawn_in_where_that_helps(method: str, most: float) -> None:
    seen = observer(method)
    seen.update(np.random.default_rng(1).normal(0, 1, 100_000))
    seen.update(np.array([40.0]))
    low, high = seen.range()
    assert -6 < low < -2
    # Clipping one of 40 costs as much as rounding a hundred thousand in steps of a few percent more.
    assert 2 < high < most


def test_the_mse_range_has_the_least_error() -> None:
    x = np.random.default_rng(2).laplace(0, 1, 50_000)
    seen = observer("mse")
    seen.update(x)
    best = Parameters.of_range(*seen.range())
    whole = Parameters.of_range(float(x.min()), float(x.max()))

    def error(parameters: Parameters) -> float:
        return float(np.mean((parameters.dequantize(parameters.quantize(x)) - x) ** 2))

    assert error(best) < error(whole)
    # The formula that it is chosen by is the error that is made, within what rounding within bins hides.
    assert rounding_error(x, np.ones(x.size), best) / x.size == pytest.approx(error(best), rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_constant_and_missing_data(method: str) -> None:
    seen = observer(method)
    with pytest.raises(InputError, match="no data"):
        seen.range()
    seen.update(np.empty((0, 3)))
    seen.update(np.full(100, 2.5))
    low, high = seen.range()
    # A percentile lies within the bin that holds the number.
    assert low <= 2.5 + 1e-6
    assert high >= 2.5 - 1e-6
    assert high < 2.6
    with pytest.raises(InputError, match="NaN"):
        seen.update(np.array([np.nan]))


def test_what_does_not_exist_is_said() -> None:
    with pytest.raises(InputError, match="there are 'minmax'"):
        observer("median")
    with pytest.raises(InputError, match="percentile"):
        observer("percentile", percentile=3)
    with pytest.raises(InputError, match="momentum"):
        observer("moving_average", momentum=1.0)


def test_a_histogram_keeps_its_counts_as_it_grows() -> None:
    histogram = Histogram()
    for scale in (1.0, -300.0, 1e6):
        histogram.update(np.linspace(0, scale, 1000, dtype=np.float32))
    assert histogram.counts.sum() == 3000
    assert histogram.counts.size == 2048
    assert (histogram.minimum, histogram.maximum) == (-300.0, 1e6)
    centers, counts = histogram.occupied()
    assert counts[np.argmin(np.abs(centers))] >= 1900


def test_large_arrays_are_sampled_and_count_whole() -> None:
    histogram = Histogram()
    x = np.random.default_rng(0).random((3, 1024, 1024), np.float32)
    histogram.update(x)
    assert histogram.counts.sum() == pytest.approx(x.size)
    centers, counts = histogram.occupied()
    assert float(centers @ counts) / x.size == pytest.approx(0.5, abs=0.01)

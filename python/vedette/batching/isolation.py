"""One bad item fails alone: a batch that fails is run again in halves."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from vedette.errors import BatchError


@dataclass(frozen=True, slots=True)
class Failed:
    """What a call of ``process`` raised."""

    error: BaseException


Answer = list[Any] | Failed


def outcomes_of(
    items: Sequence[Any], *, split: bool, gone: Callable[[int], bool]
) -> Generator[list[Any], Any, list[Any]]:
    """What became of each item: a result, or an exception to raise. ``None`` for items that are ``gone``.

    Yields the items to call ``process`` with; the caller sends what that returned, or :class:`Failed`. It
    runs nothing itself, so threads and coroutines share it. In a batch of n with k bad items about
    ``2 k log2(n)`` calls are added.
    """
    outcomes: list[Any] = [None] * len(items)
    spans: list[Sequence[int]] = [range(len(items))]
    while spans:
        span = [index for index in spans.pop() if not gone(index)]
        if not span:
            continue
        answer = yield [items[index] for index in span]
        if not isinstance(answer, Failed):
            for index, outcome in zip(span, _checked(answer, len(span)), strict=True):
                outcomes[index] = outcome
        elif split and len(span) > 1 and isinstance(answer.error, Exception):
            middle = len(span) // 2
            spans += [span[middle:], span[:middle]]
        else:
            for index in span:
                outcomes[index] = _alone(answer.error, len(span))
    return outcomes


def _checked(answer: Any, count: int) -> Sequence[Any]:
    """The results, or one error for each item where there are not as many."""
    try:
        results = list(answer)
    except TypeError:
        kind = type(answer).__name__
        return _errors(f"process must return a list with a result for each item, got {kind}", count)
    if len(results) != count:
        return _errors(f"process returned {len(results)} results for {count} items", count)
    return [_raisable(result) if isinstance(result, BaseException) else result for result in results]


def _errors(message: str, count: int) -> list[BatchError]:
    return [BatchError(message) for _ in range(count)]


def _alone(error: BaseException, count: int) -> BaseException:
    if count == 1:
        return _raisable(error)
    wrapped = BatchError(f"a batch of {count} failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def _raisable(error: BaseException) -> BaseException:
    # Futures refuse StopIteration, and what is no Exception would end the caller's loop or interpreter.
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = BatchError(f"process raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped

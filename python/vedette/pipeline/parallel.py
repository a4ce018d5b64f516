"""One function over many items on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from vedette.runtime.pool import Runtime, default_runtime

if TYPE_CHECKING:
    from vedette.runtime import Budget

T = TypeVar("T")
R = TypeVar("R")


def parallel_map(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int | None = None,
    chunk_size: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    runtime: Runtime | None = None,
    budget: Budget | None = None,
) -> list[R]:
    """Call a function for each item on several threads; the results, in the order of the items.

    It pays for functions that leave Python: Vedette's own, NumPy's, or those that wait. Items are taken
    several at a time where they take less than a millisecond.

    Parameters
    ----------
    function, items
        What to call, for what.
    workers
        Threads; the cores this process may use unless given.
    chunk_size
        Items a thread takes at a time; decided from the time they take unless given.
    progress
        Called on this thread with the numbers of items done and in all.
    runtime
        The pool to use, instead of the one that all share.
    budget
        Each call is a slice of it.

    Raises
    ------
    Exception
        Whatever the function raised first, in the order of the items; the others are not begun.
    """
    call = function if budget is None else budget.limit(function)
    if runtime is None and workers is not None:
        with Runtime(workers, name="parallel-map") as own:
            return own.map(call, items, chunk_size=chunk_size, progress=progress)
    return (runtime or default_runtime()).map(call, items, chunk_size=chunk_size, progress=progress)

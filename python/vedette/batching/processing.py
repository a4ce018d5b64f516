"""Running a batch: the calls of ``process``, how long they took, and what became of each item."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from vedette.batching.isolation import Failed, outcomes_of

if TYPE_CHECKING:
    from vedette.runtime import Budget

Gone = Callable[[int], bool]


class Processing:
    """``process`` with its failures isolated, within a budget where there is one."""

    def __init__(
        self, process: Callable[[list[Any]], Any], *, split: bool, budget: Budget | None = None
    ) -> None:
        self._process = process
        self._split = split
        self._budget = budget

    def run(self, items: Sequence[Any], gone: Gone) -> tuple[list[Any], float]:
        """Outcomes and seconds of a batch, on this thread."""
        began = time.perf_counter()
        attempts = outcomes_of(items, split=self._split, gone=gone)
        answer: Any = None
        with self._budget.slice() if self._budget else nullcontext():
            while True:
                try:
                    span = attempts.send(answer)
                except StopIteration as end:
                    return end.value, time.perf_counter() - began
                try:
                    answer = self._process(span)
                except BaseException as error:
                    answer = Failed(error)

    async def run_async(self, items: Sequence[Any], gone: Gone) -> tuple[list[Any], float]:
        """The same where ``process`` is a coroutine function."""
        began = time.perf_counter()
        attempts = outcomes_of(items, split=self._split, gone=gone)
        answer: Any = None
        async with self._budget.slice() if self._budget else nullcontext():
            while True:
                try:
                    span = attempts.send(answer)
                except StopIteration as end:
                    return end.value, time.perf_counter() - began
                try:
                    results: Awaitable[Any] = self._process(span)
                    answer = await results
                except BaseException as error:
                    answer = Failed(error)

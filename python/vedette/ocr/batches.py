"""Lines of different widths in batches with little padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """Indices of lines, and the width of their slots."""

    lines: tuple[int, ...]
    width: int


def plan_batches(widths: Sequence[int], *, multiple: int, capacity: int, overhead: int) -> list[Batch]:
    """Group lines so that the sum of padded widths plus ``overhead`` a batch is as small as possible.

    Parameters
    ----------
    widths
        Of the lines, in pixels.
    multiple
        Widths of slots are rounded up to it: equal widths share a plan of the engine.
    capacity
        Most pixels of width in one batch, which bounds its memory; a wider line is a batch of its own.
    overhead
        What starting a batch costs, in pixels of width.
    """
    order = sorted(range(len(widths)), key=lambda line: widths[line])
    padded = [-(-max(1, widths[line]) // multiple) * multiple for line in order]
    # Sorted by width, a best plan cuts the sequence into runs; best[end] is the least cost up to end.
    best = [0] + [0] * len(order)
    starts = [0] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        width = padded[end - 1]
        choices = range(end - 1, max(-1, end - 1 - max(1, capacity // width)), -1)
        starts[end] = min(choices, key=lambda start: best[start] + (end - start) * width)
        best[end] = best[starts[end]] + (end - starts[end]) * width + overhead
    batches = []
    end = len(order)
    while end > 0:
        batches.append(Batch(tuple(order[starts[end] : end]), padded[end - 1]))
        end = starts[end]
    return batches[::-1]

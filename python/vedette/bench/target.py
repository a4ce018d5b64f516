"""A figure beside what it must reach."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A figure and what it must reach.

    Attributes
    ----------
    case, unit, note
        What was measured, in what, and what else there is to know.
    measured, target
        The figure, and the least or the most it may be.
    at_least
        Whether the target is the least.
    peer
        What Vedette was measured against, if anything.
    more
        What a record in JSON says beside this.
    group
        Of measurements.
    """

    case: str
    measured: float
    unit: str
    target: float
    at_least: bool
    note: str = ""
    peer: str | None = None
    more: dict[str, Any] | None = None
    group: str = "flow"

    @property
    def met(self) -> bool:
        """Whether the figure reaches its target."""
        return self.measured >= self.target if self.at_least else self.measured <= self.target

    @property
    def ratio(self) -> float | None:
        """How many times over the target is reached; None where that is no number."""
        above, below = (self.measured, self.target) if self.at_least else (self.target, self.measured)
        return above / below if below > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        facts = {
            "group": self.group,
            "case": self.case,
            "measured": self.measured,
            "unit": self.unit,
            "target": self.target,
            "at_least": self.at_least,
            "ratio": self.ratio,
            "met": self.met,
            "note": self.note,
        }
        if self.peer is not None:
            facts |= {"peer": self.peer, "threads": 1, "speedup": self.ratio}
        return facts | (self.more or {})

    def line(self) -> str:
        """One row."""
        wanted = f"{'>=' if self.at_least else '<='} {self.target:g}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = "reached" if self.met else "MISSED"
        return (
            f"{self.case:58}{self.measured:11.4g} {self.unit:8}{wanted:>10}{ratio:>9}  {verdict:8}"
            f" {self.note}".rstrip()
        )


HEADER = f"{'case':58}{'measured':>11} {'':8}{'target':>10}{'ratio':>9}"


def middle(values: Sequence[float]) -> tuple[float, str]:
    """The median, and all of them in words."""
    return statistics.median(values), ", ".join(f"{value:.3g}" for value in values)

"""What each node of a run took."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ProfileEntry:
    """One node of one run."""

    name: str
    op: str
    shape: list[int]
    microseconds: float
    multiply_accumulates: int
    precision: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The nodes of one run, in the order in which they ran."""

    entries: list[ProfileEntry]

    @property
    def microseconds(self) -> float:
        """Time of all nodes together."""
        return sum(entry.microseconds for entry in self.entries)

    def by_operator(self) -> dict[str, float]:
        """Microseconds by operator, the longest first."""
        totals: dict[str, float] = defaultdict(float)
        for entry in self.entries:
            totals[entry.op] += entry.microseconds
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain lists and numbers."""
        return {"microseconds": self.microseconds, "nodes": [asdict(entry) for entry in self.entries]}

    def __str__(self) -> str:
        lines = [
            f"{'microseconds':>12}  {'GMAC/s':>7}  {'precision':<9}  {'operator':<20} {'shape':<20} name"
        ]
        for entry in sorted(self.entries, key=lambda entry: -entry.microseconds):
            speed = entry.multiply_accumulates / entry.microseconds / 1e3 if entry.microseconds else 0.0
            shape = "x".join(map(str, entry.shape))
            measured = f"{entry.microseconds:12.1f}  {speed:7.1f}  {entry.precision:<9}"
            lines.append(f"{measured}  {entry.op:<20} {shape:<20} {entry.name}")
        return "\n".join([*lines, f"{self.microseconds:12.1f}  in all"])

"""What became of each node of a quantised model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node that multiplies by weights.

    Attributes
    ----------
    value
        Name of what it makes.
    op, precision
        The operator of the float graph, and what it is computed in.
    sqnr
        Signal to noise of the model's outputs, in dB, with this node quantised alone; None where not
        measured.
    microseconds_before, microseconds_after
        Its time in float32 and now.
    reason
        Why it is not in integers, where it is not.
    """

    value: str
    op: str
    precision: str
    sqnr: float | None
    microseconds_before: float | None
    microseconds_after: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A quantised model beside its float original, on the inputs it was calibrated with.

    Attributes
    ----------
    nodes
        Every node that multiplies by weights, in the order in which they run.
    sqnr
        Signal to noise of all outputs together, in dB.
    error
        The same as a share: root of noise over signal.
    microseconds_before, microseconds_after
        Of one run, the least of several, on the threads that it was quantised with.
    bytes_before, bytes_after
        Of all constants.
    inputs
        How many inputs it was calibrated with.
    """

    nodes: tuple[NodeReport, ...]
    sqnr: float
    error: float
    microseconds_before: float
    microseconds_after: float
    bytes_before: int
    bytes_after: int
    inputs: int

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain lists and numbers."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{'precision':<10} {'SQNR dB':>8} {'us before':>10} {'us after':>9}  node"]
        for node in self.nodes:
            numbers = (node.sqnr, node.microseconds_before, node.microseconds_after)
            sqnr, before, after = ("" if number is None else f"{number:.1f}" for number in numbers)
            why = f"  ({node.reason})" if node.reason else ""
            lines.append(
                f"{node.precision:<10} {sqnr:>8} {before:>10} {after:>9}  {node.op} {node.value}{why}"
            )
        lines.append(f"outputs {self.sqnr:.1f} dB")
        lines.append(f"time {self.microseconds_before:.0f} us before, {self.microseconds_after:.0f} us after")
        lines.append(
            f"constants {self.bytes_before / 1e6:.2f} MB before, {self.bytes_after / 1e6:.2f} MB after"
        )
        return "\n".join(lines)

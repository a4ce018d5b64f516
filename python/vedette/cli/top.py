"""Show what a running process does, as it does it: budgets, runtimes, batchers, pipelines.

The process must have called vedette.metrics.serve().

example:
  vedette top
  vedette top 4711 --once --json
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from vedette import metrics
from vedette.cli.terminal import print_json, print_table, table
from vedette.errors import VedetteError
from vedette.metrics import Buckets

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_UNBOUNDED = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette top``."""
    parser.add_argument(
        "pid", metavar="PID", nargs="?", type=_pid, help="the process; the only one unless given"
    )
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between two looks")
    parser.add_argument("--once", action="store_true", help="show it once, and end")
    parser.add_argument("--json", action="store_true", help="write JSON to stdout, once")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette top``."""
    process = _choose(chosen.pid)
    facts = process.read()
    if chosen.json:
        print_json(facts)
        return 0
    from rich.console import Console

    console = Console()
    if chosen.once or not console.is_terminal:
        _print(facts, None)
        while not chosen.once:
            time.sleep(chosen.interval)
            before, facts = facts, process.read()
            _print(facts, before)
        return 0
    from rich.live import Live

    with Live(_view(facts, None, console), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(chosen.interval)
            before, facts = facts, process.read()
            live.update(_view(facts, before, console), refresh=True)


def _print(facts: dict[str, Any], before: dict[str, Any] | None) -> None:
    from rich.console import Console

    console = Console()
    for part in tables(facts, before):
        print_table(_fitting(part, console) if console.is_terminal else part)
    sys.stdout.flush()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0.05 to 3600, got {text!r}")
    return seconds


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"PID is the number of a process, got {text!r}")
    return int(text)


def _choose(pid: int | None) -> metrics.Process:
    found = list(metrics.processes())
    if not found:
        asked = "" if pid is None else f"process {pid} serves no metrics, and "
        raise VedetteError(
            f"{asked}no process serves metrics (nothing in {metrics.folder()}); "
            "call vedette.metrics.serve() in it"
        )
    chosen = [process for process in found if pid in (None, process.pid)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(f"{process.pid} ({process.name})" for process in found)
    if pid is not None:
        raise VedetteError(f"process {pid} serves no metrics; these do: {names}")
    raise VedetteError(f"{len(found)} processes serve metrics; name one of them: {names}")


def _view(facts: dict[str, Any], before: dict[str, Any] | None, console: Console) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    title = Text(f"{facts['name']} ({facts['pid']}), serving for {facts['age_s']:.0f} s", style="bold")
    return Group(title, Text(), *(_fitting(part, console) for part in tables(facts, before)))


def _fitting(made: Table, console: Console) -> Table:
    """The table, or where the terminal is too narrow for it, the same with its columns as rows."""
    from rich.measure import Measurement

    if Measurement.get(console, console.options.update(width=_UNBOUNDED), made).maximum <= console.width:
        return made
    first, *others = made.columns
    owners = list(map(str, first.cells))
    turned = table(str(first.header), *owners, right=tuple(owners))
    for column in others:
        turned.add_row(str(column.header), *column.cells)
    return turned


class _Reading:
    """Values of one answer, and how fast they grow since another."""

    def __init__(self, facts: dict[str, Any], before: dict[str, Any] | None) -> None:
        self._now = {family["name"]: family["samples"] for family in facts["families"]}
        self._then = {family["name"]: family["samples"] for family in (before or facts)["families"]}
        # At first, the average since the start is all there is to show.
        self._span = facts["age_s"] - before["age_s"] if before else max(facts["age_s"], 1e-3)
        self._has_before = before is not None

    def owners(self, name: str, *labels: str) -> list[tuple[str, ...]]:
        """The combinations of these labels that a metric has."""
        found = {
            tuple(sample["labels"].get(label, "") for label in labels) for sample in self._now.get(name, [])
        }
        return sorted(found)

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of a metric's values under labels; None where there is none."""
        return self._sum(self._now, name, labels)

    def rate(self, name: str, **labels: str) -> float:
        """Growth of a counter a second."""
        now = self._sum(self._now, name, labels) or 0.0
        then = (self._sum(self._then, name, labels) or 0.0) if self._has_before else 0.0
        return max(0.0, now - then) / self._span if self._span > 0 else 0.0

    def quantile(self, name: str, share: float, **labels: str) -> float:
        """A quantile of a histogram."""
        for sample in self._now.get(name, []):
            if labels.items() <= sample["labels"].items():
                value = sample["value"]
                return Buckets(tuple(value["bounds"]), list(value["counts"]), value["sum"]).quantile(share)
        return 0.0

    @staticmethod
    def _sum(families: dict[str, Any], name: str, labels: dict[str, str]) -> float | None:
        values = [
            sample["value"] for sample in families.get(name, []) if labels.items() <= sample["labels"].items()
        ]
        return sum(values) if values else None


def tables(facts: dict[str, Any], before: dict[str, Any] | None) -> list[Table]:
    """One table a kind of part that the process has."""
    reading = _Reading(facts, before)
    made = [_process(reading)]
    for name, label, draw in (
        ("vedette_budget_slices_total", "budget", _budgets),
        ("vedette_runtime_tasks_total", "runtime", _runtimes),
        ("vedette_batcher_queued", "batcher", _batchers),
        ("vedette_executor_running", "executor", _executors),
    ):
        if owners := [owner for (owner,) in reading.owners(name, label)]:
            made.append(draw(reading, owners))
    if stages := reading.owners("vedette_pipeline_queued", "pipeline", "stage"):
        made.append(_stages(reading, stages))
    if drops := reading.owners("vedette_pipeline_drops_total", "pipeline", "cause"):
        made.append(_drops(reading, drops))
    return made


def _process(reading: _Reading) -> Table:
    made = table("process", "CPU cores", "memory", right=("CPU cores", "memory"))
    memory = reading.value("vedette_process_resident_bytes")
    cpu = reading.rate("vedette_process_cpu_seconds_total")
    made.add_row("", f"{cpu:.3f}", "" if memory is None else f"{memory / 1e6:.0f} MB")
    return made


def _budgets(reading: _Reading, owners: list[str]) -> Table:
    columns = ("limit", "target", "used", "slices/s", "waiting", "p95 wait")
    made = table("budget", *columns, right=columns)
    for owner in owners:
        limit, target, used = (
            reading.value(f"vedette_budget_{name}_cores", budget=owner)
            for name in ("limit", "target", "used")
        )
        waiting = sum(
            reading.rate(f"vedette_budget_{name}_seconds_total", budget=owner)
            for name in ("waited", "paused")
        )
        made.add_row(
            owner,
            *("" if cores is None else f"{cores:.2f}" for cores in (limit, target, used)),
            f"{reading.rate('vedette_budget_slices_total', budget=owner):.1f}",
            f"{waiting:.0%}",
            _milliseconds(reading.quantile("vedette_budget_wait_seconds", 0.95, budget=owner)),
        )
    return made


def _runtimes(reading: _Reading, owners: list[str]) -> Table:
    columns = ("threads", "tasks/s", "steals/s", "queued", "running", "CPU cores")
    made = table("runtime", *columns, right=columns)
    for owner in owners:
        made.add_row(
            owner,
            _count(reading.value("vedette_runtime_threads", runtime=owner)),
            f"{reading.rate('vedette_runtime_tasks_total', runtime=owner):.1f}",
            f"{reading.rate('vedette_runtime_steals_total', runtime=owner):.1f}",
            _count(reading.value("vedette_runtime_queued", runtime=owner)),
            _count(reading.value("vedette_runtime_running", runtime=owner)),
            f"{reading.rate('vedette_runtime_cpu_seconds_total', runtime=owner):.3f}",
        )
    return made


def _batchers(reading: _Reading, owners: list[str]) -> Table:
    columns = ("items/s", "batches/s", "queued", "refused", "failed", "p50 latency", "p95 latency")
    made = table("batcher", *columns, right=columns)
    for owner in owners:
        items = "vedette_batcher_items_total"
        made.add_row(
            owner,
            f"{reading.rate(items, batcher=owner, outcome='completed'):.1f}",
            f"{reading.rate('vedette_batcher_batches_total', batcher=owner):.1f}",
            _count(reading.value("vedette_batcher_queued", batcher=owner)),
            _count(reading.value(items, batcher=owner, outcome="refused")),
            _count(reading.value(items, batcher=owner, outcome="failed")),
            *(
                _milliseconds(reading.quantile("vedette_batcher_latency_seconds", share, batcher=owner))
                for share in (0.5, 0.95)
            ),
        )
    return made


def _executors(reading: _Reading, owners: list[str]) -> Table:
    columns = ("calls/s", "running", "waiting", "failed", "retried")
    made = table("executor", *columns, right=columns)
    for owner in owners:
        calls = "vedette_executor_calls_total"
        made.add_row(
            owner,
            f"{reading.rate(calls, executor=owner, outcome='completed'):.1f}",
            _count(reading.value("vedette_executor_running", executor=owner)),
            _count(reading.value("vedette_executor_waiting", executor=owner)),
            _count(reading.value(calls, executor=owner, outcome="failed")),
            _count(reading.value(calls, executor=owner, outcome="retried")),
        )
    return made


def _stages(reading: _Reading, owners: list[tuple[str, ...]]) -> Table:
    columns = ("items/s", "queued", "running", "failed", "p50", "p95")
    made = table("pipeline", "stage", *columns, right=columns)
    for pipeline, stage in owners:
        labels = {"pipeline": pipeline, "stage": stage}
        items = "vedette_pipeline_items_total"
        made.add_row(
            pipeline,
            stage,
            f"{reading.rate(items, outcome='done', **labels):.1f}",
            _count(reading.value("vedette_pipeline_queued", **labels)),
            _count(reading.value("vedette_pipeline_running", **labels)),
            _count(reading.value(items, outcome="failed", **labels)),
            *(
                _milliseconds(reading.quantile("vedette_pipeline_stage_seconds", share, **labels))
                for share in (0.5, 0.95)
            ),
        )
    return made


def _drops(reading: _Reading, owners: list[tuple[str, ...]]) -> Table:
    made = table("pipeline", "dropped", "items", right=("items",))
    for pipeline, cause in owners:
        count = reading.value("vedette_pipeline_drops_total", pipeline=pipeline, cause=cause)
        made.add_row(pipeline, cause, _count(count))
    return made


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"

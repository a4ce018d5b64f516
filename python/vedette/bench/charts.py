"""Charts of measurements: how many times as fast as each peer, a bar a case; a watch over time; budgets."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Bar = tuple[str, float, float | None, float | None]
"""A case, its speedup, the one aimed at, and the one that memory or arithmetic would allow."""


def draw(records: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``GROUP-threads-N.svg`` for every group and number of threads among the records, ``watch.svg``
    and ``budget.svg``; their paths.
    """
    sets: dict[tuple[str, int], list[Bar]] = defaultdict(list)
    for record in records:
        speedup = record.get("speedup") or (1 / record["wall_ratio"] if record.get("wall_ratio") else None)
        if speedup is not None:
            name = f"{record['case']} ({record['peer']})"
            bar = (name, speedup, record.get("target"), record.get("ceiling"))
            sets[record["group"], record["threads"]].append(bar)
    folder.mkdir(parents=True, exist_ok=True)
    watches = [record for record in records if "usual loop" in record]
    budgets = [record for record in records if "allowed_cores" in record]
    return [
        *([draw_budgets(budgets, folder / "budget.svg")] if budgets else []),
        *(_bars(group, threads, bars, folder) for (group, threads), bars in sets.items()),
        *(_over_time(record, folder) for record in watches),
    ]


def _bars(group: str, threads: int, bars: list[Bar], folder: Path) -> Path:
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(bars)), layout="constrained")
    axes = figure.subplots()
    names, speedups, targets, ceilings = zip(*reversed(bars), strict=True)
    colors = ["#2a7f62" if speedup >= 1 else "#b0413e" for speedup in speedups]
    drawn = axes.barh(range(len(names)), speedups, color=colors)
    for values, marker, label in ((targets, "D", "target"), (ceilings, "|", "ceiling")):
        places = [(value, row) for row, value in enumerate(values) if value]
        if places:
            x, y = zip(*places, strict=True)
            axes.scatter(
                x, y, marker=marker, s=60 if marker == "|" else 18, color="black", zorder=3, label=label
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, loc="lower right")
    axes.bar_label(drawn, labels=[f"{speedup:.2f}" for speedup in speedups], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("times the peer's speed")
    axes.set_title(f"{group}, {threads} thread{'s' if threads > 1 else ''}")
    path = folder / f"{group}-threads-{threads}.svg"
    figure.savefig(path)
    return path


def _over_time(record: dict[str, Any], folder: Path) -> Path:
    """CPU seconds used and memory held by both sides of a watch, over the time each took."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    used, held = figure.subplots(2, 1)
    for name, color in (("Vedette", "#2a7f62"), ("usual loop", "#b0413e")):
        at, cpu, memory = zip(*record[name]["samples"], strict=True)
        used.plot(at, cpu, color=color, label=name)
        held.plot(at, memory, color=color, label=name)
    used.set_ylabel("CPU seconds used")
    held.set_ylabel("memory, MB")
    held.set_xlabel("seconds of the run")
    held.set_ylim(bottom=0)
    used.legend()
    read = record["usual loop"]["read"]
    used.set_title(f"{record['seconds']} frames of a screen; the usual loop read {read} of them")
    path = folder / "watch.svg"
    figure.savefig(path)
    return path


def draw_budgets(records: list[dict[str, Any]], path: Path) -> Path:
    """CPU of every ten seconds: a part for each budget, in which a tenth to either side is grey."""
    allowed = sorted({record["allowed_cores"] for record in records})
    figure = Figure(figsize=(9, 1 + 2.2 * len(allowed)), layout="constrained")
    parts = figure.subplots(len(allowed), 1, sharex=True, squeeze=False)[::-1, 0]
    for axes, cores in zip(parts, allowed, strict=True):
        axes.axhspan(0.9 * cores, 1.1 * cores, alpha=0.15, color="gray")
        axes.axhline(cores, color="gray", linewidth=0.8)
        for record in records:
            if record["allowed_cores"] != cores:
                continue
            at, used = zip(*record["windows"], strict=True)
            beside = ", another process busy" if record["compete"] else ""
            style = "--" if record["compete"] else "-"
            axes.plot(at, used, style, label=f"{record['share']:g} %, {record['job']}{beside}")
        axes.set_ylim(0.8 * cores, 1.2 * cores)
        axes.legend(fontsize=7)
    figure.supylabel("cores used over ten seconds")
    parts[0].set_xlabel("end of the ten seconds")
    figure.savefig(path)
    return path

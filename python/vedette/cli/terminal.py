"""What the commands write to the terminal: errors, hints, tables, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_UNBOUNDED = 10_000


def report_error(error: object, hint: str | None = None) -> None:
    """Write an error, and where there is one a hint, to stderr."""
    print(f"vedette: error: {error}", file=sys.stderr)
    if hint is not None:
        print(f"vedette: hint: {hint}", file=sys.stderr)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Write a value to stdout as JSON."""
    print(json.dumps(value, indent=indent, ensure_ascii=False))


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A plain table with these columns; those also in ``right`` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def print_table(made: Table) -> None:
    """Write a table to stdout, at its full width where stdout is no terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    console.print(made)


@contextmanager
def progress(*, of_bytes: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """A report of steps that draws a bar on stderr for each; where stderr is no terminal, a line a step."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        steps: set[str] = set()

        def note(step: str, _done: int, _total: int) -> None:
            if step not in steps:
                steps.add(step)
                print(f"vedette: {step}", file=sys.stderr)

        yield note
        return
    amount = DownloadColumn() if of_bytes else MofNCompleteColumn()
    with Progress(TextColumn("{task.description}"), BarColumn(), amount, console=console) as bars:
        tasks: dict[str, Any] = {}

        def draw(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield draw

"""A screen recording whose text is known: somebody reads, scrolls, types and goes to other windows.

``python -m bench.recording FOLDER [--seconds 600]`` draws it: every different frame once, as raw RGB, and
``recording.json``, which says which frame shows when, and what lines could be seen whole in it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bench.screens import WORDS

SIZE = (1920, 1080)
BAR, FIELD = 48, 56


@dataclass
class Window:
    """A program: its look, its lines, how far it is scrolled, and what is typed into it."""

    title: str
    size: int
    dark: bool
    columns: int
    lines: list[list[str]]
    scroll: int = 0
    typed: list[str] = field(default_factory=lambda: [""])

    @property
    def pitch(self) -> int:
        """Pixels from line to line."""
        return round(1.7 * self.size)


def windows(seed: int) -> list[Window]:
    """Six programs with 240 rows of text each."""
    rng = np.random.default_rng(seed)
    looks = [
        ("Article", 22, False, 1),
        ("Editor", 17, True, 1),
        ("Ledger", 17, False, 4),
        ("Mail", 19, False, 1),
        ("Manual", 18, True, 2),
        ("Chat", 20, False, 1),
    ]
    made = []
    for title, size, dark, columns in looks:
        most = max(2, int((SIZE[0] - 160) / columns / size / 4.6))
        rows = [
            [" ".join(rng.choice(WORDS, rng.integers(2, most + 1))) for _ in range(columns)]
            for _ in range(240)
        ]
        made.append(Window(title, size, dark, columns, rows))
    return made


def draw(window: Window, clock: str) -> tuple[NDArray[np.uint8], list[str]]:
    """The screen, and its lines that can be seen whole."""
    back, fore = ((24, 26, 30), (214, 216, 220)) if window.dark else ((252, 252, 250), (28, 28, 32))
    width, height = SIZE
    image = Image.new("RGB", SIZE, back)
    canvas = ImageDraw.Draw(image)
    font, bar_font = ImageFont.load_default(window.size), ImageFont.load_default(20)
    shown = []
    for number, row in enumerate(window.lines):
        top = BAR + 20 + number * window.pitch - window.scroll
        if top < BAR - 2 * window.size or top > height - FIELD:
            continue
        for column, text in enumerate(row):
            left = 60 + column * (width - 120) // window.columns
            canvas.text((left, top), text, font=font, fill=fore)
            if top >= BAR and top + 1.3 * window.size <= height - FIELD:
                shown.append(text)
    canvas.rectangle((0, 0, width, BAR), fill=(52, 58, 78))
    canvas.text((24, 12), window.title, font=bar_font, fill=(240, 240, 240))
    canvas.text((width - 120, 12), clock, font=bar_font, fill=(240, 240, 240))
    canvas.rectangle((0, height - FIELD, width, height), fill=(228, 230, 236))
    canvas.text((24, height - FIELD + 15), window.typed[-1], font=bar_font, fill=(0, 0, 0))
    return np.asarray(image), [line for line in [window.title, clock, *shown, window.typed[-1]] if line]


def session(seconds: int, seed: int) -> Iterator[tuple[Window, str]]:
    """What is on the screen in each second: somebody reads, scrolls, types, and goes to another window."""
    rng = np.random.default_rng(seed)
    programs = windows(seed)
    current = 0
    second = 0

    def stay(times: int) -> Iterator[tuple[Window, str]]:
        nonlocal second
        for _ in range(times):
            yield programs[current], f"{9 + second // 3600:02}:{second // 60 % 60:02}"
            second += 1

    while second < seconds:
        window = programs[current]
        action = rng.choice(["read", "scroll", "type", "switch"], p=[0.3, 0.3, 0.22, 0.18])
        if action == "read":
            yield from stay(int(rng.integers(8, 26)))
        elif action == "scroll":
            for _ in range(int(rng.integers(2, 7))):
                step = int(rng.integers(3, 9)) * window.pitch // 2
                window.scroll = max(0, window.scroll + (step if rng.random() < 0.8 else -step))
                yield from stay(1)
            yield from stay(int(rng.integers(3, 12)))
        elif action == "type":
            text = " ".join(rng.choice(WORDS, rng.integers(6, 14)))
            window.typed.append("")
            for end in range(5, len(text) + 5, 5):
                window.typed[-1] = text[:end]
                yield from stay(1)
            yield from stay(2)
        else:
            current = int((current + rng.integers(1, len(programs))) % len(programs))
            yield from stay(int(rng.integers(3, 15)))


def write(folder: Path, seconds: int, seed: int = 1) -> None:
    """Draw the recording."""
    folder.mkdir(parents=True, exist_ok=True)
    order: list[int] = []
    lines: list[list[str]] = []
    known: dict[str, int] = {}
    for window, clock in session(seconds, seed):
        if len(order) == seconds:
            break
        key = json.dumps([window.title, window.scroll, window.typed[-1], clock])
        if key not in known:
            known[key] = len(lines)
            pixels, shown = draw(window, clock)
            pixels.tofile(folder / f"{known[key]:05}.rgb")
            lines.append(shown)
        order.append(known[key])
    facts = {"size": SIZE, "order": order, "lines": lines}
    (folder / "recording.json").write_text(json.dumps(facts))


class Recording:
    """A recording that was drawn."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "recording.json").read_text())
        self.order: list[int] = facts["order"]
        self.lines: list[list[str]] = facts["lines"]
        self._shape = (facts["size"][1], facts["size"][0], 3)
        self._folder = folder

    def frame(self, second: int) -> NDArray[np.uint8]:
        """The screen at a second, in memory of its own as from a grab."""
        path = self._folder / f"{self.order[second]:05}.rgb"
        return np.fromfile(path, np.uint8).reshape(self._shape)

    def standing(self, least: int = 2) -> list[str]:
        """The different lines that could be seen for so many seconds in a row."""
        runs: dict[str, int] = {}
        stood: dict[str, None] = {}
        for frame in self.order:
            shown = set(self.lines[frame])
            runs = {line: runs.get(line, 0) + 1 for line in shown}
            stood.update(dict.fromkeys(line for line, count in runs.items() if count >= least))
        return list(stood)


def main() -> None:
    """Draw a recording where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=600)
    chosen = parser.parse_args()
    write(chosen.folder, chosen.seconds)


if __name__ == "__main__":
    main()

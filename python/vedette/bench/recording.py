"""A screen recording whose text is known: somebody reads, scrolls, types and goes to other windows.

It is drawn and written as a lossless video, a frame a second, beside a file that says what lines could be
seen whole in each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIZE = (1920, 1080)
BAR, FIELD = 48, 56

VOCABULARY = """
account address amount answer archive available average balance battery before between budget building
button calendar camera cancel capacity category change channel charge client column comment company
complete connect contact content contract control copy country created currency customer daily database
date default delivery department description device discount display document download driver duration
edit email employee empty enable error event example export failed filter finance folder format forward
general group header height help history image import include index input install invoice item journal
keyboard label language latest length level library license limit location manager market measure member
memory message method minute mobile model monitor month network notice number object office online option
order output owner package page partner password payment percent period phone picture platform policy
position power preview price printer priority private process product profile progress project property
quantity quarter query range receipt record reference region release remote remove report request reserve
result return review sample save schedule search second section security select send series server
service session settings share shipping signal simple source standard start status storage subject
summary support system table target task template ticket title total transfer update upload user value
vendor version video volume warning weekly weight window yearly
"""
WORDS = VOCABULARY.split()


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


def write(path: Path, seconds: int, seed: int = 1) -> None:
    """Draw the recording: a video, and ``path`` with ``.json`` after it.

    Pixels come out as they went in: H.264 of RGB without quantisation, in the FFmpeg that PyAV carries.
    """
    import av

    shown: list[list[str]] = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=1, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "bgr0"
        for second, (window, clock) in enumerate(session(seconds, seed)):
            if second == seconds:
                break
            pixels, lines = draw(window, clock)
            shown.append(lines)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = second
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _facts(path).write_text(json.dumps(shown), encoding="utf-8")


def frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a video, one after the other as RGB, decoded by one thread."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            pixels: NDArray[np.uint8] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            yield pixels


def standing(path: Path, least: int = 2) -> list[str]:
    """The different lines of a recording that could be seen for so many seconds in a row."""
    runs: dict[str, int] = {}
    stood: dict[str, None] = {}
    for lines in json.loads(_facts(path).read_text(encoding="utf-8")):
        runs = {line: runs.get(line, 0) + 1 for line in set(lines)}
        stood.update(dict.fromkeys(line for line, count in runs.items() if count >= least))
    return list(stood)


def _facts(path: Path) -> Path:
    return path.with_name(path.name + ".json")

"""A session at a screen is drawn, watched and searched: ``python examples/watch_session.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import vedette as vd

LINES = [
    "Departures",
    "10:45  Northgate        platform 3",
    "10:52  Riverside        platform 1",
    "11:05  Old Market       platform 6",
    "11:10  University       platform 2",
    "11:18  Airport          platform 3",
    "11:30  Stadium          platform 4",
    "11:42  Harbour          platform 5",
    "11:55  Botanic Garden   platform 1",
    "12:03  Town Hall        platform 2",
]


def draw(scroll: int, typed: str) -> NDArray[np.uint8]:
    """The screen: a list that scrolls, and a note that is typed."""
    image = Image.new("RGB", (960, 540), (250, 250, 248))
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(24)
    for number, line in enumerate(LINES):
        canvas.text((40, 40 + 52 * number - scroll), line, font=font, fill=(20, 20, 30))
    canvas.rectangle((0, 470, 960, 540), fill=(228, 230, 236))
    canvas.text((40, 488), typed, font=font, fill=(0, 0, 0))
    return np.asarray(image).copy()


def session() -> Iterator[NDArray[np.uint8]]:
    """Thirty seconds: reading, typing, scrolling, reading."""
    yield from [draw(0, "")] * 10
    for typed in ("take the", "take the airport", "take the airport train"):
        yield draw(0, typed)
    for scroll in (52, 104, 156):
        yield draw(scroll, "take the airport train")
    yield from [draw(156, "take the airport train")] * 14


def main() -> None:
    """Watch the session, then ask."""
    reader = vd.ocr.Reader()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seen.db"
        watcher = vd.watch.Watcher(
            [vd.sources.Arrays(session(), name="screen", interval_s=1.0)],
            lambda _: [vd.watch.ReadTask(reader)],
            store=vd.store.Store(path),
            on_event=lambda event: print(f"{event.position_s:4.0f} s  {event.kind:9} {event.text}"),
        )
        watcher.run()
        (source,) = watcher.status()["sources"]
        cpu = watcher.status()["cpu_s"]["total"]
        print(
            f"\n{source['seen']} frames, {source['unchanged']} of them unchanged, "
            f"{source['processed']} looked at: {cpu:.1f} s CPU"
        )
        with vd.store.Store(path, readonly=True) as store:
            print("search airport:")
            for match in store.search("airport"):
                print("   ", match.text)


if __name__ == "__main__":
    main()

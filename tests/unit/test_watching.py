"""A watch goes on whatever happens to its sources, its store, its clocks and its models, and says so."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from levels import Levels, gray, watch
from numpy.typing import NDArray

from vedette.errors import InvalidModelError, SourceError, StoreError
from vedette.ocr import Line, Page
from vedette.ocr.reader import Reader
from vedette.runtime import Budget
from vedette.sources import Arrays, Frame, Pushed
from vedette.store import Store
from vedette.watch import Event, ReadTask, Watcher, WatchOptions
from vedette.watch.clocks import ClockWatch
from vedette.watch.control import ControlServer, ask, running
from vedette.watch.events import Track
from vedette.watch.machine import on_battery, temperature_c
from vedette.watch.privacy import cover, pause, resume
from vedette.watch.recorder import Recorder


def texts(path: Path) -> list[str]:
    with Store(path) as store:
        rows = store._connection.execute("SELECT text FROM sightings ORDER BY id").fetchall()
    return [text for (text,) in rows]


def test_unchanged_frames_are_not_processed(tmp_path: Path) -> None:
    events, incidents, watcher = watch([gray(1), gray(1), gray(1), gray(2), gray(2)], tmp_path / "seen.db")
    assert [event.text for event in events] == ["level 1", "level 2"]
    assert [event.sighting for event in events] == [1, 2]
    (source,) = watcher.status()["sources"]
    assert (source["seen"], source["unchanged"], source["processed"], source["events"]) == (5, 3, 2, 2)
    assert [kind for kind, _ in incidents] == ["started", "stopped"]
    assert texts(tmp_path / "seen.db") == ["level 1", "level 2"]
    stages = watcher.status()["cpu_s"]
    assert set(stages) == {"capture", "gate", "inference", "storage", "overhead", "total"}


def test_a_forced_refresh_looks_at_a_still_picture_again() -> None:
    frames = [gray(1)] * 4
    events, _, _ = watch(frames, options=WatchOptions(refresh_s=0.0))
    assert len(events) == 4


def test_every_frame_of_a_storm_is_processed_in_order_or_counted() -> None:
    events, _, watcher = watch([gray(i) for i in range(200)])
    assert [event.text for event in events] == [f"level {i}" for i in range(200)]
    live = Pushed(capacity=1, live=True, name="test")
    stop = threading.Timer(3.0, live.end)
    stop.start()
    pusher = threading.Thread(target=lambda: [live.push(gray(i % 250)) for i in range(300)] and live.end())
    pusher.start()
    _, _, watcher = watch(live, options=WatchOptions(rate=200), task=Levels(lambda _: time.sleep(0.002)))
    pusher.join()
    stop.cancel()
    (source,) = watcher.status()["sources"]
    assert source["processed"] == source["seen"]
    assert source["seen"] + source["dropped"]["newer frame came"] == 300


def test_a_resolution_that_changes() -> None:
    events, _, _ = watch([gray(1), gray(1, (40, 40)), gray(1, (40, 40)), gray(1)])
    assert len(events) == 3


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InvalidModelError("people.onnx: the file is gone"), "people.onnx: the file is gone"),
        (ZeroDivisionError("division by zero"), "levels: ZeroDivisionError('division by zero')"),
    ],
)
def test_a_task_that_fails_is_noted_and_the_watch_goes_on(
    tmp_path: Path, error: Exception, told: str
) -> None:
    def fail(frame: Frame) -> None:
        if frame.index == 1:
            raise error

    events, incidents, watcher = watch([gray(1), gray(2), gray(3)], tmp_path / "seen.db", task=Levels(fail))
    assert [event.text for event in events] == ["level 1", "level 3"]
    assert ("failed", told) in incidents
    assert watcher.status()["sources"][0]["failed"] == 1


def test_a_callback_that_fails_is_noted_and_the_others_are_told() -> None:
    told: list[str] = []
    incidents: list[tuple[str, str]] = []

    def fail(_: Event) -> None:
        raise ZeroDivisionError("mine")

    watcher = Watcher(
        [Arrays([gray(1), gray(2)], name="test")],
        lambda _: [Levels()],
        on_event=[fail, lambda event: told.append(event.text)],
        on_incident=lambda _, kind, detail: incidents.append((kind, detail)),
    )
    watcher.run()
    assert told == ["level 1", "level 2"]
    assert incidents.count(("callback failed", "ZeroDivisionError('mine')")) == 2


def test_several_tasks_tell_of_the_same_frames(tmp_path: Path) -> None:
    class Others(Levels):
        name = "others"

    events: list[Event] = []
    Watcher(
        [Arrays([gray(1), gray(1), gray(2)], name="test")],
        lambda _: [Levels(), Others()],
        store=Store(tmp_path / "seen.db"),
        on_event=events.append,
    ).run()
    assert [(event.frame, event.task) for event in events] == [
        (0, "levels"), (0, "others"), (2, "levels"), (2, "others"),
    ]  # fmt: skip
    with Store(tmp_path / "seen.db", readonly=True) as store:
        assert {match.task for match in store.search("level")} == {"levels", "others"}


def test_a_source_that_cannot_be_opened_ends_its_part_only() -> None:
    class Missing(Arrays):
        def open(self) -> None:
            raise SourceError("screen: there is no display")

    events: list[Event] = []
    watcher = Watcher(
        [Missing([], name="missing"), Arrays([gray(1)], name="there")],
        lambda _: [Levels()],
        on_event=events.append,
    )
    watcher.run()
    assert [event.source for event in events] == ["there"]
    states = {source["source"]: source["state"] for source in watcher.status()["sources"]}
    assert states == {"missing": "failed", "there": "ended"}


def test_a_source_that_is_lost_comes_back() -> None:
    class Unplugged(Arrays):
        opened = 0

        def open(self) -> None:
            self.opened += 1
            if self.opened == 2:
                raise SourceError("screen: no such screen")
            if self.opened == 1:
                super().open()

        def read(self, timeout_s: float) -> Frame | None:
            if self.opened == 1:
                raise SourceError("screen: unplugged", temporary=True)
            return super().read(timeout_s)

    events, incidents, watcher = watch(Unplugged([gray(1)], name="test"))
    assert [event.text for event in events] == ["level 1"]
    assert incidents[1:3] == [("lost", "screen: unplugged"), ("back", "")]
    assert watcher.status()["sources"][0]["reopened"] == 1


def test_a_stall_is_seen_and_its_end_too() -> None:
    incidents: list[tuple[str, str]] = []
    stuck = threading.Event()
    watcher = Watcher(
        [Arrays([gray(1), gray(2)], name="test")],
        lambda _: [Levels(lambda _: stuck.wait(10))],
        on_incident=lambda _, kind, detail: (
            incidents.append((kind, detail)),
            kind == "stalled" and stuck.set(),
        ),
        options=WatchOptions(stall_s=0.1),
    )
    watcher.run()
    kinds = [kind for kind, _ in incidents]
    assert kinds[:2] == ["started", "stalled"]
    assert "has been processed for" in incidents[1][1]


def test_a_pause_looks_at_nothing_and_lasts(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    pause(path)
    source = Pushed(live=True, name="test")
    timers = [
        threading.Timer(0.3, lambda: source.push(gray(1))),
        threading.Timer(0.9, lambda: resume(path)),
        threading.Timer(2.4, lambda: source.push(gray(2))),
        threading.Timer(2.7, source.end),
    ]
    for timer in timers:
        timer.start()
    events, incidents, _ = watch(source, path, options=WatchOptions(rate=50))
    assert [event.text for event in events] == ["level 2"]
    assert [kind for kind, _ in incidents if kind in ("paused", "resumed")] == ["paused", "resumed"]
    pause(path, for_s=-1.0)
    assert not resume(path) or not path.with_name("seen.db.paused").exists()


def test_excluded_parts_are_black_before_anything_looks(tmp_path: Path) -> None:
    seen: list[NDArray[np.uint8]] = []
    picture = np.random.default_rng(0).integers(1, 255, (32, 48, 3), np.uint8)
    other = picture.copy()
    other[4:9, 10:20] ^= 3
    picture.flags.writeable = False
    options = WatchOptions(exclude=((4, 10, 9, 20),))
    watch(
        [picture, other],
        tmp_path / "a.db",
        task=Levels(lambda f: seen.append(f.rgb().copy())),
        options=options,
    )
    assert len(seen) == 1, "what changes in an excluded part is no change"
    assert (seen[0][4:9, 10:20] == 0).all()
    assert (seen[0][:4] == picture[:4]).all()
    planes = (np.full((8, 8), 200, np.uint8), np.full((4, 4), 90, np.uint8), np.full((4, 4), 90, np.uint8))
    covered = cover(Frame(planes, "i420", 0, 0.0), [(1, 1, 4, 4)])
    assert (covered.planes[1][:2, :2] == 128).all()
    assert covered.planes[0][0, 0] == 200


class Pages(Reader):
    """A reader of known pages: each frame's first pixel is the number of its page."""

    def __init__(self, *pages: Sequence[tuple[str, int]]) -> None:
        self._pages = [
            Page(
                tuple(
                    Line(text, 0.9, np.array([[5, y], [95, y], [95, y + 9], [5, y + 9]], np.float32), row)
                    for row, (text, y) in enumerate(lines)
                ),
                100,
                80,
            )
            for lines in pages
        ]

    def read(self, image: Any) -> Page:
        return self._pages[int(image[0, 0, 0])]


def read_pages(*pages: Sequence[tuple[str, int]], **options: Any) -> list[tuple[int, str, str, str | None]]:
    events: list[Event] = []
    reader = Pages(*pages)
    Watcher(
        [Arrays([gray(number, (80, 100)) for number in range(len(pages))])],
        lambda _: [ReadTask(reader, incremental=False, **options)],
        on_event=events.append,
    ).run()
    return [(event.frame, event.kind, event.text, event.previous) for event in events]


def test_lines_appear_change_move_and_go() -> None:
    told = read_pages(
        [("Total 12.50", 10), ("stays", 30), ("goes", 50)],
        [("Total 12.75", 10), ("stays", 45), ("Monday", 60)],
        [("quite another", 10), ("stays", 45), ("Monday", 60)],
    )
    assert told == [
        (0, "appeared", "Total 12.50", None),
        (0, "appeared", "stays", None),
        (0, "appeared", "goes", None),
        (1, "changed", "Total 12.75", "Total 12.50"),
        (1, "appeared", "Monday", None),
        (1, "gone", "goes", None),
        (2, "appeared", "quite another", None),
        (2, "gone", "Total 12.75", None),
    ]


def test_a_camera_has_patience_with_lines_it_misses() -> None:
    told = read_pages([("word", 10)], [], [("word", 10)], [], [], patience=1)
    assert told == [(0, "appeared", "word", None), (4, "gone", "word", None)]


def test_secrets_are_redacted_before_they_leave_the_task() -> None:
    told = read_pages([("card 4711 0815 end", 10)], redact=[r"\d{4} \d{4}"])
    assert told == [(0, "appeared", "card [redacted] end", None)]


def recorder_with(path: Path) -> tuple[Recorder, Store, list[tuple[str, str]]]:
    incidents: list[tuple[str, str]] = []
    store = Store(path, timeout_s=0.02)
    recorder = Recorder(store, on_incident=lambda _, kind, detail: incidents.append((kind, detail)))
    return recorder, store, incidents


def appeared(text: str, at: float = 1.0) -> Event:
    return Event("appeared", "test", "read", at, 0, text, track=Track("test", "read", "text", text, at))


def test_a_locked_store_gets_its_events_later(tmp_path: Path) -> None:
    recorder, store, incidents = recorder_with(tmp_path / "seen.db")
    other = sqlite3.connect(tmp_path / "seen.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    first = appeared("first")
    recorder.record("test", 1.0, [first])
    assert first.sighting is None
    assert recorder.pending == 1
    assert incidents[0][0] == "store trouble"
    other.execute("ROLLBACK")
    other.close()
    recorder._retry_at = 0.0
    second = appeared("second")
    recorder.record("test", 2.0, [second])
    assert (first.sighting, second.sighting) == (1, 2)
    assert incidents[-1] == ("store back", "2 events written")
    recorder.close(3.0)
    assert texts(store.path) == ["first", "second"]


def test_a_full_disk_holds_events_up_and_loses_none(tmp_path: Path) -> None:
    recorder, store, incidents = recorder_with(tmp_path / "seen.db")
    recorder.record("test", 1.0, [appeared("first")])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    recorder.record("test", 2.0, [appeared("x" * 500 + str(i)) for i in range(200)])
    assert "disk is full" in incidents[0][1]
    assert recorder.pending == 200
    store._connection.execute("PRAGMA max_page_count = 100000")
    recorder._retry_at = 0.0
    recorder.record("test", 3.0, [appeared("last")])
    recorder.close(4.0)
    assert len(texts(store.path)) == 202
    assert recorder.unwritten == 0


def test_a_store_that_became_readonly_is_told_and_events_go_on(tmp_path: Path) -> None:
    recorder, store, incidents = recorder_with(tmp_path / "seen.db")
    store._connection.execute("PRAGMA query_only = ON")
    told: list[Event] = []
    recorder._listeners = (told.append,)
    recorder.record("test", 1.0, [appeared("first")])
    assert [event.text for event in told] == ["first"]
    assert "cannot be written" in incidents[0][1]
    recorder.close(2.0)
    assert recorder.unwritten == 1


def test_a_store_damaged_while_it_is_used_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, store, incidents = recorder_with(tmp_path / "seen.db")
    standing = appeared("standing")
    recorder.record("test", 1.0, [standing])
    add = store.add
    broken = iter([True])

    def fail_once(*arguments: Any, **options: Any) -> int:
        if next(broken, False):
            raise StoreError("seen.db: the file is damaged", reason="damaged")
        return add(*arguments, **options)

    monkeypatch.setattr(store, "add", fail_once)
    recorder.record("test", 2.0, [appeared("next")])
    assert recorder.set_aside is not None
    assert Path(recorder.set_aside).exists()
    assert incidents[0][0] == "store damaged"
    recorder.close(3.0)
    assert texts(store.path) == ["standing", "next"]


def test_memory_of_unwritten_events_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette.watch.recorder._BACKLOG", 50)
    recorder, store, _ = recorder_with(tmp_path / "seen.db")
    store._connection.execute("PRAGMA query_only = ON")
    for number in range(30):
        recorder.record("test", 1.0, [appeared(f"{number}-{i}") for i in range(5)])
    assert recorder.pending <= 50
    assert recorder.pending + recorder.discarded == 150
    recorder.close(2.0)


@pytest.mark.parametrize(
    ("wall", "steady", "boot", "expected"),
    [
        (10.0, 10.0, 10.0, []),
        (-3590.0, 10.0, 10.0, [("clock jumped", "by -3600 s")]),
        (3610.0, 10.0, 10.0, [("clock jumped", "by +3600 s")]),
        (3610.0, 10.0, 3610.0, [("slept", "for 3600 s")]),
    ],
)
def test_clocks_that_jump_and_machines_that_sleep(
    wall: float, steady: float, boot: float, expected: list[tuple[str, str]]
) -> None:
    times = [[1000.0, 1000.0 + wall], [5.0, 5.0 + steady], [7.0, 7.0 + boot]]
    clocks: list[Callable[[], float]] = [lambda values=values: values.pop(0) for values in times]  # type: ignore[misc]
    assert ClockWatch(*clocks).look() == expected


def test_power_is_read_where_the_system_says(tmp_path: Path) -> None:
    assert on_battery(tmp_path / "nowhere") is None
    for name, facts in {"BAT0": {"type": "Battery"}, "AC": {"type": "Mains", "online": "0"}}.items():
        (tmp_path / name).mkdir()
        for fact, value in facts.items():
            (tmp_path / name / fact).write_text(value + "\n")
    assert on_battery(tmp_path) is True
    (tmp_path / "AC" / "online").write_text("1\n")
    assert on_battery(tmp_path) is False
    (tmp_path / "thermal_zone0").mkdir()
    (tmp_path / "thermal_zone0" / "temp").write_text("48500\n")
    assert temperature_c(tmp_path) == 48.5


def test_a_watch_answers_what_it_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    import os

    assert running() == []
    source = Pushed(live=True, name="test")
    watcher = Watcher([source], lambda _: [Levels()], budget=Budget(cpu="50%"))
    server = ControlServer({"status": watcher.status})
    server.start()
    try:
        assert running() == [os.getpid()]
        answer = ask(os.getpid())
        assert answer["sources"][0]["state"] == "starting"
        assert answer["budget"]["limit_cores"] > 0
        assert answer["response_s"] < 2
        assert "error" in ask(os.getpid(), "explode")
        (tmp_path / f"vedette-{os.getuid()}" / "watch-999999999.sock").write_text("")
        assert running() == [os.getpid()]
        json.dumps(answer)
    finally:
        server.close()
    assert running() == []


def test_no_thread_and_no_descriptor_stays_behind(tmp_path: Path) -> None:
    import os

    def held() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    watch([gray(1), gray(2)], tmp_path / "first.db")
    before = held()
    for number in range(5):
        watch([gray(i) for i in range(20)], tmp_path / f"{number}.db")
    assert held() == before

"""What a watch tells of itself, and how it keeps to what there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from levels import Levels, gray, watch

from vedette.cli import status as status_command
from vedette.errors import ModelError
from vedette.ocr import Reader
from vedette.runtime import Budget
from vedette.sources import Arrays, Frame, Pushed, Source
from vedette.store import Store
from vedette.watch import ReadTask, Watcher, WatchOptions
from vedette.watch.clocks import ClockWatch
from vedette.watch.governor import STEPS, Step


class Thrifty(Levels):
    """A task that notes how it is told to look."""

    def __init__(self, hook: Callable[[Frame], None] = lambda _: None) -> None:
        super().__init__(hook)
        self.steps: list[Step] = []
        self.trimmed = 0

    def use(self, step: Step) -> None:
        self.steps.append(step)

    def trim(self) -> None:
        self.trimmed += 1

    @property
    def models(self) -> list[Any]:
        return [MODEL]

    @property
    def cache_bytes(self) -> int:
        return 1000


class Model:
    """Something two sources share."""

    nbytes = 5_000_000


MODEL = Model()


def test_memory_is_told_by_owner_and_adds_up(tmp_path: Path) -> None:
    sources = [Arrays([gray(1, (100, 100))], name="a"), Arrays([gray(1, (100, 100))], name="b")]
    watcher = Watcher(sources, lambda _: [Thrifty()], store=Store(tmp_path / "seen.db"))
    watcher.run()
    status = watcher.status()
    owners = status["memory_by_owner"]
    assert owners["models"] == Model.nbytes, "shared by both sources, counted once"
    assert owners["cache"] == 2000
    assert owners["frames"] >= 2 * 100 * 100 * 3
    assert 0 < owners["store"] <= 1 << 20
    assert sum(owners.values()) == pytest.approx(status["memory_bytes"], rel=0.2)


def test_queues_are_told() -> None:
    source = Pushed(live=False, capacity=5, name="test")
    for value in range(3):
        source.push(gray(value))
    watcher = Watcher([source], lambda _: [Levels()])
    status = watcher.status()
    assert status["queues"] == {"frames": 3, "events": 0}
    assert status["sources"][0]["waiting"] == 3
    source.end()
    watcher.run()
    assert watcher.status()["queues"]["frames"] == 0


def test_a_watch_that_cannot_keep_up_goes_down_a_step_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette.watch.watcher._TICK_S", 0.02)
    source, task = Pushed(live=True, name="test"), Thrifty(lambda _: time.sleep(0.1))
    incidents: list[tuple[str, str, str]] = []
    watcher = Watcher(
        [source],
        lambda _: [task],
        on_incident=lambda *told: incidents.append(told),
        options=WatchOptions(rate=50),
    )

    def push() -> None:
        value = 0
        while watcher.governor.level < 2 and value < 2000:
            source.push(gray(value % 250))
            value += 1
            time.sleep(0.005)
        source.push(gray(251))
        source.end()

    pusher = threading.Thread(target=push)
    pusher.start()
    watcher.run()
    pusher.join()
    status = watcher.status()
    assert status["governor"]["level"] >= 2
    assert status["governor"]["of"] == len(STEPS) - 1
    assert status["governor"]["rate"] == pytest.approx(50 * watcher.governor.step.rate)
    assert ("", "budget", "half the rate: frames take longer than there is time for") in incidents
    # Whichever the governor was at when a frame came.
    assert task.steps
    assert all(step in STEPS[1:] for step in task.steps)
    shown = "\n".join(status_command._details({"pid": 1, **status}))
    assert f"step {status['governor']['level']} of 4" in shown
    assert "frames take longer" in shown
    assert "models 5" in shown


def test_short_memory_empties_caches_once(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = iter(["normal", "critical", "critical", "normal", "critical"])
    shown = ["normal"]
    monkeypatch.setattr(Budget, "memory_level", property(lambda _: shown[0]))
    task = Thrifty(lambda _: None)

    def frames() -> Any:
        for value, level in enumerate(levels):
            shown[0] = level
            yield gray(value)

    Watcher([Arrays(frames(), name="test")], lambda _: [task], budget=Budget()).run()
    assert task.trimmed == 2


def test_models_of_fast_numbers_that_are_gone_leave_the_watch_as_it_was() -> None:
    class Plain(Reader):
        def __init__(self) -> None:
            self.levels: list[float] = []

        @property
        def resolution(self) -> float:
            return self.levels[-1]

        @resolution.setter
        def resolution(self, value: float) -> None:
            self.levels.append(value)

    def gone() -> Reader:
        raise ModelError("ppocr: the file is gone")

    usual = Plain()
    task = ReadTask(usual, incremental=False, fast=gone)
    incidents: list[tuple[str, str]] = []
    watcher = Watcher(
        [Arrays([gray(1)], name="test")],
        lambda _: [task],
        on_incident=lambda _, kind, detail: incidents.append((kind, detail)),
    )
    watcher.governor.level = 3
    watcher.run()
    assert incidents[1] == ("failed", "ppocr: the file is gone")
    assert list(task.models) == [usual]
    fast = Plain()
    task = ReadTask(usual, incremental=False, fast=lambda: fast)
    task.use(STEPS[4])
    assert list(task.models) == [usual, fast]
    assert fast.resolution == 0.75
    task.use(STEPS[0])
    assert list(task.models) == [usual]
    assert usual.resolution == 1.0


def test_clocks_that_jump_are_kept_and_end_nothing(tmp_path: Path) -> None:
    source = Pushed(live=True, name="test")
    incidents: list[tuple[str, str]] = []
    watcher = Watcher(
        [source],
        lambda _: [Levels()],
        store=Store(tmp_path / "seen.db"),
        on_incident=lambda _, kind, detail: incidents.append((kind, detail)),
        options=WatchOptions(rate=50, stall_s=5.0),
    )
    shift = [0.0, 0.0]
    watcher._clocks = ClockWatch(
        lambda: time.time() + shift[0], time.monotonic, lambda: time.monotonic() + shift[1]
    )
    timers = [
        threading.Timer(0.2, lambda: source.push(gray(1))),
        threading.Timer(0.4, lambda: shift.__setitem__(0, -7200.0)),
        threading.Timer(1.5, lambda: shift.__setitem__(1, 600.0)),
        threading.Timer(2.6, lambda: source.push(gray(2))),
        threading.Timer(2.9, source.end),
    ]
    for timer in timers:
        timer.start()
    watcher.run()
    kinds = [kind for kind, _ in incidents]
    assert "clock jumped" in kinds
    assert "slept" in kinds
    assert "stalled" not in kinds
    with Store(tmp_path / "seen.db", readonly=True) as store:
        assert [match.text for match in store.search("level")] == ["level 2", "level 1"]


def test_a_source_that_tells_is_looked_at_at_once() -> None:
    source = Pushed(live=True, name="test")
    told: list[float] = []
    pushed: list[float] = []
    watcher = Watcher(
        [source],
        lambda _: [Levels(lambda _: told.append(time.monotonic()))],
        options=WatchOptions(rate=0.2),
    )

    def push() -> None:
        for value in range(3):
            time.sleep(0.3)
            pushed.append(time.monotonic())
            source.push(gray(value))
        time.sleep(0.3)
        source.end()

    pusher = threading.Thread(target=push)
    pusher.start()
    watcher.run()
    pusher.join()
    assert len(told) == 3, "with a look every five seconds alone there would be one"
    assert np.subtract(told, pushed).max() < 2.0


class Shown(Source):
    """A screen that does not tell when it changes."""

    live = True
    can_be_peeked = True

    def __init__(self) -> None:
        super().__init__("test")
        self.value = 0
        self.looks = 0

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> Frame | None:
        del timeout_s
        self.looks += 1
        return Frame((gray(self.value),), "rgb", self.looks, time.time())


def test_a_screen_that_does_not_tell_is_peeked_at() -> None:
    source = Shown()
    told: list[float] = []
    drawn: list[float] = []
    watcher = Watcher(
        [source],
        lambda _: [Levels(lambda _: told.append(time.monotonic()))],
        options=WatchOptions(rate=0.1, peek_s=0.02),
    )

    def draw() -> None:
        for value in (1, 2, 3):
            time.sleep(0.4)
            source.value = value
            drawn.append(time.monotonic())
        time.sleep(0.4)
        watcher.stop()

    person = threading.Thread(target=draw)
    person.start()
    watcher.run()
    person.join()
    assert len(told) == 4, "with a look every ten seconds alone there would be one"
    assert np.subtract(told[1:], drawn).max() < 5.0
    (health,) = watcher.status()["sources"]
    assert health["processed"] == 4
    assert health["unchanged"] == source.looks - 4


@pytest.mark.parametrize("peek_s", [0.0, 0.02])
def test_a_screen_that_rests_is_looked_at_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, peek_s: float
) -> None:
    # No peeks, or a rest that begins at once.
    monkeypatch.setattr("vedette.watch.looks._STILL_S", 0.0 if peek_s else 1e9)
    source = Shown()
    watcher = Watcher([source], lambda _: [Levels()], options=WatchOptions(rate=0.1, peek_s=peek_s))
    threading.Timer(1.0, watcher.stop).start()
    watcher.run()
    assert source.looks == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_source_that_cannot_be_closed_keeps_nobody_waiting() -> None:
    class Stuck(Shown):
        def close(self) -> None:
            raise RuntimeError("it does not close")

    watcher = Watcher([Stuck()], lambda _: [Levels()])
    threading.Timer(0.2, watcher.stop).start()
    runner = threading.Thread(target=watcher.run, daemon=True)
    runner.start()
    runner.join(30.0)
    assert not runner.is_alive()


def test_the_live_view_shows_every_owner(tmp_path: Path) -> None:
    _, _, watcher = watch([gray(1), gray(2)], tmp_path / "seen.db")
    status = {"pid": 1, **watcher.status()}
    # Shares are known after half a second.
    status["cpu_share"] = dict.fromkeys(status["cpu_s"], 0.01)
    shown = "\n".join(status_command._details(status))
    for word in ("models", "frames", "store", "cache", "rest", "capture", "gate", "inference", "overhead"):
        assert word in shown
    assert "budget: none; step 0 of 4: as asked, 1 looks a second" in shown

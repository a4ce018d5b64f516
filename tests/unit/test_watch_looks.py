"""When sources that tell of changes are looked at, and how soon a wait for one ends."""

from __future__ import annotations

import threading
import time

from vedette.sources import Frame, Source
from vedette.watch.looks import Looks

RATE = 50.0


class Telling(Source):
    """Tells of a change when it is told to, truly or not."""

    live = True
    tells_changes = True

    def __init__(self) -> None:
        super().__init__("test")
        self._news = threading.Event()

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> Frame | None:
        raise NotImplementedError

    def await_change(self, timeout_s: float) -> bool:
        told = self._news.wait(timeout_s)
        self._news.clear()
        return told

    def tell(self) -> None:
        self._news.set()


class Watching:
    """Looks at a source for a while; the looks listed here find a change."""

    def __init__(self, silence_s: float = 10.0) -> None:
        self.source = Telling()
        self.looks = Looks(self.source, RATE, 0.0, silence_s, threading.Event().wait)

    def look(self, seconds: float, changed: bool = False) -> int:
        """How often it is looked at in so many seconds, each look finding a change or not."""
        until, count = time.monotonic() + seconds, 0
        stop = threading.Timer(seconds, self.source.tell)
        stop.start()
        while self.looks.await_next(1.0, lambda: time.monotonic() >= until):
            if time.monotonic() >= until:
                break
            self.looks.found(changed)
            count += 1
        stop.join()
        return count


def test_a_source_that_keeps_its_word_is_believed_for_longer_and_longer() -> None:
    watching = Watching()
    assert watching.look(1.0) <= 8, "as often as asked would be fifty times"


def test_a_change_that_was_not_told_of_ends_the_trust() -> None:
    watching = Watching()
    watching.look(0.5)
    assert watching.look(1.5, changed=True) >= 15, "after the first it is looked at as often as asked"
    assert watching.look(1.0) <= 8


def test_silence_is_never_longer_than_allowed() -> None:
    watching = Watching(silence_s=0.1)
    watching.look(0.5)
    assert watching.look(1.0) >= 7


def test_a_change_that_is_told_of_is_looked_at_at_once() -> None:
    watching = Watching()
    watching.look(2.0)
    told = time.monotonic()
    watching.source.tell()
    assert watching.looks.await_next(1.0, lambda: False)
    assert time.monotonic() - told < 0.5, "it would be believed for over a second by now"


def test_time_in_which_nothing_was_told_is_no_look_missed() -> None:
    watching = Watching()
    watching.look(1.0)
    before = watching.source.dropped.get("busy", 0)
    assert before < 10, "of fifty"
    time.sleep(0.4)
    watching.looks.await_next(1.0, lambda: False)
    assert watching.source.dropped["busy"] >= before + 15, "while something else was done"

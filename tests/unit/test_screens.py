"""Screens of an X server: what they show, when they change, and windows that nobody may see."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from vedette.errors import SourceError
from vedette.sources import open_source
from vedette.sources.screen import Screen
from vedette.sources.x11 import Display

xcffib = pytest.importorskip("xcffib")
from xcffib import xproto  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a virtual display is X11's"),
    pytest.mark.skipif(not shutil.which("Xvfb"), reason="needs Xvfb"),
]


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch, *options: str) -> Iterator[str]:
    """A display of 320 by 240 pixels."""
    read, write = os.pipe()
    server = subprocess.Popen(
        [
            "Xvfb",
            "-displayfd",
            str(write),
            "-screen",
            "0",
            "320x240x24",
            "-nolisten",
            "tcp",
            "-noreset",
            *options,
        ],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            name = f":{numbers.readline().strip()}"
        monkeypatch.setenv("DISPLAY", name)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.delenv("XDG_SESSION_TYPE", raising=False)
        yield name
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served(monkeypatch) as name:
        yield name


class Client:
    """A program with a white window."""

    def __init__(self, title: str, application: str, place: tuple[int, int, int, int]) -> None:
        self._connection = xcffib.Connection()
        screen = self._connection.get_setup().roots[0]
        core = self._connection.core
        self._window, self._context = self._connection.generate_id(), self._connection.generate_id()
        core.CreateWindow(
            screen.root_depth, self._window, screen.root, *place, 0, xproto.WindowClass.InputOutput,
            screen.root_visual, xproto.CW.BackPixel, [0xFFFFFF],
        )  # fmt: skip
        for name, text in (("WM_NAME", title), ("WM_CLASS", f"{application}\0{application}\0")):
            atom = core.InternAtom(False, len(name), name).reply().atom
            data = text.encode()
            core.ChangeProperty(
                xproto.PropMode.Replace, self._window, atom, xproto.Atom.STRING, 8, len(data), data
            )
        core.CreateGC(self._context, self._window, xproto.GC.Foreground, [0xFF0000])
        core.MapWindow(self._window)
        self._settle()

    def draw(self, left: int, top: int, width: int, height: int) -> None:
        box = xproto.RECTANGLE.synthetic(left, top, width, height)
        self._connection.core.PolyFillRectangle(self._window, self._context, 1, [box])
        self._settle()

    def hide(self) -> None:
        self._connection.core.UnmapWindow(self._window)
        self._settle()

    def _settle(self) -> None:
        self._connection.core.GetInputFocus().reply()

    def close(self) -> None:
        self._connection.disconnect()


@pytest.fixture
def bank(display: str) -> Iterator[Client]:
    del display
    client = Client("My accounts", "BankClient", (100, 50, 80, 60))
    yield client
    client.close()


def shot(screen: Screen) -> np.ndarray:
    frame = screen.read(1.0)
    assert frame is not None
    return frame.rgb()


@pytest.mark.usefixtures("display")
def test_a_screen_is_seen() -> None:
    with Screen() as screen:
        assert shot(screen).shape == (240, 320, 3)
    with Screen.parse("screen:10,20,64x48") as screen:
        assert shot(screen).shape == (48, 64, 3)
    with pytest.raises(SourceError, match="there are 1 screens"):
        Screen(2).open()
    with pytest.raises(SourceError, match="320x240"):
        Screen.parse("screen:300,0,64x48").open()


def test_a_change_is_told_once_and_only_where_one_looks(bank: Client) -> None:
    with Screen() as whole, Screen.parse("screen:0,0,50x40") as corner:
        shot(whole)
        shot(corner)
        assert whole.await_change(0.05) is False
        bank.draw(5, 5, 10, 10)
        assert whole.await_change(2.0) is True
        assert tuple(shot(whole)[60, 110]) == (255, 0, 0)
        assert whole.await_change(0.05) is False
        assert corner.await_change(0.05) is False
        bank.draw(5, 5, 10, 10)
        shot(whole)
        assert whole.await_change(0.05) is False, "what was in the picture is not told afterwards"


@pytest.mark.usefixtures("display")
def test_a_wait_for_a_change_is_interrupted_once() -> None:
    with Screen() as screen:
        shot(screen)
        began = time.monotonic()
        caller = threading.Timer(0.1, screen.interrupt)
        caller.start()
        assert screen.await_change(60.0) is False
        screen.interrupt()
        assert screen.await_change(60.0) is False, "one that comes too early ends the next"
        assert time.monotonic() - began < 30.0
        assert screen.await_change(0.05) is False
        caller.join()
    screen.interrupt()


def test_a_server_that_does_not_tell_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch, "-extension", "DAMAGE"), Screen() as screen:
        assert shot(screen).shape == (240, 320, 3)
        assert not screen.tells_changes


@pytest.mark.parametrize("rule", ["accounts", "^bankclient"])
def test_a_window_is_excluded_by_its_title_or_its_application(bank: Client, rule: str) -> None:
    source = open_source("screen", hidden_windows=[re.compile(rule, re.IGNORECASE)])
    assert isinstance(source, Screen)
    with source, Screen() as plain, Screen.parse("screen:120,60,40x30") as within:
        assert (shot(plain)[50:110, 100:180] == 255).all()
        hidden = shot(source)
        assert (hidden[50:110, 100:180] == 0).all()
        assert (shot(within) == 255).all()
        bank.hide()
        assert (shot(source)[50:110, 100:180] == shot(plain)[50:110, 100:180]).all()


def test_a_region_shows_nothing_of_an_excluded_window(bank: Client) -> None:
    del bank
    with Screen.parse("screen:90,40,50x50", hidden=[re.compile("My accounts")]) as part:
        pixels = shot(part)
    assert (pixels[10:, 10:] == 0).all()


def test_windows_that_nobody_excluded_are_named(bank: Client) -> None:
    del bank
    display = Display()
    (window,) = display.windows()
    display.close()
    assert (window.title, window.application) == ("My accounts", "BankClient BankClient")
    assert window.place == (100, 50, 80, 60)
    assert not window.matches([re.compile("mail")])


def test_a_server_that_ends_is_a_loss_and_not_an_end(display: str) -> None:
    del display
    screen = Screen(hidden=[re.compile("bank")])
    screen.open()
    assert screen._display is not None
    screen._display.close()
    with pytest.raises(SourceError) as told:
        screen.read(1.0)
    assert told.value.temporary
    screen.close()


def test_where_windows_are_not_told_of_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "darwin")
        with pytest.raises(SourceError, match="X11 only"):
            Screen(hidden=[re.compile("bank")]).open()
    with pytest.raises(SourceError, match="only screens"):
        open_source("camera:0", hidden_windows=[re.compile("bank")])


@pytest.mark.usefixtures("display")
def test_without_xcffib_screens_are_seen_but_windows_cannot_be_excluded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "xcffib", None)
    with Screen() as screen:
        assert shot(screen).shape == (240, 320, 3)
        assert not screen.tells_changes
    with pytest.raises(SourceError, match=r"vedette\[screen\]"):
        Screen(hidden=[re.compile("bank")]).open()

"""Every source gives its frames, counts what it leaves out, and comes back when it is lost."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vedette.errors import InputError, SourceError
from vedette.sources import (
    Arrays,
    Folder,
    Frame,
    Images,
    Latest,
    Pushed,
    Screen,
    Source,
    SourceEnded,
    Stream,
    Video,
    open_source,
)


def all_frames(source: Source) -> list[Frame]:
    frames = []
    with source:
        while True:
            try:
                frame = source.read(1.0)
            except SourceEnded:
                return frames
            if frame is not None:
                frames.append(frame)


def save(path: Path, gray: int) -> None:
    Image.fromarray(np.full((8, 8), gray, np.uint8)).save(path)


def video(path: Path, count: int = 10, rate: int = 5, size: tuple[int, int] = (64, 48)) -> Path:
    """A video of gray frames that get brighter, 20 levels each."""
    options = {"format": "mpegts"} if path.suffix == ".ts" else {}
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.gop_size = 1
        for number in range(count):
            pixels = np.full((size[1], size[0], 3), 20 * (number % 12), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_images_come_in_natural_order_and_corrupt_ones_are_counted(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / f"frame-{number}.png", number)
    (tmp_path / "frame-5.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no frame")
    source = Folder(tmp_path, interval_s=2.0)
    frames = all_frames(source)
    assert [int(frame.rgb()[0, 0, 0]) for frame in frames] == [1, 9, 10]
    assert [(frame.index, frame.position_s) for frame in frames] == [(0, 0.0), (2, 4.0), (3, 6.0)]
    assert source.dropped == {"corrupt": 1}
    ((kind, detail),) = source.take_reports()
    assert kind == "corrupt"
    assert "frame-5.png" in detail
    assert [frame.name for frame in all_frames(Images([str(tmp_path / "frame-?.png")]))] == [
        "frame-1.png",
        "frame-9.png",
    ]
    with pytest.raises(SourceError, match="no files"):
        Images([str(tmp_path / "*.jpg")]).open()


def test_a_folder_that_grows(tmp_path: Path) -> None:
    with Folder(tmp_path, follow=True) as source:
        assert source.read(0.01) is None
        save(tmp_path / "first.png", 7)
        frame = None
        while frame is None:
            frame = source.read(0.5)
        assert frame.name == "first.png"
        assert source.read(0.01) is None


def test_a_video_is_given_whole_or_by_its_own_time(tmp_path: Path) -> None:
    path = video(tmp_path / "film.mp4")
    frames = all_frames(Video(str(path)))
    assert len(frames) == 10
    assert frames[0].format == "i420"
    assert [round(float(frame.rgb().mean()) / 20) for frame in frames] == list(range(10))
    assert frames[0].rgb().shape == (48, 64, 3)
    sampled = all_frames(Video(str(path), interval_s=1.0))
    assert [frame.position_s for frame in sampled] == [0.0, 1.0]
    source = open_source(str(path), interval_s=0.5)
    assert [frame.position_s for frame in all_frames(source)] == pytest.approx([0, 0.6, 1.0, 1.6], abs=0.11)


def test_odd_sizes_of_planar_frames_are_whole() -> None:
    luma = np.full((5, 7), 120, np.uint8)
    chroma = [np.full((3, 4), 128, np.uint8)] * 2
    frame = Frame((luma, *chroma), "i420", 0, 0.0)
    assert frame.rgb().shape == (5, 7, 3)
    assert len(np.unique(frame.rgb())) == 1


def test_a_resolution_that_changes_in_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "two.ts"
    path.write_bytes(
        video(tmp_path / "a.ts", 4).read_bytes() + video(tmp_path / "b.ts", 4, size=(96, 80)).read_bytes()
    )
    shapes = [frame.rgb().shape for frame in all_frames(Video(str(path)))]
    assert (48, 64, 3) in shapes
    assert (80, 96, 3) in shapes


def test_damaged_videos_give_what_can_be_decoded(tmp_path: Path) -> None:
    path = video(tmp_path / "film.ts", 30, size=(160, 120))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    middle = slice(len(data) // 3, len(data) // 2)
    data[middle] = rng.integers(0, 256, middle.stop - middle.start, np.uint8).tobytes()
    path.write_bytes(data)
    source = Video(str(path))
    assert 5 <= len(all_frames(source)) <= 30
    (tmp_path / "none.mp4").write_bytes(b"\0" * 5000)
    with pytest.raises(SourceError, match="cannot be opened"):
        Video(str(tmp_path / "none.mp4")).open()


class Flaky(Source):
    """A camera that is unplugged after every third frame, and absent on some openings."""

    live = True

    def __init__(self) -> None:
        super().__init__("camera:0")
        self.opened = 0
        self.left = 0

    def open(self) -> None:
        self.opened += 1
        if self.opened in (2, 3):
            raise SourceError("camera:0: no such device", temporary=True)
        self.left = 3

    def read(self, timeout_s: float) -> Frame | None:
        time.sleep(min(0.005, timeout_s))
        if self.left == 0:
            raise SourceError("camera:0: unplugged", temporary=True)
        self.left -= 1
        return Frame((np.zeros((4, 4), np.uint8),), "gray", self.opened, 0.0)


def test_a_camera_that_is_unplugged_comes_back() -> None:
    camera = Flaky()
    source = Latest(camera, first_wait_s=0.01, longest_wait_s=0.02)
    seen = set()
    with source:
        end = time.monotonic() + 10
        while 4 not in seen and time.monotonic() < end:
            frame = source.read(0.2)
            if frame is not None:
                seen.add(frame.index)
    assert {1, 4} <= seen
    assert source.take_reports()[:2] == [("lost", "camera:0: unplugged"), ("back", "")]


def test_only_the_latest_frame_of_a_live_source_counts() -> None:
    inner = Pushed(capacity=100, live=False)
    for value in range(5):
        inner.push(np.full((2, 2, 3), value, np.uint8))
    inner.end()
    with Latest(inner) as source:
        time.sleep(0.1)
        frame = source.read(1.0)
        assert frame is not None
        assert frame.index == 4
        assert source.dropped == {"newer frame came": 4}
        with pytest.raises(SourceError, match="ended"):
            source.read(1.0)


@contextlib.contextmanager
def served(parts: list[bytes], hang: threading.Event, *, ends: bool = False) -> Iterator[str]:
    """A server that sends each caller the next part, and then stalls or ends the stream."""
    listener = socket.create_server(("127.0.0.1", 0))
    calls: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            for part in parts:
                connection, _ = listener.accept()
                calls.append(connection)
                connection.sendall(part)
                if ends:
                    connection.close()
            hang.wait(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        hang.set()
        for connection in calls:
            connection.close()
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("ends", [False, True], ids=["stalls", "ends"])
def test_a_stream_that_stalls_or_ends_is_opened_again(tmp_path: Path, ends: bool) -> None:
    data = video(tmp_path / "film.ts", 60, rate=25).read_bytes()
    with served([data[: len(data) // 2], data], threading.Event(), ends=ends) as address:
        stream = Stream(address, options={"analyzeduration": "100000", "f": "mpegts"}, timeout_s=0.5)
        source = Latest(stream, first_wait_s=0.01)
        reports: list[tuple[str, str]] = []
        with source:
            end = time.monotonic() + 15
            while ("back", "") not in reports and time.monotonic() < end:
                source.read(0.1)
                reports += source.take_reports()
    assert [kind for kind, _ in reports][:2] == ["lost", "back"]
    assert ("the stream ended" in reports[0][1]) is ends


def test_passwords_of_streams_are_not_shown() -> None:
    assert Stream("rtsp://user:secret@cam.local/main").name == "rtsp://cam.local/main"


def test_arrays_of_a_program() -> None:
    pixels: list[NDArray[np.uint8]] = [np.full((4, 6, 3), value, np.uint8) for value in range(3)]
    frames = all_frames(Arrays(pixels, interval_s=0.5))
    assert [(frame.index, frame.position_s) for frame in frames] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    planes = (np.zeros((4, 4), np.uint8), np.zeros((2, 2, 2), np.uint8))
    assert all_frames(Arrays([planes], format="nv12"))[0].rgb().shape == (4, 4, 3)
    with pytest.raises(InputError, match="uint8"):
        all_frames(Arrays([np.zeros((4, 4, 3))]))
    with pytest.raises(SourceError, match="planes"):
        all_frames(Arrays([planes], format="i420"))


def test_names_of_sources() -> None:
    assert open_source("screen:2").name == "screen:2"
    assert open_source("screen:0,0,80x60").name == "screen:0,0,80x60"
    assert open_source("camera:1").name == "camera:1"
    assert isinstance(open_source("rtsp://host/stream"), Latest)
    assert open_source("camera:0", comparison="exact").comparison == "exact"
    for wrong in ("screen:x", "nothing-like-it", "nothing.mp4"):
        with pytest.raises(SourceError):
            open_source(wrong)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has these displays")
def test_wayland_and_no_display_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(SourceError, match="Wayland does not let programs"):
        Screen().open()
    monkeypatch.delenv("WAYLAND_DISPLAY")
    monkeypatch.delenv("XDG_SESSION_TYPE", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SourceError, match="no display"):
        Screen().open()

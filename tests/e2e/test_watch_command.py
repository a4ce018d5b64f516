"""Watching as it is typed: events come out, the store is searched, and what ends a watch loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Command
from rendered import Desk, write

from vedette.store import Store


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    desks = [Desk(), Desk(), Desk(typed="swordfish"), Desk(typed="swordfish two"), Desk(clock="12:01")]
    return write(folder, [desk.draw()[:, :400] for desk in desks])


def test_what_is_seen_is_told_kept_found_and_forgotten(
    vedette: Command, frames: Path, tmp_path: Path
) -> None:
    store = tmp_path / "seen.db"
    done = vedette("watch", frames, "--json", "--store", store)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert {event["text"] for event in events if event["frame"] == 0} >= {"Room 204 second floor", "Minutes"}
    assert not [event for event in events if event["frame"] == 1]
    told = [(event["event"], event["text"], event.get("previous")) for event in events if event["frame"] > 1]
    assert told == [
        ("appeared", "swordfish", None),
        ("changed", "swordfish two", "swordfish"),
        ("gone", "swordfish two", None),
    ]
    found = vedette("search", "swordfish", "--json", "--store", store)
    matches = [json.loads(line) for line in found.stdout.decode().splitlines()]
    assert [match["text"] for match in matches] == ["swordfish two", "swordfish"]
    assert all(match["ended"] is not None for match in matches)
    assert b"room 204" in vedette("search", "room 204", "--store", store, "--since", "1h").stdout.lower()
    laid_out = vedette("timeline", "--store", store).stdout.decode()
    assert "started" in laid_out
    assert "stopped" in laid_out
    assert (
        b"2 sightings would be"
        in vedette("forget", "--match", "swordfish", "--dry-run", "--store", store).stdout
    )
    assert b"2 sightings forgotten" in vedette("forget", "--match", "swordfish", "--store", store).stdout
    assert vedette("search", "swordfish", "--store", store).returncode == 1
    assert b"swordfish" not in store.read_bytes()


def test_each_way_back_tells_the_same(vedette: Command, frames: Path) -> None:
    runs = []
    for switch, backend in (
        ([], "native"),
        (["--full-frame"], "native"),
        (["--engine", "onnxruntime"], "native"),
        ([], "numpy"),
        (["--full-frame", "--engine", "onnxruntime"], "numpy"),
    ):
        done = vedette("watch", frames, "--json", "--no-store", *switch, VEDETTE_BACKEND=backend)
        told = [json.loads(line) for line in done.stdout.decode().splitlines()]
        runs.append(sorted((event["frame"], event["event"], event["text"]) for event in told))
    assert runs[0]
    assert runs[1:] == runs[:1] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("chosen", [signal.SIGTERM, signal.SIGKILL])
def test_ended_by_a_signal_it_keeps_what_it_told(frames: Path, tmp_path: Path, chosen: int) -> None:
    store = tmp_path / "seen.db"
    command = [
        sys.executable,
        "-m",
        "vedette",
        "watch",
        str(frames),
        "--follow",
        "--json",
        "--store",
        str(store),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline())]
    process.send_signal(chosen)
    rest, errors = process.communicate(timeout=20)
    told += [json.loads(line) for line in rest.splitlines() if line.endswith("}")]
    assert process.returncode == (0 if chosen == signal.SIGTERM else -chosen)
    assert errors == ""
    code = (
        "import json, sys; from vedette.store import Store\n"
        "store = Store(sys.argv[1])\n"
        "print(json.dumps([m[0] for m in store._connection.execute('SELECT text FROM sightings')]))\n"
        "store.claim()\n"
        "open = store._connection.execute('SELECT count(*) FROM sightings WHERE ended IS NULL')\n"
        "print(open.fetchone()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, store], capture_output=True, text=True, check=True)
    kept, still_open = done.stdout.splitlines()
    assert {event["text"] for event in told} <= set(json.loads(kept))
    assert still_open == "0"
    assert os.stat(store).st_mode & 0o777 == 0o600


def test_where_nobody_reads_on_it_ends_with_everything_written(frames: Path, tmp_path: Path) -> None:
    store = tmp_path / "seen.db"
    command = [sys.executable, "-m", "vedette", "watch", str(frames), "--store", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141, "as other commands"
    with Store(store, readonly=True) as seen:
        assert seen.search("minutes")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_suspended_and_resumed_it_goes_on(frames: Path, tmp_path: Path) -> None:
    folder, store = tmp_path / "growing", tmp_path / "seen.db"
    folder.mkdir()
    shutil.copy(frames / "frame-0.png", folder / "1.png")
    command = [
        sys.executable,
        "-m",
        "vedette",
        "watch",
        str(folder),
        "--follow",
        "--json",
        "--store",
        str(store),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        shutil.copy(frames / "frame-2.png", folder / "2.png")
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        while "swordfish" not in (line := process.stdout.readline()):
            assert line, "the watch ended"
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_what_cannot_be_watched_is_said(vedette: Command, tmp_path: Path) -> None:
    done = vedette("watch", tmp_path / "nothing", "--no-store")
    assert done.returncode == 1
    assert b"no such file or folder" in done.stderr
    (tmp_path / "empty").mkdir()
    done = vedette("watch", tmp_path / "empty", "--no-store")
    assert done.returncode == 1
    assert b"no images in this folder" in done.stderr
    done = vedette("search", "word", "--store", tmp_path / "no.db")
    assert done.returncode == 1
    assert b"there is no store" in done.stderr
    assert vedette("search", "word", "--since", "yesterday").returncode == 2
    done = vedette("forget", "--store", tmp_path / "no.db")
    assert done.returncode == 2
    assert b"--before, --match or --source" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_stream_that_is_not_there_is_told_and_tried_again() -> None:
    command = [sys.executable, "-m", "vedette", "watch", "tcp://127.0.0.1:9", "--no-store"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        process.terminate()
        assert process.stderr.read() == ""
    assert "tcp://127.0.0.1:9: lost: " in told
    assert told.endswith("; trying again\n")
    assert process.returncode == 0


def test_a_running_watch_is_asked_paused_and_checked(vedette: Command, frames: Path, tmp_path: Path) -> None:
    store = tmp_path / "seen.db"
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "vedette", "watch", str(frames), "--follow", "--json"]
    command += ["--store", str(store), "--cpu", "90%", "--memory", "2GB"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        (status,) = (
            json.loads(line)
            for line in vedette("status", "--json", **environment).stdout.decode().splitlines()
        )
        assert status["pid"] == process.pid
        assert status["sources"][0]["source"] == str(frames)
        assert status["store"]["trouble"] is None
        assert set(status["budget"]) >= {"limit_cores", "used_cores", "memory_level"}
        assert str(frames) in vedette("status", **environment).stdout.decode()
        checked = json.loads(vedette("doctor", "--json", **environment).stdout)[f"watch {process.pid}"]
        assert checked["answers"] is True
        assert checked["within memory"] is True
        second = vedette("watch", frames, "--store", store)
        assert second.returncode == 1
        assert b"writes this store already" in second.stderr
        assert vedette("pause", "--store", store).returncode == 0
        assert b"looking again" in vedette("resume", "--store", store).stdout
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert vedette("status", **environment).returncode == 1


def test_models_that_are_gone_or_wrong_are_said(vedette: Command, frames: Path, tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text('model = "gone.onnx"\nkind = "detection"\nlabels = ["a"]\nsize = [32, 32]\n')
    done = vedette("watch", frames, "--no-store", "--task", path)
    assert done.returncode == 1
    assert b"gone.onnx" in done.stderr
    done = vedette("watch", frames, "--no-store", "--cpu", "lots")
    assert done.returncode == 1
    for wrong in (["--exclude", "1,2"], ["--redact", "("], ["--rate", "0"], ["--keep", "soon"]):
        assert vedette("watch", frames, *wrong).returncode == 2

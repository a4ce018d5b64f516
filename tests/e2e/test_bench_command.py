"""``vedette bench`` as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import Command

from vedette import bench
from vedette.bench.watch import Settings, compare
from vedette.errors import VedetteError


def test_records_and_charts(vedette: Command, tmp_path: Path) -> None:
    file, charts = tmp_path / "records.json", tmp_path / "charts"
    done = vedette("bench", "memory", "--threads", 1, "--pairs", 1, "--json", file, "--charts", charts)
    assert done.returncode == 0
    assert b"8 frames" in done.stdout
    written = json.loads(file.read_text())
    assert written["machine"]["versions"]["numpy"]
    assert {record["group"] for record in written["records"]} == {"memory"}
    assert all(record["wall_ratio"] > 0 for record in written["records"])
    drawn = (charts / "memory-threads-1.svg").read_text()
    assert "8 frames" in drawn


def test_unknown_groups_are_misuse(vedette: Command) -> None:
    done = vedette("bench", "speed")
    assert done.returncode == 2
    assert b"no group speed" in done.stderr


def test_a_watch_is_compared_with_the_usual_loop(vedette: Command, tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    done = vedette("bench", "watch", "--seconds", 3, "--peer-frames", 1, "--json", file, "--charts", tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"usual loop" in done.stdout
    record, *targets = json.loads(file.read_text())["records"]
    ours, theirs = record["Vedette"], record["usual loop"]
    assert ours["words_found"] == ours["words"] > 0
    assert theirs["read"] == 1
    assert ours["cpu_s"] < theirs["cpu_s"]
    assert "usual loop" in (tmp_path / "watch.svg").read_text()
    assert {target["group"] for target in targets} == {"watch"}
    wanted = [target["target"] for target in targets]
    assert wanted[:4] == [30, 99, 400, 1]
    assert set(wanted[4:]) == {0.5}, "a still screen, where there is a server also one that does not tell"
    memory, still = targets[2], targets[4]
    assert memory["met"] is (memory["measured"] <= 400)
    assert still["measured"] > 0


def test_peers_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(VedetteError, match="group watch needs rapidocr: pip install rapidocr"):
        bench.run("watch", [1], 1)


def test_a_watch_that_failed_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {"failed": "recording.mkv: it cannot be read", "samples": []}
    monkeypatch.setattr("vedette.bench.watch.run_side", lambda *_: dict(failed))
    with pytest.raises(VedetteError, match="it cannot be read"):
        compare(Settings(seconds=1))

"""``vedette bench`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Command


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

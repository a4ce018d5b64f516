"""A bounded run of every fuzz target: what was found once stays away, and the targets keep working."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("image", 20_000),
        ("model", 15_000),
        ("pixels", 20_000),
        ("program", 20_000),
        ("recipe", 2_000),
        ("saved", 8_000),
    ],
)
def test_a_bounded_run_finds_nothing(target: str, runs: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz", target, f"-runs={runs}", "-seed=1", "-max_total_time=60"]
    options = [f"-artifact_prefix={tmp_path}/", "-verbosity=0"]
    finished = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert not list(tmp_path.iterdir())

"""What tests of every folder may use."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """Have children end on SIGINT: a test run in the background may ignore it, which they would inherit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def vedette(tmp_path: Path) -> Command:
    """Run the ``vedette`` command in an empty folder. Whatever it is given, it never shows a traceback."""
    folder = tmp_path / "working-folder"
    folder.mkdir()

    def run(
        *arguments: object, stdin: bytes = b"", cwd: Path = folder, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [sys.executable, "-m", "vedette", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env=os.environ | environment,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        assert b"panicked" not in done.stderr, done.stderr.decode()
        return done

    return run

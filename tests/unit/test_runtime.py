"""The face of the native runtime."""

import os
import subprocess
import sys

import pytest

from vedette import runtime
from vedette.errors import InputError


def fresh(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new Python: the core reads its environment once."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}
    return subprocess.run(
        [sys.executable, "-c", f"from vedette import runtime\n{code}"],
        capture_output=True,
        text=True,
        env=inherited | environment,
        check=False,
    )


def test_levels() -> None:
    levels = runtime.available_isas()
    assert levels[0] == "scalar"
    assert runtime.isa() in levels
    assert set(levels) <= set(runtime.ISAS)
    assert runtime.cpu_features()["avx2"] == ("avx2" in levels)


def test_threads_are_set_and_restored() -> None:
    before = runtime.get_num_threads()
    try:
        runtime.set_num_threads(3)
        assert runtime.get_num_threads() == 3
    finally:
        runtime.set_num_threads(None)
    assert runtime.get_num_threads() == before


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_impossible_threads_are_refused(threads: int) -> None:
    with pytest.raises(InputError, match=f"between 1 and 1024, got {threads}"):
        runtime.set_num_threads(threads)


def test_threads_are_a_whole_number() -> None:
    with pytest.raises(TypeError):
        runtime.set_num_threads(1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", runtime.available_isas())
def test_the_environment_caps_the_level(level: str) -> None:
    assert fresh("print(runtime.isa())", VEDETTE_ISA=level).stdout.strip() == level


def test_the_environment_sets_the_threads() -> None:
    assert fresh("print(runtime.get_num_threads())", VEDETTE_THREADS="5").stdout.strip() == "5"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("VEDETTE_ISA", "sse9", "VEDETTE_ISA is 'sse9'; it can be scalar, avx2, avx512 or amx"),
        ("VEDETTE_THREADS", "many", "VEDETTE_THREADS is 'many'; it must be a number from 1 to 1024"),
        ("VEDETTE_THREADS", "0", "VEDETTE_THREADS is '0'"),
    ],
)
def test_an_unusable_environment_is_reported(variable: str, value: str, message: str) -> None:
    done = fresh("runtime.check_environment()", **{variable: value})
    assert done.returncode == 1
    assert message in done.stderr

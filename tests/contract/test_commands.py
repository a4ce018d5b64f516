"""Every command explains itself, with an example, and starts without loading what it does not need."""

import subprocess
import sys

import pytest
from conftest import Command

from vedette.cli import COMMANDS


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS), ["models", "pull"]])
def test_help_has_an_example(vedette: Command, arguments: list[str]) -> None:
    done = vedette(*arguments, "--help")
    assert done.returncode == 0
    assert done.stderr == b""
    _, _, examples = done.stdout.decode().partition("example")
    assert f"vedette {' '.join(arguments)}".strip() in examples


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["explode"],
        ["models"],
        ["models", "list", "--fast"],
        ["--jsn"],
        ["read"],
        ["read", "--format", "pdf"],
    ],
)
def test_misuse_is_status_2(vedette: Command, arguments: list[str]) -> None:
    done = vedette(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"usage: vedette" in done.stderr


def test_version(vedette: Command) -> None:
    done = vedette("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"vedette ")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from vedette.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "print(*sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = {name.partition(".")[0] for name in loaded.split()}
    assert not modules & {"PIL", "numpy", "onnx", "onnxruntime", "rich"}

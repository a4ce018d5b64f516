"""The wheel: small, and with nothing in it but the package."""

import zipfile
from pathlib import Path

import pytest
from bench.wheel import build


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def test_it_is_under_10_mb(wheel: Path) -> None:
    assert wheel.stat().st_size < 10_000_000


def test_it_serves_every_python_from_3_11(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top.partition("-")[0] for top in tops} == {"vedette"}
    assert {"vedette/__init__.py", "vedette/_native.pyi", "vedette/py.typed"} <= set(names)
    natives = [name for name in names if name.endswith((".so", ".pyd"))]
    assert len(natives) == 1
    assert not [name for name in names if name.endswith((".pyc", ".onnx", ".rs"))]
    assert any(name.endswith("LICENSE") for name in names)

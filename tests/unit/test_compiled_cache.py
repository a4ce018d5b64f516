"""Compiled models kept in a folder, for the next start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import Net

import vedette as vd
from vedette.errors import InvalidModelError

X = np.asarray([[-1, 2, -3], [4, -5, 6]], np.float32)
WEEK = 7 * 24 * 3600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    net = Net()
    weights = net.constant(np.arange(12, dtype=np.float32).reshape(3, 4))
    model = net.model(net.op("Relu", net.op("MatMul", net.input("x", "n", 3), weights)))
    model.metadata_props.add(key="author", value="nobody")
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def start(path: Path, cache: Path, first: str = "", *, imports_onnx: bool = False, **given: str) -> None:
    """Loads the model in a process of its own, which is to keep one file, and imports onnx or does not."""
    options = "".join(f", {name}={value!r}" for name, value in given.items())
    program = (
        f"import sys, vedette\n{first}\n"
        f"vedette.load({str(path)!r}, cache={str(cache)!r}{options})\n"
        f"sys.exit(('onnx' in sys.modules) != {imports_onnx})"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("precision", ["float32", "auto", "bfloat16"])
def test_what_was_kept_is_the_same_model(path: Path, tmp_path: Path, precision: str) -> None:
    cache = tmp_path / "cache"
    made, kept = (vd.load(path, precision=precision, cache=cache) for _ in range(2))
    np.testing.assert_array_equal(made(X), kept(X))
    assert kept.metadata == {"author": "nobody"}
    assert len(list(cache.iterdir())) == 1
    kept.save(tmp_path / "again.vedette")
    np.testing.assert_array_equal(vd.load(tmp_path / "again.vedette")(X), made(X))


def test_another_level_of_instructions_has_a_file_of_its_own(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {}
    for level in vd.runtime.available_isas():
        monkeypatch.setenv("VEDETTE_ISA", level)
        start(path, tmp_path / level)
        names[level] = {file.name for file in (tmp_path / level).iterdir()}
    assert len(set.union(*names.values())) == len(names)


def test_a_second_start_needs_no_onnx(path: Path, tmp_path: Path) -> None:
    vd.load(path, cache=tmp_path / "cache")
    start(path, tmp_path / "cache")


@pytest.mark.parametrize("precision", ["float32", "auto", "fast", "bfloat16"])
def test_a_first_start_leaves_onnx_to_a_child_process(path: Path, tmp_path: Path, precision: str) -> None:
    recipe = vd.quantize(vd.load(path), [X], precision="fast").recipe.save(tmp_path / "recipe.json")
    given = {"recipe": str(recipe)} if precision == "fast" else {}
    start(path, tmp_path / "cache", precision=precision, **given)


def test_where_there_can_be_no_child_the_caller_compiles(path: Path, tmp_path: Path) -> None:
    start(path, tmp_path / "cache", first="sys.executable = None", imports_onnx=True)


def test_what_the_child_cannot_compile_is_told_by_the_caller(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    program = f"import vedette; vedette.load({str(path)!r}, cache={str(tmp_path / 'cache')!r})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "InvalidModelError" in run.stderr.splitlines()[-1]


def test_another_file_of_the_same_name_is_another_model(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = vd.load(path, cache=cache)(X)
    net = Net()
    onnx.save(net.model(net.op("Neg", net.input("x", "n", 3))), path)
    np.testing.assert_array_equal(vd.load(path, cache=cache)(X), -X)
    assert first.shape == (2, 4)


def test_damage_and_a_folder_that_cannot_be_made_cost_time_only(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    expected = vd.load(path, cache=cache)(X)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    np.testing.assert_array_equal(vd.load(path, cache=cache)(X), expected)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    np.testing.assert_array_equal(vd.load(path, cache=in_the_way / "cache")(X), expected)


def test_what_older_builds_kept_is_removed_after_a_week(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    vd.load(path, cache=cache)
    (file,) = cache.iterdir()
    model_and_precision = file.stem.rpartition("-")[0]
    old, recent, other = (
        cache / f"{stem}.vedette"
        for stem in (f"{model_and_precision}-0", f"{model_and_precision}-1", "a-b-0")
    )
    for stale, age in ((old, 2 * WEEK), (recent, WEEK // 2), (other, 2 * WEEK)):
        stale.write_bytes(b"")
        os.utime(stale, (time.time() - age,) * 2)
    file.unlink()
    vd.load(path, cache=cache)
    assert {entry.name for entry in cache.iterdir()} == {file.name, recent.name, other.name}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"none\.onnx"):
        vd.load(tmp_path / "none.onnx", cache=tmp_path / "cache")

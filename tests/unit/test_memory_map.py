"""Mapped files: shown as they are, read-only, never beyond their end."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from vedette.errors import InputError
from vedette.memory import map_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.bin"
    path.write_bytes(b"head" + np.arange(12, dtype="<f4").tobytes())
    return path


def test_a_file_is_shown_as_it_is(file: Path) -> None:
    assert bytes(map_file(file)) == file.read_bytes()
    assert (map_file(str(file), "float32", offset=4) == np.arange(12)).all()
    array = map_file(file, "<f4", (3, 4), offset=4)
    assert (array == np.arange(12).reshape(3, 4)).all()
    assert map_file(file, "<f4", 2, offset=8).tolist() == [1, 2]
    unaligned = map_file(file, ">f4", (), offset=5)
    assert (unaligned.shape, unaligned.flags.aligned) == ((), False)
    assert map_file(file, offset=52).shape == (0,)


def test_nobody_can_write_to_it(file: Path) -> None:
    array = map_file(file)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True


def test_arrays_keep_a_file_that_is_replaced(file: Path) -> None:
    array = map_file(file)
    before = bytes(array)
    (file.parent / "new").write_bytes(b"other")
    (file.parent / "new").replace(file)
    view = array[4:]
    del array
    assert bytes(view) == before[4:]
    assert bytes(map_file(file)) == b"other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"offset": 53}, "offset 53 is beyond the 52 bytes"),
        ({"offset": -1}, "offset cannot be negative"),
        (
            {"dtype": "float32", "offset": 3},
            "49 bytes of .* from 3 on are no whole number of 4-byte elements",
        ),
        ({"shape": 53}, "takes 53 bytes; .* has 52 from 0 on"),
        ({"shape": (13, 2), "dtype": "float32"}, "takes 104 bytes"),
        ({"shape": (-1, 4)}, "cannot be negative"),
        ({"dtype": "object"}, "holds Python objects"),
    ],
)
def test_what_the_file_does_not_hold_is_refused(file: Path, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        map_file(file, **arguments)


def test_only_regular_files_are_mapped(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        map_file(tmp_path / "absent")
    assert caught.value.filename == str(tmp_path / "absent")
    with pytest.raises(InputError, match="not a regular file"):
        map_file(tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    assert map_file(tmp_path / "empty", "float32").shape == (0,)
    with pytest.raises(InputError, match=r"takes 1 bytes; .* has 0"):
        map_file(tmp_path / "empty", shape=1)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="not a regular file"):
            map_file(tmp_path / "pipe")


def _sum(path: str, results: object) -> None:
    results.put(int(map_file(path).sum()))


def test_processes_share_it(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    worker = context.Process(target=_sum, args=(str(file), results))
    worker.start()
    worker.join()
    assert results.get() == int(map_file(file).sum())

"""Arenas: bytes in turn, given up all at once, never under a living array."""

import numpy as np
import pytest

from vedette.errors import InputError, LeaseError, MemoryLimitError
from vedette.memory import Arena


def test_arrays_follow_each_other_on_their_alignment() -> None:
    arena = Arena(1 << 20)
    first, second = arena.empty(10, "uint8"), arena.empty((2, 3), "float32")
    wide = arena.empty(1, "uint8", align=4096)
    places = [int(array.__array_interface__["data"][0]) for array in (first, second, wide)]
    assert places[1] - places[0] == 64
    assert [place % align for place, align in zip(places, (64, 64, 4096), strict=True)] == [0, 0, 0]
    assert (arena.used_bytes, arena.arrays, arena.capacity_bytes) == (places[2] - places[0] + 1, 3, 1 << 20)
    first.fill(1)
    second.fill(2)
    assert first.sum() == 10
    second.flags.writeable = False
    second.flags.writeable = True


def test_a_reset_is_refused_while_arrays_live() -> None:
    arena = Arena(1000)
    array = arena.empty(100, "uint8")
    view = array[50:]
    del array
    with pytest.raises(LeaseError, match="1 spans of the arena are still in use"):
        arena.reset()
    del view
    arena.reset()
    assert (arena.used_bytes, arena.peak_bytes, arena.arrays) == (0, 100, 0)


def test_detaching_leaves_living_arrays_their_memory() -> None:
    arena = Arena(1000)
    kept = arena.empty(900, "uint8")
    kept.fill(1)
    arena.detach()
    fresh = arena.empty(900, "uint8")
    fresh.fill(2)
    assert (kept == 1).all()
    del arena
    assert (fresh == 2).all()


def test_what_does_not_fit_is_refused() -> None:
    arena = Arena(1000)
    with pytest.raises(MemoryLimitError, match="2000 bytes do not fit: 0 of the arena's 1000 bytes are used"):
        arena.empty(2000, "uint8")
    with pytest.raises(InputError, match="power of two, got 24"):
        arena.empty(1, "uint8", align=24)
    with pytest.raises(InputError, match="align cannot be negative"):
        arena.empty(1, "uint8", align=-8)
    with pytest.raises(InputError, match="Python objects"):
        arena.empty(1, "object")
    with pytest.raises(InputError, match="capacity_bytes cannot be negative"):
        Arena(-1)
    with pytest.raises(MemoryLimitError):
        Arena(1 << 60)
    assert arena.empty((0, 4), np.float64).shape == (0, 4)
    assert arena.empty(1000, "uint8").nbytes == 1000

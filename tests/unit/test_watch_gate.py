"""The gate tells what changed, natively and in NumPy alike."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vedette import _native, runtime
from vedette.errors import InputError
from vedette.ocr.memory import FrameMemory
from vedette.sources import Frame
from vedette.watch.gate import Gate
from vedette.watch.reference_gate import ReferenceGate


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def rgb(pixels: NDArray[np.uint8], index: int = 0) -> Frame:
    return Frame((pixels,), "rgb", index, 0.0)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([(), (3,), (4,)]),
    st.sampled_from([8, 16, 17]),
    st.booleans(),
    st.data(),
)
def test_the_native_gate_is_the_reference(
    height: int, width: int, channels: tuple[int, ...], tile: int, luma: bool, data: st.DataObject
) -> None:
    gates = [_native.ChangeGate(tile, luma), ReferenceGate(tile, luma)]
    image = noise((height, width, *channels))
    for _ in range(4):
        counts = [gate.compare(image) for gate in gates]
        assert counts[0] == counts[1]
        np.testing.assert_array_equal(gates[0].mask(), gates[1].mask())
        assert gates[0].noise == pytest.approx(gates[1].noise)
        for gate in gates:
            gate.accept(image)
        image = image.copy()
        row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        image[row:, column:] = np.roll(image[row:, column:], data.draw(st.integers(0, 5)), axis=0)


def test_moves_are_found_alike_and_proven_alike() -> None:
    page = noise((400, 220, 3), 1)
    for offset in [(-37, 0), (24, 0), (0, 33), (0, -16)]:
        before = page[60:300, 40:200]
        after = page[60 - offset[0] : 300 - offset[0], 40 - offset[1] : 200 - offset[1]]
        gates = [_native.ChangeGate(16, False), ReferenceGate(16, False)]
        for gate in gates:
            gate.compare(before)
            gate.accept(before)
            gate.compare(after)
        assert gates[0].moves(after) == gates[1].moves(after)
        assert gates[0].moves(after)[0][:2] == offset
        boxes = [
            (64, 64, 128, 128),
            (0, 0, 240, 160),
            (200, 100, 240, 160),
            (10, 10, 10, 20),
            (0, 0, 999, 9),
            (-5, 0, 9, 9),
        ]
        for candidate in [offset, (1, 0)]:
            proofs = [gate.equals(after, boxes, candidate) for gate in gates]
            assert proofs[0] == proofs[1]
        assert gates[0].equals(after, boxes[:1], offset) == [True]


@pytest.mark.parametrize("backend", runtime.BACKENDS)
def test_a_still_frame_is_unchanged_and_a_pixel_is_a_change(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDETTE_BACKEND", backend)
    gate = Gate()
    image = noise((100, 120, 3))
    first = gate.examine(rgb(image))
    assert first is not None
    assert first.mask.all()
    gate.accept(rgb(image))
    assert gate.examine(rgb(image.copy())) is None
    changed = image.copy()
    changed[99, 119, 2] ^= 1
    found = gate.examine(rgb(changed))
    assert found is not None
    assert np.argwhere(found.mask).tolist() == [[6, 7]]
    assert gate.examine(rgb(image[:, ::-1][:, ::-1])) is None
    gate.reset()
    assert gate.examine(rgb(image)) is not None


@pytest.mark.parametrize("pixel_format", ["nv12", "i420"])
def test_chroma_counts_in_planar_frames(pixel_format: str) -> None:
    luma = noise((64, 96))
    chroma = [noise((32, 48, 2))] if pixel_format == "nv12" else [noise((32, 48)), noise((32, 48), 1)]

    def frame() -> Frame:
        return Frame((luma, *chroma), pixel_format, 0, 0.0)  # type: ignore[arg-type]

    gate = Gate()
    gate.examine(frame())
    gate.accept(frame())
    assert gate.examine(frame()) is None
    chroma[-1][31, 47] ^= 1
    found = gate.examine(frame())
    assert found is not None
    assert np.argwhere(found.mask).tolist() == [[3, 5]]
    camera = Gate("luma")
    camera.examine(frame())
    camera.accept(frame())
    chroma[-1] ^= 1
    assert camera.examine(frame()) is None


def test_an_unchanged_frame_allocates_nothing() -> None:
    gate = Gate()
    image = noise((540, 960, 3))
    frame = rgb(image)
    gate.examine(frame)
    gate.accept(frame)
    gate.examine(frame)
    held = gate.nbytes
    tracemalloc.start()
    gate.examine(frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4096
    assert gate.nbytes == held


def test_wrong_images_are_refused() -> None:
    gate = _native.ChangeGate(16, False)
    for wrong in [noise((4, 4, 3)).astype(np.float32), noise((2, 4, 4, 3)), noise((0, 4, 3))]:
        with pytest.raises(InputError):
            gate.compare(wrong)
    gate.compare(noise((8, 8, 3)))
    with pytest.raises(InputError, match="size"):
        gate.accept(noise((8, 9, 3)))
    with pytest.raises(InputError, match="256"):
        _native.ChangeGate(0, False)


@pytest.mark.parametrize("backend", runtime.BACKENDS)
def test_frames_are_known_again_by_their_tiles(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDETTE_BACKEND", backend)
    memory: FrameMemory[str] = FrameMemory(2)
    frames = [noise((100, 70, 3), seed) for seed in range(3)]
    assert memory.recall(frames[0]) is None
    for number, frame in enumerate(frames):
        memory.remember(frame, [f"line {number}"])
    changed = frames[1].copy()
    changed[99, 69] ^= 1
    recalled = memory.recall(changed)
    assert recalled is not None
    lines, differing = recalled
    assert lines == ["line 1"]
    assert np.argwhere(differing).tolist() == [[3, 2]]
    forgotten = memory.recall(frames[0])
    assert forgotten is not None
    assert forgotten[1].all(), "the oldest of three is forgotten"
    assert memory.recall(noise((100, 71, 3))) is None


def test_hashes_of_tiles() -> None:
    image = noise((50, 70, 3))
    hashes = _native.tile_hashes(image, 16)
    assert hashes.shape == (4, 5, 2)
    assert len(np.unique(hashes.reshape(-1, 2), axis=0)) == 20
    np.testing.assert_array_equal(_native.tile_hashes(image[::-1][::-1], 16), hashes)
    changed = image.copy()
    changed[49, 69, 0] ^= 1
    assert np.argwhere((_native.tile_hashes(changed, 16) != hashes).any(axis=2)).tolist() == [[3, 4]]

"""Whatever bytes come in: an image or one clear error, never a panic."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vedette import image as images
from vedette.errors import ImageError


def encoded(kind: str, **options: object) -> bytes:
    y, x = np.mgrid[0:31, 0:43]
    pixels = np.stack([x * 5, y * 8, x + y], axis=2).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


SEEDS = {
    "png": encoded("PNG"),
    "jpeg": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "webp": encoded("WEBP"),
    "lossless": encoded("WEBP", lossless=True),
    "bmp": encoded("BMP"),
    "tiff": encoded("TIFF"),
    "lzw": encoded("TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_images_or_image_errors(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(SEEDS[kind])
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), max_size=8)
    ):
        damaged[position] = value
    cut = data.draw(st.integers(0, len(damaged)))
    message, shape = "", (0, 0, 3)
    try:
        shape = images.load(bytes(damaged[:cut]), shrink=data.draw(st.sampled_from([1, 2, 8]))).shape
    except ImageError as error:
        message = str(error)
    assert "\n" not in message
    assert len(shape) == 3
    assert shape[2] == 3


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        images.load(data)

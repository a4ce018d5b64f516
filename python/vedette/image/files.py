"""Images from files and bytes, upright and in RGB, and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vedette import _native
from vedette.errors import ImageError, InputError

__all__ = ["Background", "encode", "load", "save", "to_rgb"]

Background: TypeAlias = tuple[int, int, int] | Literal["contrast"]
"""What shows through transparent pixels: a colour, or white or black, whichever contrasts with the rest."""

WHITE = (255, 255, 255)


def load(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8],
    *,
    background: Background = WHITE,
    shrink: Literal[1, 2, 4, 8] = 1,
) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG, WebP, BMP or TIFF image.

    Parameters
    ----------
    source
        A path, or the bytes of a file.
    background
        What shows through transparent pixels.
    shrink
        Divides the sides, rounded up: a JPEG then transforms only the frequencies it needs, which takes a
        fraction of the time; what else there is is decoded whole and averaged.

    Returns
    -------
    A uint8 array of shape ``(height, width, 3)`` in RGB over a block of :func:`vedette.memory.default_pool`,
    which goes back when the last view of the array dies; turned upright by its Exif orientation. Gray and
    palettes are spread out, 16-bit values scaled to 8 bits. Of an animation or several pages, the first.

    Raises
    ------
    ImageError
        The image is missing, truncated, damaged, of another format, or larger than 178 million pixels, which
        its header tells before anything is allocated.
    """
    color = _color(background)
    if isinstance(source, bytes | bytearray | memoryview | np.ndarray):
        return _native.decode_image(bytes(source), color, shrink)
    path = os.fspath(source)
    try:
        return _native.decode_image_file(path, color, shrink)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def encode(
    image: Any,
    format: Literal["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"],
    *,
    quality: int = 92,
) -> NDArray[np.uint8]:
    """The bytes of a file that holds an image.

    Parameters
    ----------
    image
        As :func:`to_rgb` takes it.
    format
        Of these, ``jpg`` alone loses anything.
    quality
        Of JPEG, 1 to 100.

    Returns
    -------
    A uint8 array of one axis over a block of :func:`vedette.memory.default_pool`, which goes back when the
    last view of the array dies. It offers the buffer protocol, so files, sockets and :func:`load` take it.

    Raises
    ------
    ImageError
        The format is not known.
    """
    return _native.encode_image(to_rgb(image), format.lower(), quality)


def save(path: str | os.PathLike[str], image: NDArray[np.uint8], *, quality: int = 92) -> None:
    """Write an RGB image in the format its extension names: png, jpg, webp (lossless), bmp, tif.

    Parameters
    ----------
    path
        Where to write; an existing file is replaced.
    image
        A uint8 array of shape ``(height, width, 3)``, or ``(height, width)`` for gray.
    quality
        Of JPEG, 1 to 100.

    Raises
    ------
    ImageError
        The extension names no known format, or the file cannot be written.
    """
    target = Path(path)
    try:
        encoded = _native.encode_image(to_rgb(image), target.suffix.lower().lstrip("."), quality)
        target.write_bytes(encoded.data)
    except ImageError as error:
        raise ImageError(f"{target}: {error}") from None
    except OSError as error:
        raise ImageError(f"{target}: cannot be written: {error.strerror or error}") from error


def to_rgb(image: Any, *, background: Background = WHITE) -> NDArray[np.uint8]:
    """View or convert an array or a PIL image as RGB.

    Parameters
    ----------
    image
        A PIL image, or an array of shape ``(height, width)`` or ``(height, width, 1)`` (gray), ``(height,
        width, 3)`` (RGB) or ``(height, width, 4)`` (RGBA), or what offers one; values are uint8, bool or
        uint16.
    background
        What shows through transparent pixels.

    Returns
    -------
    A uint8 array of shape ``(height, width, 3)``; it shares memory with a uint8 array of RGB or gray.

    Raises
    ------
    InputError
        The argument is no image.
    """
    if not isinstance(image, np.ndarray) and hasattr(image, "getbands"):
        image = _from_pil(image)
    if not isinstance(image, np.ndarray):
        offers = hasattr(image, "__array_interface__") or hasattr(image, "__dlpack__")
        if not offers and not isinstance(image, memoryview):
            raise InputError(f"expected an array or a PIL image, got {type(image).__name__}")
        image = _native.as_array(image)
    shape = image.shape
    if image.ndim == 3 and shape[2] == 1:
        image = image[:, :, 0]
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise InputError(f"expected shape (height, width) or (height, width, 3 or 4), got {shape}")
    if 0 in shape:
        raise InputError(f"an image without pixels: shape {shape}")
    if image.dtype == np.uint16:
        # Rounded to the nearest; 257 is 65535 / 255.
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    elif image.dtype != np.uint8:
        raise InputError(f"expected uint8, uint16 or bool values, got {image.dtype}")
    if image.ndim == 2:
        return np.broadcast_to(image[:, :, None], (*image.shape, 3))
    if image.shape[2] == 4:
        return _native.composite(image, _color(background))
    rgb: NDArray[np.uint8] = image
    return rgb


def _from_pil(image: Any) -> NDArray[Any]:
    """The pixels of a PIL image, upright, as RGB, RGBA or gray."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        # Pillow opens 16-bit gray files in this mode; other values have no agreed range.
        return np.asarray(image).clip(0, 65535).astype(np.uint16)
    if image.mode not in ("1", "L", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image)


def _color(background: Background) -> tuple[int, int, int] | None:
    if background == "contrast":
        return None
    if (
        isinstance(background, str)
        or len(background) != 3
        or not all(0 <= value <= 255 for value in background)
    ):
        raise InputError(f"expected a colour of three values from 0 to 255 or 'contrast', got {background!r}")
    return background

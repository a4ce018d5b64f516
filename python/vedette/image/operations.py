"""Operations on images. What holds for all of them stands in :mod:`vedette.image`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vedette import _native
from vedette.errors import InputError
from vedette.image.transform import Transform

__all__ = [
    "absdiff",
    "box_blur",
    "convert",
    "crop",
    "flip",
    "gaussian_blur",
    "histogram",
    "letterbox",
    "normalize",
    "resize",
    "rotate90",
    "threshold",
    "threshold_adaptive",
    "threshold_otsu",
    "to_gray",
    "warp_affine",
    "warp_perspective",
]

Array: TypeAlias = NDArray[Any]
Filter: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos3", "area"]
Profile: TypeAlias = Literal["opencv", "pillow", "torchvision", "ultralytics"]
Size: TypeAlias = tuple[int, int]
"""Height and width."""


def _each(function: Callable[[Any, Any], Any], images: Sequence[Any], out: Any) -> list[Any]:
    """Call a function with each image of a list, and each output if there are any."""
    outs = [None] * len(images) if out is None else out
    if len(outs) != len(images):
        raise InputError(f"expected {len(images)} outputs for as many images, got {len(outs)}")
    return [function(image, target) for image, target in zip(images, outs, strict=True)]


def as_size(size: Any) -> Size:
    """Height and width, or an ``InputError``."""
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        raise InputError(f"expected a size of (height, width) in whole pixels, got {size!r}") from None
    if height < 0 or width < 0:
        raise InputError(f"a size cannot be negative, got {size!r}")
    return height, width


def to_gray(image: Any, *, out: Any = None, profile: Profile = "opencv") -> Any:
    """The luma of RGB or RGBA images; gray images are copied.

    Parameters
    ----------
    image
        uint8, uint16 or float32; see BGR through ``image[..., ::-1]``.
    out
        Where to write; of the image's dtype, shape ``(height, width)``.
    profile
        ``"opencv"`` and ``"pillow"`` give those libraries' very bits; ``"torchvision"`` cuts off instead of
        rounding.
        float32 takes 0.299, 0.587 and 0.114 in each.

    Returns
    -------
    ``out``, or a new array; a list for a list.

    Raises
    ------
    InputError
        The image has 2 channels or more than 4, another dtype, or ``out`` does not fit it.

    Examples
    --------
    >>> import numpy as np, vedette as vd
    >>> vd.image.to_gray(np.full((1, 2, 3), (255, 0, 0), np.uint8))
    array([[76, 76]], dtype=uint8)
    """
    if isinstance(image, list | tuple):
        return _each(lambda one, target: to_gray(one, out=target, profile=profile), image, out)
    return _native.to_gray(image, profile, out)


def threshold(gray: Any, value: float, *, maximum: float = 255, out: Any = None) -> Any:
    """``maximum`` where an element is above ``value``, else 0; of any shape, in place with ``out=gray``.

    Raises
    ------
    InputError
        The dtype is not uint8, uint16 or float32, or ``out`` does not fit.
    """
    if isinstance(gray, list | tuple):
        return _each(lambda one, target: threshold(one, value, maximum=maximum, out=target), gray, out)
    return _native.threshold(gray, value, maximum, out)


def threshold_otsu(gray: Any, *, maximum: float = 255, out: Any = None) -> tuple[Any, Any]:
    """Threshold a uint8 image at the level that parts its levels best (Otsu, 1979; ``cv2.THRESH_OTSU``).

    Returns
    -------
    The level, and the image above it; lists of both for a list. A batch in one array has one level.
    """
    if isinstance(gray, list | tuple):
        pairs = _each(lambda one, target: threshold_otsu(one, maximum=maximum, out=target), gray, out)
        return [level for level, _ in pairs], [image for _, image in pairs]
    value = _native.otsu_threshold(gray)
    return value, _native.threshold(gray, value, maximum, out)


def threshold_adaptive(
    gray: Any,
    size: int = 11,
    *,
    method: Literal["mean", "gaussian"] = "mean",
    offset: float = 0,
    maximum: int = 255,
    out: Any = None,
) -> Any:
    """Threshold each pixel of a uint8 image at the mean of its ``size`` x ``size``, less ``offset``.

    Parameters
    ----------
    size
        Odd; a few times as wide as the strokes to be kept.
    method
        A plain mean, or one weighted by a Gaussian (``cv2.adaptiveThreshold``; the border repeats).
    """
    if isinstance(gray, list | tuple):
        return _each(
            lambda one, target: threshold_adaptive(
                one, size, method=method, offset=offset, maximum=maximum, out=target
            ),
            gray,
            out,
        )
    if not 0 <= maximum <= 255:
        raise InputError(f"maximum is {maximum}; of uint8 it is 0 to 255")
    if method not in ("mean", "gaussian"):
        raise InputError(f"method is {method!r}; it can be mean or gaussian")
    return _native.threshold_adaptive(
        gray, as_size((size, size))[0], method == "gaussian", offset, maximum, out
    )


def normalize(x: Any, mean: float | Sequence[float], std: float | Sequence[float], *, out: Any = None) -> Any:
    """``(x - mean) / std`` for each channel, the last axis, as float32; in place with ``out=x``.

    Divides by multiplying with the reciprocal: within 2 ULP of NumPy's result.

    Parameters
    ----------
    x
        uint8, uint16 or float32, of any shape.
    mean, std
        One number, or one for each channel.

    Raises
    ------
    InputError
        Their number is not that of the channels, a deviation is 0, or ``out`` does not fit.
    """
    if isinstance(x, list | tuple):
        return _each(lambda one, target: normalize(one, mean, std, out=target), x, out)
    return _native.normalize(x, _numbers(mean), _numbers(std), out)


def _numbers(values: float | Sequence[float]) -> Sequence[float]:
    return (values,) if isinstance(values, int | float) else values


def resize(
    image: Any,
    size: Size,
    *,
    filter: Filter = "bilinear",
    antialias: bool = True,
    profile: Profile = "pillow",
    out: Any = None,
) -> Any:
    """Resize images.

    Parameters
    ----------
    image
        uint8 (in fixed point, with the same bits on every CPU), uint16 or float32.
    size
        Height and width.
    filter
        ``"nearest"``, ``"bilinear"``, ``"bicubic"``, ``"lanczos3"``, or ``"area"`` (each pixel by the share
        covered).
    antialias
        Whether the filter widens when shrinking, so that every pixel counts.
    profile
        Whose convention holds where they differ, see :mod:`vedette.image`.
    out
        Where to write.

    Raises
    ------
    InputError
        There are no pixels, more than 4 channels, or ``out`` does not fit.

    Examples
    --------
    >>> import numpy as np, vedette as vd
    >>> vd.image.resize(np.zeros((1080, 1920, 3), np.uint8), (224, 224)).shape
    (224, 224, 3)
    """
    if isinstance(image, list | tuple):
        return _each(
            lambda one, target: resize(
                one, size, filter=filter, antialias=antialias, profile=profile, out=target
            ),
            image,
            out,
        )
    return _native.resize_image(image, as_size(size), filter, antialias, profile, out)


def letterbox(
    image: Any,
    size: Size,
    *,
    filter: Filter = "bilinear",
    antialias: bool = True,
    fill: float = 114,
    profile: Profile = "ultralytics",
    out: Any = None,
) -> tuple[Any, Any]:
    """Resize uint8, uint16 or float32 images without distorting them, the rest of ``size`` filled.

    Sizes and borders are rounded as Ultralytics does: the odd pixel goes below and to the right.

    Returns
    -------
    The image, and the transform of points into it, whose ``inverse`` takes boxes found there back to the
    image; lists of both for a list.
    """
    if isinstance(image, list | tuple):
        pairs = _each(
            lambda one, target: letterbox(
                one, size, filter=filter, antialias=antialias, fill=fill, profile=profile, out=target
            ),
            image,
            out,
        )
        return [array for array, _ in pairs], [transform for _, transform in pairs]
    array, axes = _native.letterbox_image(image, as_size(size), filter, antialias, profile, fill, out)
    return array, Transform.from_axes(axes)


def crop(image: Any, top: int, left: int, height: int, width: int) -> Any:
    """A view of a rectangle of an image or of each of a batch or list; nothing is copied.

    Raises
    ------
    InputError
        It does not lie within the image.
    """
    if isinstance(image, list | tuple):
        return [crop(one, top, left, height, width) for one in image]
    array = _native.as_array(image)
    first = _first_axis(array)
    rows, columns = array.shape[first : first + 2]
    if min(top, left, height, width) < 0 or top + height > rows or left + width > columns:
        raise InputError(
            f"a crop of {height} x {width} at ({top}, {left}) does not lie within {rows} x {columns}"
        )
    return array[(slice(None),) * first + (slice(top, top + height), slice(left, left + width))]


def _first_axis(image: Array) -> int:
    """The axis of rows: behind the one of a batch."""
    if image.ndim < 2:
        raise InputError(f"expected an image of two axes or more, got shape {image.shape}")
    return 1 if image.ndim == 4 else 0


def flip(
    image: Any, axis: Literal["horizontal", "vertical", "both"] = "horizontal", *, out: Any = None
) -> Any:
    """A mirrored copy; ``image[:, ::-1]`` is a mirrored view that costs nothing."""
    if isinstance(image, list | tuple):
        return _each(lambda one, target: flip(one, axis, out=target), image, out)
    axes = {"horizontal": (1,), "vertical": (0,), "both": (0, 1)}
    if axis not in axes:
        raise InputError(f"axis is {axis!r}; it can be horizontal, vertical or both")
    array = _native.as_array(image)
    first = _first_axis(array)
    return _native.copy_image(np.flip(array, tuple(first + each for each in axes[axis])), out)


def rotate90(image: Any, turns: int = 1, *, out: Any = None) -> Any:
    """A copy turned counterclockwise by ``turns`` quarters; ``np.rot90`` gives a view that costs nothing."""
    if isinstance(image, list | tuple):
        return _each(lambda one, target: rotate90(one, turns, out=target), image, out)
    array = _native.as_array(image)
    first = _first_axis(array)
    return _native.copy_image(np.rot90(array, turns, (first, first + 1)), out)


def convert(image: Any, source: str, target: str, *, out: Any = None) -> Any:
    """Convert images between colour spaces, with OpenCV's arithmetic; in place where the shape stays.

    Parameters
    ----------
    image
        uint8; between ``"rgb"``, ``"bgr"``, ``"rgba"``, ``"bgra"`` and ``"gray"`` also uint16 and float32,
        whose alpha is opaque at 65535 and at 1.
    source, target
        ``"rgb"``, ``"bgr"``, ``"rgba"``, ``"bgra"``, ``"gray"``, ``"hsv"`` (hue 0 to 179) and ``"yuv"`` both
        ways; ``"nv12"``, ``"i420"`` (shape ``(height * 3 / 2, width)``) and ``"yuyv"`` (``(height, width,
        2)``) as sources of all but ``"hsv"`` and ``"yuv"``.
    """
    if isinstance(image, list | tuple):
        return _each(lambda one, into: convert(one, source, target, out=into), image, out)
    return _native.convert_color(image, source, target, out)


def warp_affine(
    image: Any,
    matrix: ArrayLike,
    size: Size,
    *,
    filter: Literal["nearest", "bilinear"] = "bilinear",
    fill: float = 0,
    out: Any = None,
) -> Any:
    """Warp by a 2 x 3 matrix that takes points ``(x, y)`` of the image to the result (``cv2.warpAffine``).

    Pixel centres lie at whole numbers; outside the image stands ``fill``.

    Raises
    ------
    InputError
        The matrix has another shape or no inverse.
    """
    rows = _matrix(matrix, (2, 3))
    return warp_perspective(image, [*rows.tolist(), [0, 0, 1]], size, filter=filter, fill=fill, out=out)


def warp_perspective(
    image: Any,
    matrix: ArrayLike,
    size: Size,
    *,
    filter: Literal["nearest", "bilinear"] = "bilinear",
    fill: float = 0,
    out: Any = None,
) -> Any:
    """Warp by a 3 x 3 matrix, as :func:`warp_affine` (``cv2.warpPerspective``)."""
    if isinstance(image, list | tuple):
        return _each(
            lambda one, target: warp_perspective(one, matrix, size, filter=filter, fill=fill, out=target),
            image,
            out,
        )
    rows = _matrix(matrix, (3, 3))
    if filter not in ("nearest", "bilinear"):
        raise InputError(f"filter is {filter!r}; it can be nearest or bilinear")
    return _native.warp(image, rows.tolist(), as_size(size), filter == "nearest", fill, True, out)


def _matrix(matrix: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    try:
        rows = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected a matrix of numbers: {error}") from None
    if rows.shape != shape:
        raise InputError(f"expected a matrix of shape {shape}, got {rows.shape}")
    return rows


def box_blur(image: Any, size: int | Size, *, out: Any = None) -> Any:
    """The mean of the ``size`` (odd) around each pixel, mirrored at the border; of integers exactly rounded.

    uint8, uint16 or float32.
    """
    if isinstance(image, list | tuple):
        return _each(lambda one, target: box_blur(one, size, out=target), image, out)
    return _native.blur(image, _pair(size), None, False, out)


def gaussian_blur(image: Any, size: int | Size, sigma: float = 0, *, out: Any = None) -> Any:
    """Blur by a Gaussian of odd ``size``; ``sigma`` 0 follows from it, as in OpenCV.

    uint8 (with the same bits on every CPU), uint16 or float32.
    """
    if isinstance(image, list | tuple):
        return _each(lambda one, target: gaussian_blur(one, size, sigma, out=target), image, out)
    return _native.blur(image, _pair(size), (sigma, sigma), False, out)


def _pair(size: int | Size) -> Size:
    return as_size((size, size) if isinstance(size, int) else size)


def absdiff(a: Any, b: Any, *, out: Any = None) -> Any:
    """``|a - b|`` of two arrays of one shape and dtype (uint8, uint16, float32), without wrapping around.

    Works in place with ``out=a`` or ``out=b``. Two lists are taken pair by pair.
    """
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            raise InputError(f"expected two lists of one length, got {len(a)} and {len(b)}")
        return _each(lambda pair, target: absdiff(*pair, out=target), list(zip(a, b, strict=True)), out)
    return _native.absdiff(a, b, out)


def histogram(image: Any, *, channel: int = 0) -> Any:
    """How often each of the 256 levels occurs in a channel of a uint8 image or batch; a list for a list."""
    if isinstance(image, list | tuple):
        return [histogram(one, channel=channel) for one in image]
    if channel < 0:
        raise InputError(f"channels count from 0, got {channel}")
    return _native.histogram(image, channel)

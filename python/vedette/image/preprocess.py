"""From frames to the input of a network in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from numpy.typing import NDArray

from vedette import _native
from vedette.errors import InputError
from vedette.image.operations import Filter, Profile, Size, as_size
from vedette.image.transform import Transform

__all__ = ["Preprocess"]


class Preprocess:
    """Resize, convert, scale and lay out frames for a network, in one pass over each.

    The value stored for level ``v`` is ``(v * scale - mean) / std``. Nothing is rounded to whole levels in
    between. Weights
    for a frame size are computed once; with ``out=`` nothing as large as an image is allocated.

    Parameters
    ----------
    size
        Height and width of the output.
    fit
        ``"stretch"`` each axis by itself, ``"letterbox"`` (fill what is left with ``fill``), or ``"crop"``
        to the middle.
    mean, std
        Of each channel, on the scale after ``scale``; one number stands for all.
    scale
        Factor on the level.
    layout
        ``"NCHW"`` or ``"NHWC"``.
    dtype
        ``"float32"``, ``"float16"``, ``"uint8"`` or ``"int8"``. Integers hold ``round(value / q_scale) +
        q_zero_point``
        where ``quantization = (q_scale, q_zero_point)``; uint8 without it holds plain levels.
    source
        What frames are: ``"rgb"``, ``"bgr"``, ``"rgba"``, ``"bgra"`` (the output is RGB), ``"gray"`` (one
        channel),
        ``"nv12"`` or ``"i420"`` (shape ``(height * 3 / 2, width)``), ``"yuyv"`` (``(height, width, 2)``).
    filter, antialias, profile
        As in :func:`vedette.image.resize`.
    fill
        Level of a letterbox's border.
    threads
        Most threads a call uses; None takes the default.

    Raises
    ------
    InputError
        An option has no such value, or the numbers of means, deviations and channels differ.

    Examples
    --------
    >>> import numpy as np, vedette as vd
    >>> pre = vd.image.Preprocess((224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    >>> pre([np.zeros((1080, 1920, 3), np.uint8), np.zeros((480, 640, 3), np.uint8)]).shape
    (2, 3, 224, 224)
    """

    def __init__(
        self,
        size: Size,
        *,
        fit: Literal["stretch", "letterbox", "crop"] = "stretch",
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        scale: float = 1 / 255,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
        dtype: Literal["float32", "float16", "uint8", "int8"] = "float32",
        source: Literal["rgb", "bgr", "rgba", "bgra", "gray", "nv12", "i420", "yuyv"] = "rgb",
        filter: Filter = "bilinear",
        antialias: bool = True,
        profile: Profile = "pillow",
        fill: float = 114,
        quantization: tuple[float, int] | None = None,
        threads: int | None = None,
    ) -> None:
        if layout not in ("NCHW", "NHWC"):
            raise InputError(f"layout is {layout!r}; it can be NCHW or NHWC")
        channels = 1 if source == "gray" else 3
        means, deviations = _channels("mean", mean, channels), _channels("std", std, channels)
        if 0 in deviations:
            raise InputError(f"deviations must not be zero, got {std!r}")
        factors = [scale / deviation for deviation in deviations]
        offsets = [-mean / deviation for mean, deviation in zip(means, deviations, strict=True)]
        if dtype == "int8" and quantization is None:
            raise InputError("int8 needs quantization=(scale, zero_point)")
        if dtype == "uint8" and quantization is None:
            factors, offsets = [1.0] * channels, [0.0] * channels
        elif dtype in ("uint8", "int8") and quantization is not None:
            q_scale, zero_point = quantization
            if not q_scale > 0:
                raise InputError(f"a quantization scale must be above zero, got {q_scale}")
            factors = [factor / q_scale for factor in factors]
            offsets = [offset / q_scale + zero_point for offset in offsets]
        self._threads = 0 if threads is None else threads
        self._native = _native.Preprocess(
            as_size(size),
            fit,
            filter,
            antialias,
            profile,
            factors,
            offsets,
            fill,
            layout == "NCHW",
            dtype,
            source,
        )

    def __call__(self, frames: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Prepare a frame, or a list of frames of any sizes, as a batch.

        Parameters
        ----------
        frames
            A uint8 array, a list of them, or an array of several frames along a fourth axis; planar sources
            and gray frames have two axes, so that several of them are a list: ``list(batch)``.
        out
            A C-contiguous array to write, of the batch's very shape and dtype.

        Returns
        -------
        ``out``, or a new array, with one slot a frame.
        """
        if isinstance(frames, list | tuple):
            batch = frames
        else:
            array = _native.as_array(frames)
            batch = tuple(array) if array.ndim == 4 else (array,)
        return self._native.run(batch, out, self._threads)

    def transform(self, size: Size) -> Transform:
        """Where points of a frame of this height and width land; ``inverse`` takes boxes back to it."""
        return Transform.from_axes(self._native.transform(size))


def _channels(name: str, values: float | Sequence[float], channels: int) -> list[float]:
    numbers = [values] * channels if isinstance(values, int | float) else list(values)
    if len(numbers) != channels:
        raise InputError(f"expected {channels} values of {name}, got {len(numbers)}")
    return numbers

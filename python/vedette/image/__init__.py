"""Images as NumPy arrays: files, conversions, resizing, and what networks take.

An image is a uint8 array (where it makes sense also uint16 or float32) of shape ``(height, width)``,
``(height, width, 3)`` or ``(height, width, 4)``; a batch is a list of images or an array ``(batch, height,
width, channels)``. Arrays of any strides are read and written where they lie, so NumPy's slices are the
views: ``image[10:50, ::-1]`` is a mirrored crop, ``image[..., ::-1]`` an RGB image seen as BGR, and neither
copies.
Anything else that offers the array interface, DLPack or the buffer protocol is taken as well, also as
``out``, where the array over its memory is returned.

With ``out=`` a result goes to an array of the caller's, and nothing is allocated; an ``out`` that is
read-only, of another shape or dtype, or overlaps an input is refused. :func:`threshold`, :func:`normalize`,
:func:`absdiff` and :func:`convert` work in place where ``out`` is an input itself.

``profile`` names the library whose convention holds. ``tests/parity`` compares with the libraries themselves:

============= =============================================================================================
opencv        gray: equal bits. Resize: half-pixel centres, cubic of -0.75, the border repeats, nearest takes
              the floor; within 1 level without antialiasing, and for ``area``
pillow        gray: equal bits. Resize with antialiasing: within 1 level (on noise under ``bicubic`` and
              ``lanczos3`` nine pixels in ten: Pillow clips between its passes); nearest: equal
torchvision   gray: equal bits (cut off, not rounded). Resize: within 1 level, Pillow's filters with
              antialiasing, OpenCV's without
ultralytics   as opencv; a letterbox is rounded in its way and filled with 114, within 1 level
============= =============================================================================================
"""

from __future__ import annotations

from vedette.image.files import Background, encode, load, save, to_rgb
from vedette.image.operations import (
    absdiff,
    box_blur,
    convert,
    crop,
    flip,
    gaussian_blur,
    histogram,
    letterbox,
    normalize,
    resize,
    rotate90,
    threshold,
    threshold_adaptive,
    threshold_otsu,
    to_gray,
    warp_affine,
    warp_perspective,
)
from vedette.image.preprocess import Preprocess
from vedette.image.transform import Transform

__all__ = [
    "Background",
    "Preprocess",
    "Transform",
    "absdiff",
    "box_blur",
    "convert",
    "crop",
    "encode",
    "flip",
    "gaussian_blur",
    "histogram",
    "letterbox",
    "load",
    "normalize",
    "resize",
    "rotate90",
    "save",
    "threshold",
    "threshold_adaptive",
    "threshold_otsu",
    "to_gray",
    "to_rgb",
    "warp_affine",
    "warp_perspective",
]

"""Images: each operation against what a user would call today, in interleaved pairs within one process.

    vedette bench image

Both sides get the same threads and write to arrays of their own. Beside the speedup stand what was aimed at;
the floor, which is the bytes an operation must read and write at the speed this machine copies; the ceiling,
which is the speedup that the floor would be; and the time at each level of instructions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image

import vedette as vd
from vedette import _native, runtime
from vedette.bench import image_conversions
from vedette.bench.timing import HEADER, Case, Measured, copy_speed, measure

__all__ = ["HEADER", "run"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(threads: list[int], pairs: int) -> Iterator[Measured]:
    """Measure every case with each number of threads."""
    speed = copy_speed()
    for count in threads:
        runtime.set_num_threads(count)
        cv2.setNumThreads(count)
        for case in (*cases(count), *image_conversions.cases(count), *torch_cases(count)):
            yield measure(case, count, pairs, speed, "image")
        yield smallest_call(count, pairs, speed)
        if count > 1:
            yield scaling(count, pairs)
    runtime.set_num_threads(None)


def cases(threads: int) -> Iterator[Case]:
    """Single operations: what of them is promised, and a frame that a core's own cache holds."""
    random = np.random.default_rng(0)
    for name, height, width in (("320 x 240", 240, 320), ("1080p", 1080, 1920), ("4K", 2160, 3840)):
        in_cache = height == 240
        rgba = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
        gray, peer_gray = np.empty((2, height, width), np.uint8)
        megapixels = height * width / 1e6
        yield Case(
            f"RGBA to gray {name}",
            "OpenCV",
            lambda isa, i=rgba, o=gray: _native.to_gray(i, "opencv", o, threads, isa),
            lambda i=rgba, o=peer_gray: cv2.cvtColor(i, cv2.COLOR_RGBA2GRAY, dst=o),
            5 * megapixels,
            in_cache,
            target=3,
        )
        mask, peer_mask = np.empty((2, height, width), np.uint8)
        yield Case(
            f"threshold {name}",
            "OpenCV",
            lambda isa, i=gray, o=mask: _native.threshold(i, 100, 255, o, threads, isa),
            lambda i=gray, o=peer_mask: cv2.threshold(i, 100, 255, cv2.THRESH_BINARY, dst=o),
            2 * megapixels,
            in_cache,
            target=1,
        )
    image = random.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    floats = random.random((1080, 1920, 3), dtype=np.float32)
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)

    def numpy_normalize() -> None:
        np.subtract(floats, mean, out=floats)
        np.divide(floats, std, out=floats)

    def opencv_normalize() -> None:
        cv2.subtract(floats, (*MEAN, 0), dst=floats)
        cv2.multiply(floats, (*(1 / std).tolist(), 1), dst=floats)

    for peer, call, target in (("NumPy", numpy_normalize, 4), ("OpenCV", opencv_normalize, 1.5)):
        yield Case(
            "normalise float32 1080p in place",
            peer,
            lambda isa: _native.normalize(floats, MEAN, STD, floats, threads, isa),
            call,
            2 * floats.nbytes / 1e6,
            target=target,
        )
    pillow = Image.fromarray(image)
    for size in (224, 640):
        out = np.empty((size, size, 3), np.uint8)
        moved = (image.nbytes + out.nbytes) / 1e6
        yield Case(
            f"resize 1080p to {size}, antialias bilinear",
            "Pillow",
            lambda isa, s=size, o=out: _native.resize_image(
                image, (s, s), "bilinear", True, "pillow", o, threads, isa
            ),
            lambda s=size: pillow.resize((s, s), Image.Resampling.BILINEAR),
            moved,
        )
        yield Case(
            f"resize 1080p to {size}, area",
            "OpenCV",
            lambda isa, s=size, o=out: _native.resize_image(
                image, (s, s), "area", True, "opencv", o, threads, isa
            ),
            lambda s=size: cv2.resize(image, (s, s), interpolation=cv2.INTER_AREA),
            moved,
        )
    yield from preprocess_cases(image, threads)


def preprocess_cases(image: Any, threads: int) -> Iterator[Case]:
    """1080p to a 224 x 224 float32 NCHW batch of one."""
    scale = [1 / 255 / deviation for deviation in STD]
    offset = [-mean / deviation for mean, deviation in zip(MEAN, STD, strict=True)]
    out = np.empty((1, 3, 224, 224), np.float32)

    def native(antialias: bool) -> Any:
        profile = "pillow" if antialias else "opencv"
        return _native.Preprocess(
            (224, 224),
            "stretch",
            "bilinear",
            antialias,
            profile,
            scale,
            offset,
            114,
            True,
            "float32",
            "rgb",
        )

    mean = np.array(MEAN, np.float32)[:, None, None]
    std = np.array(STD, np.float32)[:, None, None]

    def area() -> Any:
        small = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
        return ((small.transpose(2, 0, 1).astype(np.float32) / 255 - mean) / std)[None]

    def blob() -> Any:
        blob = cv2.dnn.blobFromImage(image, 1 / 255, (224, 224), tuple(255 * m for m in MEAN), False)
        return np.divide(blob, std, out=blob)

    for antialias, peer, call, target in (
        (True, "OpenCV INTER_AREA + NumPy", area, 10),
        (False, "cv2.dnn.blobFromImage", blob, 3),
    ):
        pre = native(antialias)
        # Without antialiasing at most two rows and columns are read for each of the output's.
        read = image.nbytes if antialias else 2 * 224 * image[0].nbytes
        yield Case(
            f"Preprocess 1080p to 224, antialias {'on' if antialias else 'off'}",
            peer,
            lambda isa, pre=pre: pre.run([image], out, threads, isa),
            call,
            (read + out.nbytes) / 1e6,
            target=target,
        )


def torch_cases(threads: int) -> Iterator[Case]:
    """The same where torch is installed, which takes images as planes and views of interleaved ones."""
    try:
        torch: Any = importlib.import_module("torch")
    except ModuleNotFoundError:
        return
    torch.set_num_threads(threads)
    image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (MEAN, STD))

    def resized(size: int) -> Any:
        return torch.nn.functional.interpolate(tensor, (size, size), mode="bilinear", antialias=True)

    for size in (224, 640):
        out = np.empty((size, size, 3), np.uint8)
        yield Case(
            f"resize 1080p to {size}, antialias bilinear",
            "torch",
            lambda isa, s=size, o=out: _native.resize_image(
                image, (s, s), "bilinear", True, "pillow", o, threads, isa
            ),
            lambda s=size: resized(s),
            (image.nbytes + out.nbytes) / 1e6,
            target=1.5,
        )
    pre = vd.image.Preprocess((224, 224), mean=MEAN, std=STD, threads=threads)
    batch = np.empty((1, 3, 224, 224), np.float32)
    yield Case(
        "Preprocess 1080p to 224, antialias on",
        "torch resize + normalise",
        lambda _: pre(image, out=batch),
        lambda: resized(224).float().div_(255).sub_(mean).div_(std).contiguous(),
        (image.nbytes + batch.nbytes) / 1e6,
        levels=False,
        target=2,
    )


def scaling(threads: int, pairs: int) -> Measured:
    """A list of 32 photographs of different sizes: several threads against one."""
    random = np.random.default_rng(1)
    sizes = [(480, 640), (1080, 1920), (720, 1280), (1200, 800), (2160, 3840), (600, 900), (1536, 2048)]
    frames = [random.integers(0, 256, (*sizes[i % 7], 3), dtype=np.uint8) for i in range(32)]
    out = np.empty((32, 3, 224, 224), np.float32)
    many = vd.image.Preprocess((224, 224), mean=MEAN, std=STD, threads=threads)
    one = vd.image.Preprocess((224, 224), mean=MEAN, std=STD, threads=1)
    case = Case(
        "Preprocess 32 mixed photographs",
        "one thread",
        lambda _: many(frames, out=out),
        lambda: one(frames, out=out),
        0.0,
        levels=False,
        target=1.9 if threads == 2 else None,
    )
    return measure(case, threads, max(5, pairs // 2), copy_speed(), "image")


def smallest_call(threads: int, pairs: int, speed: float) -> Measured:
    """What a call costs where there is next to nothing to compute; the milliseconds of a thousand calls."""
    a, b, result = (np.zeros((1, 1), np.uint8) for _ in range(3))

    def repeated(call: Callable[[], Any]) -> Callable[..., None]:
        def thousand(*_isa: str) -> None:
            for _ in range(1000):
                call()

        return thousand

    case = Case(
        "1000 calls for one pixel (absdiff)",
        "OpenCV",
        repeated(lambda: vd.image.absdiff(a, b, out=result)),
        repeated(lambda: cv2.absdiff(a, b, dst=result)),
        0.0,
        levels=False,
        limit_ms=1,
    )
    return measure(case, threads, pairs, speed, "image")

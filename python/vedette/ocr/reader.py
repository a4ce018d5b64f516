"""Reading the text of images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InputError
from vedette.ocr.classifier import AngleClassifier
from vedette.ocr.detector import NORMALISATION, Detector, DetectorOptions
from vedette.ocr.geometry import Quads, turned_to_read
from vedette.ocr.layout import reading_order
from vedette.ocr.page import Line, Page
from vedette.ocr.recogniser import Reading, Recogniser
from vedette.ocr.source import open_image
from vedette.ocr.timing import Stopwatch

__all__ = ["Models", "Reader"]

Models: TypeAlias = str | Mapping[str, str | Path]
"""Name of a package of ``vedette.hub``, or paths by role: ``detector``, ``recogniser``, ``classifier``."""

PRECISIONS = ("auto", "fast", "bfloat16", "float32")
"""Ways to compute."""

_SIDEWAYS = 1.5
"""Lines this many times as high as wide are taken for text turned by 90 degrees."""


class Reader:
    """Finds and recognises the text of images.

    Parameters
    ----------
    models
        Name of a model package, fetched when it is not here yet, or a mapping from ``detector``,
        ``recogniser`` (and ``classifier``) to paths of ONNX files.
    precision
        Arithmetic of the networks: ``"auto"`` uses integers where that reads as well as float32, ``"fast"``
        wherever they run, which reads worn scans a little worse. Models without a recipe, such as one's own
        files, are read in float32 by ``"auto"``. What is compiled is kept below ``VEDETTE_HOME``.
    threads
        Threads to use; None for the cores this process may use.
    classify_angle
        Whether lines are looked at once more for standing upside down.
    text_score
        Lines with a lower score are left out.
    detector
        How lines are looked for.
    engine
        What runs the networks: ``onnxruntime`` is the way back.

    Examples
    --------
    >>> reader = vedette.ocr.Reader()            # doctest: +SKIP
    >>> print(reader.read("receipt.png").text)   # doctest: +SKIP
    """

    def __init__(
        self,
        models: Models = "ppocr-v6-small",
        *,
        precision: Literal["auto", "fast", "bfloat16", "float32"] = "auto",
        threads: int | None = None,
        classify_angle: bool = False,
        text_score: float = 0.5,
        detector: DetectorOptions | None = None,
        engine: Literal["native", "onnxruntime"] = "native",
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"expected precision {', '.join(map(repr, PRECISIONS))}, got {precision!r}")
        if threads is not None and threads < 1:
            raise InputError(f"expected at least 1 thread, got {threads}")
        self._models = models
        self._engine = engine
        self._precision: str = precision
        self._threads = threads or 0
        self._text_score = text_score
        self._networks: list[Any] = []
        self._detector = Detector(self._load("detector"), detector or DetectorOptions(), self._threads)
        self._recogniser = Recogniser(self._load("recogniser"), self._threads)
        self._classifier = (
            AngleClassifier(self._load("classifier"), self._threads) if classify_angle else None
        )

    def _load(self, role: str) -> Any:
        from vedette import hub
        from vedette.model import load

        if isinstance(self._models, str):
            path: str | Path = hub.file(self._models, role)
        elif role in self._models:
            path = self._models[role]
        else:
            raise InputError(
                f"no path is given for the {role}; given: {', '.join(sorted(self._models)) or 'none'}"
            )
        # One small network more or less; only the two that do the work have recipes.
        native = self._engine == "native"
        precision = self._precision if native and role != "classifier" else "float32"
        threads = self._threads or None
        # What the models are fed and asked can be part of them where they are compiled here.
        compiled = native and Path(path).suffix != ".vedette"
        network = load(
            path,
            precision=precision,
            threads=threads,
            engine=self._engine,
            cache=hub.home() / "compiled",
            image_input=NORMALISATION if compiled and role == "detector" else None,
            best_class=compiled and role == "recogniser",
        )
        self._networks.append(network)
        return network

    @property
    def nbytes(self) -> int | None:
        """Bytes the networks hold: weights, plans, working memory; None where the engine does not say."""
        return sum(network.nbytes or 0 for network in self._networks) or None

    @property
    def resolution(self) -> float:
        """The part of the usual resolution at which lines are looked for; they are read at the full one."""
        return self._detector.resolution

    @resolution.setter
    def resolution(self, resolution: float) -> None:
        if not 0 < resolution <= 1:
            raise InputError(f"expected a resolution above 0 and up to 1, got {resolution}")
        self._detector.resolution = resolution

    def read(self, image: Any) -> Page:
        """Read an image.

        Parameters
        ----------
        image
            A path, the bytes of an image file, a PIL image, or an array: ``(height, width, 3)`` RGB,
            ``(height, width, 4)`` RGBA, ``(height, width)`` gray.

        Raises
        ------
        ImageError
            The file cannot be decoded.
        InputError
            The argument is no image.
        """
        start = time.perf_counter()
        watch = Stopwatch()
        with watch.stage("decode"):
            pixels = open_image(image)
        quads = self.find(pixels, watch=watch)
        readings = self.recognise(pixels, quads, watch=watch)
        with watch.stage("order"):
            placed = self.arrange(quads, readings)
            lines = tuple(
                Line(readings[i].text, readings[i].score, quads[i], row, readings[i].positions)
                for i, row in placed
            )
        timings = watch.seconds | {"total": time.perf_counter() - start}
        return Page(lines, pixels.shape[1], pixels.shape[0], timings)

    def find(
        self,
        image: NDArray[np.uint8],
        region: tuple[int, int, int, int] | None = None,
        *,
        watch: Stopwatch | None = None,
    ) -> Quads:
        """The lines of an RGB array, or of a region of it, looked at as large as in the whole.

        Parameters
        ----------
        image
            Shape ``(height, width, 3)``.
        region
            Top, left, bottom and right in pixels. Lines that reach out of it are found cut.

        Returns
        -------
        Corners of the lines in the image, shape ``(lines, 4, 2)``, in no particular order.
        """
        watch = watch or Stopwatch()
        with watch.stage("detect"):
            quads = turned_to_read(self._detector.detect(image, region), _SIDEWAYS)
        if self._classifier is not None:
            with watch.stage("classify"):
                quads = self._classifier.upright(image, quads)
        return quads

    def region_step(self, height: int, width: int) -> tuple[float, float]:
        """Height and width in pixels of the smallest region of an image of this size that is looked at.

        Regions of whole multiples are looked at without stretching.
        """
        return self._detector.step(height, width)

    def recognise(
        self, image: NDArray[np.uint8], quads: Quads, *, watch: Stopwatch | None = None
    ) -> list[Reading]:
        """What stands in each of these lines of an RGB array."""
        return self._recogniser.recognise(image, quads, watch or Stopwatch())

    def arrange(self, quads: Quads, readings: Sequence[Reading]) -> list[tuple[int, int]]:
        """Index and row of the lines that are good enough to show, in reading order."""
        kept = [
            i
            for i, reading in enumerate(readings)
            if reading.score >= self._text_score and reading.text.strip()
        ]
        rows = reading_order(quads[kept])
        return [(kept[member], number) for number, row in enumerate(rows) for member in row]

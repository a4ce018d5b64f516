"""Make the recipes that come with Vedette: ``python -m bench.recipes [--models NAME ...] [--out FOLDER]``.

The reading models are calibrated on what they see when screens and scans that this folder draws are read in
float32; nothing else goes into a recipe, so anyone can make them again. ``python -m bench.recall`` tells what
they cost, on images drawn otherwise and on real ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import vedette
from bench import scans, screens
from vedette import hub
from vedette.ocr import Reader
from vedette.ocr.detector import Detector, DetectorOptions
from vedette.ocr.recogniser import Recogniser

FOLDER = Path(vedette.__file__).parent / "model" / "recipes"
MODELS = ("ppocr-v6-small", "ppocr-v4-mobile")
HALVES = frozenset({"ppocr-v4-mobile"})
"""Models that are in bfloat16 at auto: in integers these read a point fewer of the words of drawn scans."""

ROLES = ("detector", "recogniser")
_SCANS = 24
_INPUTS = 40
_PIECES = 12
PRECISION = {"detector": "fast", "recogniser": "auto"}
"""What the quantiser is asked for: a detector in integers throughout finds lines as well, in less time."""

TOLERANCE = 0.07
"""Error of what characters are chosen by that reading does not notice."""


class Listening:
    """A network that keeps what it is given."""

    def __init__(self, network: vedette.Model, keep: Callable[[Any], None]) -> None:
        self._network, self._keep = network, keep
        self.inputs, self.metadata = network.inputs, network.metadata

    def __call__(self, x: Any) -> Any:
        self._keep(x)
        return self._network(x)


def images() -> Iterator[Any]:
    """Screens and scans as RGB arrays."""
    for seed, layout in enumerate(screens.LAYOUTS):
        yield np.asarray(screens.draw(layout, 100 + seed)[0].convert("RGB"))
    yield from (page for page, _ in scans.pages(_SCANS, seed=1))


def seen(models: str, threads: int | None) -> dict[str, list[Any]]:
    """What the networks are given while the images are read, by role."""
    reader = Reader(models, precision="float32", threads=threads)
    inputs: dict[str, list[Any]] = {role: [] for role in ROLES}

    def listening(role: str) -> Any:
        network = vedette.load(hub.file(models, role), threads=threads)
        return Listening(network, lambda x: inputs[role].append(np.array(x)))

    reader._detector = Detector(listening("detector"), DetectorOptions(), threads or 0)
    reader._recogniser = Recogniser(listening("recogniser"), threads or 0)
    for image in images():
        reader.read(image)
    return {role: chosen(found) for role, found in inputs.items()}


def chosen(found: list[Any]) -> list[Any]:
    """Inputs of all sizes and images; small pieces of some come first, to be compared with often."""
    kept = found[:: max(1, len(found) // _INPUTS)]
    pieces = [x[:2, :, :512, :512] for x in kept[:: max(1, len(kept) // _PIECES)]][:_PIECES]
    return [*map(np.ascontiguousarray, pieces), *kept]


def precisions(made: vedette.Model, models: str) -> dict[str, str]:
    """What is not in integers at auto, on whatever CPU.

    Matrix products stay out: rounding their rows costs the spaces between words first. What is slower in
    integers here may be faster elsewhere, and goes back.
    """
    assert made.report is not None
    assert made.recipe is not None
    auto = made.recipe.precisions.get("auto", {})
    out = [node.value for node in made.report.nodes if node.op == "MatMul" or models in HALVES]
    kept = {value: kind for value, kind in auto.items() if kind != "float32"}
    return kept | {f"{name}{split}": "bfloat16" for name in out for split in ("", ":linear")}


def main() -> None:
    """Write a recipe for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    # Before minutes of work, and not after.
    options.out.mkdir(parents=True, exist_ok=True)
    for models in options.models:
        inputs = seen(models, options.threads)
        for role in ROLES:
            path, samples = hub.file(models, role), inputs[role]
            made = vedette.quantize(
                path, samples, precision=PRECISION[role], tolerance=TOLERANCE, threads=options.threads
            )
            assert made.recipe is not None
            recipe = replace(made.recipe, precisions={"auto": precisions(made, models), "fast": {}})
            written = recipe.save(options.out / f"{recipe.model[:16]}.json")
            print(f"{written}: {role} of {models}, {len(samples)} inputs\n{made.report}", flush=True)


if __name__ == "__main__":
    main()

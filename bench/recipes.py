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
from vedette.model.integer.equalization import equalize
from vedette.model.integer.quantizer import default_precisions, prepare
from vedette.model.integer.recipe import Recipe
from vedette.model.integer.search import Search
from vedette.model.model import compile_file
from vedette.model.passes.classes import LEAST_CLASSES
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
_LINES_APART = 4
"""Of so many of the other inputs one is compared with too: lines in their length."""

TOLERANCE = 0.077
"""Error of what characters are chosen by, on the worst of those inputs, that reading does not notice."""


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


def out_of_integers(recipe: Recipe, path: Path, models: str, role: str, inputs: list[Any]) -> dict[str, str]:
    """What is not in integers at auto, on whatever CPU.

    A detector in integers throughout finds lines as well, in less time. Of a recogniser matrix products stay
    out, as rounding their rows costs the spaces between words first, and of its convolutions as few as the
    tolerance asks for; which of them are slower in integers here does not matter elsewhere.
    """
    equalized = equalize(prepare(compile_file(path)[0]), recipe.scales)
    products = [node for node in equalized.nodes if node.output in default_precisions(equalized)]
    if models in HALVES:
        return {node.output: "bfloat16" for node in products}
    if role == "detector":
        return {}
    matrices = {node.output: "bfloat16" for node in products if node.op == "MatMul"}
    compared = [[x] for x in (*inputs[:_PIECES], *inputs[_PIECES::_LINES_APART])]
    # One thread, so that the order of the nodes does not hang on the machine's.
    chosen = Search(equalized, recipe, compared, 1).fewest_out(matrices, TOLERANCE, "bfloat16")
    return {value: kind for value, kind in chosen.items() if kind == "bfloat16"}


def many_classes(path: Path) -> dict[str, str]:
    """What is not in integers at fast: products with a column for each of many classes.

    In bfloat16 their softmax is made with them, in less time than it takes to write them down.
    """
    prepared = prepare(compile_file(path)[0])
    found = {}
    for node in prepared.nodes:
        weights = prepared.constants.get(node.input(1) or "") if node.op == "MatMul" else None
        if weights is not None and weights.shape[-1] >= LEAST_CLASSES:
            found[node.output] = "bfloat16"
    return found


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
            made = vedette.quantize(path, samples, precision="fast", threads=options.threads)
            assert made.recipe is not None
            out = out_of_integers(made.recipe, path, models, role, samples)
            recipe = replace(made.recipe, precisions={"auto": out, "fast": many_classes(path)})
            written = recipe.save(options.out / f"{recipe.model[:16]}.json")
            print(f"{written}: {role} of {models}, {len(samples)} inputs\n{made.report}", flush=True)


if __name__ == "__main__":
    main()

"""``vedette.quantize``: a model in integers, as good as it was within a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vedette.errors import InputError
from vedette.model.graph import Array, Graph
from vedette.model.integer.calibration import calibrate
from vedette.model.integer.corrections import bias_corrections
from vedette.model.integer.operators import WEIGHTED, obstacle
from vedette.model.integer.quantizer import prepare, reasons
from vedette.model.integer.ranges import METHODS, choose_ranges
from vedette.model.integer.recipe import Recipe, digest_of, parse_recipe
from vedette.model.integer.report import NodeReport, Report
from vedette.model.integer.search import Measured, Search, decibels, noise_share
from vedette.model.model import Model, load, model_of
from vedette.model.native_engine import evaluate

PRECISIONS = ("auto", "fast", "int8", "bfloat16", "float32")
"""What :func:`quantize` can be asked for."""

Progress = Callable[[str, int, int], None]
Calibrating = Iterable[ArrayLike | Mapping[str, ArrayLike] | Sequence[ArrayLike]]

_SAMPLES = 4


def quantize(
    model: Model | str | Path,
    calibration: Calibrating,
    *,
    precision: str = "auto",
    tolerance: float = 0.05,
    method: str = "mse",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Model:
    """Makes a model smaller and faster by computing in integers where that costs little accuracy.

    Parameters
    ----------
    model : Model, str or Path
        A float32 model loaded from an ONNX file, or the path of one.
    calibration : iterable
        Inputs like those the model will see, some tens to some hundreds: arrays for a model with one input,
        tuples or mappings by name for several. They are taken one by one; memory does not grow with their
        number.
    precision : {"auto", "fast", "int8", "bfloat16", "float32"}
        ``"auto"`` measures every node's error and takes the worst out of integers until the model is within
        the tolerance; ``"fast"`` and ``"int8"`` use integers wherever they run.
    tolerance : float
        For ``"auto"``: greatest error of the outputs on the calibration inputs, as root of noise over
        signal. The default of 0.05 is a signal-to-noise ratio of 26 dB.
    method : {"mse", "minmax", "percentile", "entropy"}
        How ranges are found: that of the least squared error, of all that was seen, ...
    threads : int, optional
        Threads of the model returned, as for :func:`vedette.load`.
    progress : callable, optional
        Called with a step's name, how much of it is done, and out of how much.

    Returns
    -------
    Model
        With ``.report``, node by node, and ``.recipe``, which makes the same of the same file without
        calibration.

    Raises
    ------
    InputError
        Calibration without inputs, with NaN, or of wrong shapes; a model that is not float32 from an ONNX
        file.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"precision {precision!r} does not exist; there are {', '.join(map(repr, PRECISIONS))}"
        )
    if method not in METHODS:
        raise InputError(f"method {method!r} does not exist; there are {', '.join(map(repr, METHODS))}")
    if not 0.0 < tolerance < 1.0:
        raise InputError(f"expected a tolerance between 0 and 1, got {tolerance}")
    original = model if isinstance(model, Model) else load(model, threads=threads)
    origin = original.origin
    if origin is None:
        raise InputError("only a float32 model loaded from an ONNX file can be quantised, and this is none")
    graph = origin.graph()
    digest = origin.digest or (digest_of(origin.path) if origin.path is not None else "")
    prepared = prepare(graph)
    run_threads = threads or 0
    with _Inputs(original, calibration) as inputs:
        seen = calibrate(prepared, inputs, run_threads, progress, inputs.total)
        samples = inputs.samples
    ranges = choose_ranges(prepared, seen, method, evaluate)
    recipe = Recipe(digest, ranges, {}, {}, bias_corrections(prepared, seen))
    # Rounded as its file is, so that what the recipe makes is this very model.
    recipe = parse_recipe(recipe.to_json(), "the recipe")
    search = Search(prepared, recipe, samples, run_threads)
    chosen = _choose(search, precision, tolerance, progress)
    others = {value: kind for value, kind in chosen.items() if kind != search.default[value]}
    recipe = replace(recipe, precisions={precision: others})
    result = search.graph(chosen)
    report = _report(search, chosen, search.measure(result), graph, result, seen.inputs, precision)
    return model_of(
        result, origin.metadata, threads, origin.path, origin=origin, report=report, recipe=recipe
    )


def _choose(search: Search, precision: str, tolerance: float, progress: Progress | None) -> dict[str, str]:
    if precision in ("float32", "bfloat16"):
        return dict.fromkeys(search.default, precision)
    if precision == "auto":
        return search.within(tolerance, "bfloat16", progress)
    return dict(search.default)


def _report(
    search: Search,
    chosen: Mapping[str, str],
    after: Measured,
    before_graph: Graph,
    after_graph: Graph,
    inputs: int,
    precision: str,
) -> Report:
    why = reasons(
        search.prepared,
        chosen,
        dict.fromkeys(chosen, "its error is too large") if precision == "auto" else {},
    )
    nodes = []
    for node in search.prepared.nodes:
        if node.op not in WEIGHTED or obstacle(search.prepared, node) == "its weights are computed":
            continue
        share = search.alone.get(node.output)
        nodes.append(
            NodeReport(
                node.output.removesuffix(":linear"),
                node.op,
                chosen.get(node.output, "float32"),
                None if share is None else decibels(share),
                search.original.nodes.get(node.label),
                after.nodes.get(node.label),
                why.get(node.output),
            )
        )
    share = max(
        noise_share(expected, found)
        for expected, found in zip(search.original.outputs, after.outputs, strict=True)
    )
    return Report(
        tuple(nodes),
        decibels(share),
        float(np.sqrt(share)),
        search.original.total,
        after.total,
        _constant_bytes(before_graph),
        _constant_bytes(after_graph),
        inputs,
    )


def _constant_bytes(graph: Graph) -> int:
    used = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    return sum(array.nbytes for name, array in graph.constants.items() if name in used)


class _Inputs:
    """Calibration inputs as lists of arrays, checked; the first few are kept for comparisons."""

    def __init__(self, model: Model, calibration: Calibrating) -> None:
        if isinstance(calibration, (str, bytes, Mapping)) or not isinstance(calibration, Iterable):
            raise InputError(
                "calibration is an iterable of inputs, such as a list of arrays, not one "
                f"{type(calibration).__name__}"
            )
        self._model, self._calibration = model, calibration
        self.samples: list[list[Array]] = []
        self.total = len(calibration) if isinstance(calibration, Sized) else 0

    def __enter__(self) -> _Inputs:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[list[Array]]:
        for at, item in enumerate(self._calibration):
            try:
                arrays = self._checked(item)
            except InputError as error:
                raise InputError(f"calibration input {at}: {error}") from None
            if len(self.samples) < _SAMPLES:
                self.samples.append([np.array(array) for array in arrays])
            yield arrays

    def _checked(self, item: Any) -> list[Array]:
        if isinstance(item, Mapping):
            return self._model._named(item)
        if isinstance(item, (tuple, list)) and (len(self._model.inputs) != 1 or len(item) == 1):
            return self._model._positional(item)
        return self._model._positional([item])

"""``vedette.quantize``: a model in integers, as good as it was within a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vedette.errors import InputError
from vedette.model.graph import Array, Graph
from vedette.model.integer.blocks import can_block
from vedette.model.integer.calibration import Calibration, calibrate
from vedette.model.integer.equalization import equalize, find_scales
from vedette.model.integer.operators import WEIGHTED, obstacle
from vedette.model.integer.quantizer import prepare, reasons
from vedette.model.integer.ranges import choose_ranges
from vedette.model.integer.recipe import Recipe, digest_of, parse_recipe
from vedette.model.integer.report import NodeReport, Report
from vedette.model.integer.search import Measured, Search, decibels, noise_share
from vedette.model.integer.smoothing import find_smoothing
from vedette.model.model import Model, load, model_of
from vedette.model.native_engine import evaluate
from vedette.quantization.observers import METHODS

PRECISIONS = ("auto", "fast", "int8", "int4", "bfloat16", "float32")
"""What :func:`quantize` can be asked for."""

Progress = Callable[[str, int, int], None]
Calibrating = Iterable[ArrayLike | Mapping[str, ArrayLike] | Sequence[ArrayLike]]

_SAMPLES = 4
_FIRST = 12
"""Inputs from which the scales of channels are found, before all of them are looked at."""

_ALPHA = 0.5
"""Ranges of activations and of weights count alike."""


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
    precision : {"auto", "fast", "int8", "int4", "bfloat16", "float32"}
        ``"auto"`` measures every node's time and error, leaves those in float that are faster so, and takes
        the worst out of integers until the model is within the tolerance; ``"fast"`` and ``"int8"`` use
        integers wherever they run; ``"int4"`` stores matrices in 4 bits beside.
    tolerance : float
        For ``"auto"``: greatest error of the outputs on the calibration inputs, as root of noise over
        signal. The default of 0.05 is a signal-to-noise ratio of 26 dB.
    method : {"mse", "minmax", "moving_average", "percentile", "entropy"}
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
    inputs = _Inputs(original, calibration)
    first = calibrate(prepared, inputs.first(), run_threads)
    scales = find_scales(prepared, first, _ALPHA) | find_smoothing(prepared, first, _ALPHA)
    equalized = equalize(prepared, scales)
    seen = calibrate(equalized, inputs, run_threads, progress, inputs.total)
    ranges = choose_ranges(equalized, seen, method, evaluate)
    recipe = Recipe(digest, ranges, {}, scales, _moments(equalized, seen))
    # Rounded as its file is, so that what the recipe makes is this very model.
    recipe = parse_recipe(recipe.to_json(), "the recipe")
    search = Search(equalized, recipe, inputs.samples, run_threads)
    if method == "mse" and precision in ("auto", "fast", "int8"):
        recipe = search.refine_ranges(choose_ranges(equalized, seen, "minmax", evaluate), progress)
        recipe = parse_recipe(recipe.to_json(), "the recipe")
        search.recipe = recipe
    chosen = _choose(search, precision, tolerance, progress)
    # Each node's error is for the report, where choosing did not need it.
    search.sensitivities(chosen, progress)
    others = {value: kind for value, kind in chosen.items() if kind != search.default.get(value)}
    recipe = replace(recipe, precisions={precision: others})
    result = search.graph(chosen, equalized)
    report = _report(
        search, chosen, search.measure(search.graph(chosen)), graph, result, seen.inputs, precision
    )
    return model_of(
        result, origin.metadata, threads, origin.path, origin=origin, report=report, recipe=recipe
    )


def _choose(search: Search, precision: str, tolerance: float, progress: Progress | None) -> dict[str, str]:
    if precision in ("float32", "bfloat16"):
        return dict.fromkeys(search.default, precision)
    if precision == "auto":
        return search.within(tolerance, "bfloat16", progress)
    if precision == "int4":
        matrices = [node.output for node in search.prepared.nodes if can_block(search.prepared, node)]
        return search.default | dict.fromkeys(matrices, "int4")
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
    noisy = dict.fromkeys(chosen, "its error is too large") if precision == "auto" else {}
    slower = {
        value: f"it takes longer in integers, {now:.1f} us, than in float32, {before:.1f} us"
        for value, (before, now) in search.slower.items()
    }
    why = reasons(search.prepared, chosen, noisy | slower)
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


def _moments(graph: Graph, seen: Calibration) -> dict[str, NDArray[np.float32]]:
    """Mean and root mean square of the channels of what convolutions read."""
    found = {}
    for node in graph.nodes:
        statistics = seen.statistics.get(node.inputs[0] or "") if node.op == "Conv" else None
        if statistics is not None and statistics.channels is not None and obstacle(graph, node) is None:
            channels = statistics.channels
            pair = np.stack([channels.mean, np.sqrt(channels.mean_square)])
            found[node.inputs[0] or ""] = np.clip(pair, -6e4, 6e4).astype(np.float32)
    return found


class _Inputs:
    """Calibration inputs as lists of arrays, checked; the first ones are kept to be looked at twice."""

    def __init__(self, model: Model, calibration: Calibrating) -> None:
        scalar = isinstance(calibration, np.ndarray) and calibration.ndim == 0
        if scalar or isinstance(calibration, (str, bytes, Mapping)) or not isinstance(calibration, Iterable):
            raise InputError(
                "calibration is an iterable of inputs, such as a list of arrays, not one "
                f"{type(calibration).__name__}"
            )
        self._model = model
        self.total = len(calibration) if isinstance(calibration, Sized) else 0
        self._rest = enumerate(calibration)
        self._kept: list[list[Array]] = []

    def first(self) -> list[list[Array]]:
        """The first inputs, which stay in memory."""
        self._kept = [
            [np.array(array) for array in self._checked(at, item)] for at, item in islice(self._rest, _FIRST)
        ]
        return self._kept

    @property
    def samples(self) -> list[list[Array]]:
        """A few of the first inputs, evenly spread."""
        return self._kept[:: max(1, len(self._kept) // _SAMPLES)][:_SAMPLES]

    def __iter__(self) -> Iterator[list[Array]]:
        yield from self._kept
        for at, item in self._rest:
            yield self._checked(at, item)

    def _checked(self, at: int, item: Any) -> list[Array]:
        try:
            if isinstance(item, Mapping):
                return self._model._named(item)
            if isinstance(item, (tuple, list)) and (len(self._model.inputs) != 1 or len(item) == 1):
                return self._model._positional(item)
            return self._model._positional([item])
        except InputError as error:
            raise InputError(f"calibration input {at}: {error}") from None

"""Models: loaded from a file, called with arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from vedette.errors import InputError, ModelError, UnsupportedModelError
from vedette.model import saved
from vedette.model.graph import Array, Dimension, Graph
from vedette.model.profile import Profile, ProfileEntry
from vedette.model.saved import SavedModel
from vedette.tensor_file import numpy_dtype

if TYPE_CHECKING:
    from vedette.model.image_input import ImageInput
    from vedette.model.integer.recipe import Recipe
    from vedette.model.integer.report import Report

PRECISIONS = ("auto", "fast", "int8", "int4", "bfloat16", "float32")
ENGINES = ("native", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model: its name, element type and shape, ``None`` where that is free."""

    name: str
    dtype: str | None
    shape: tuple[Dimension, ...] | None

    def __str__(self) -> str:
        shape = (
            "?" if self.shape is None else "x".join("?" if size is None else str(size) for size in self.shape)
        )
        return f"{self.name}: {self.dtype or '?'} {shape or 'scalar'}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The float32 model that a model came from, to be compiled again: for saving it, or in other numbers."""

    path: Path | None
    digest: str
    metadata: Mapping[str, str]
    graph: Callable[[], Graph]


class Engine(Protocol):
    """What runs a model."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Runs the model; inputs and outputs are in the order of the model's."""
        ...

    def profile(self, inputs: Sequence[Array]) -> tuple[list[Array], Sequence[Any]]:
        """Runs the model and tells what each node took."""
        ...

    def memory(self) -> dict[str, int]:
        """Bytes held, by what for; empty where that is not known."""
        ...


class Model:
    """A model that is ready to run. Made by :func:`load`.

    Calling it is safe from several threads at once.

    ::

        model = vedette.load("net.onnx")
        y = model(np.zeros((1, 3, 224, 224), np.float32))
    """

    def __init__(
        self,
        engine: Engine,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        metadata: Mapping[str, str],
        path: Path | None = None,
        source: Callable[[], SavedModel] | None = None,
        *,
        origin: Origin | None = None,
        report: Report | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        self._engine = engine
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._metadata = dict(metadata)
        self._path = path
        self._source = source
        self._origin = origin
        self._report = report
        self._recipe = recipe
        # What arrays are that need no look at: of this type, and of a shape that is known.
        self._expected = [
            (None if port.dtype is None else numpy_dtype(port.dtype), _fixed(port.shape))
            for port in self._inputs
        ]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs, in the order in which a call takes them."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs, in the order in which a call returns them."""
        return self._outputs

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says about itself, such as the characters a text recogniser knows."""
        return dict(self._metadata)

    @property
    def origin(self) -> Origin | None:
        """The float32 model it came from, where that is an ONNX file or was made in code."""
        return self._origin

    @property
    def report(self) -> Report | None:
        """What became of each node, for a model that :func:`vedette.quantize` made."""
        return self._report

    @property
    def recipe(self) -> Recipe | None:
        """What makes this quantised model of its file again, without calibration; None for others."""
        return self._recipe

    @property
    def nbytes(self) -> int | None:
        """Bytes held: weights, plans, working memory; None where the engine does not say (ONNX Runtime)."""
        return sum(self._engine.memory().values()) or None

    def __repr__(self) -> str:
        name = self._path.name if self._path else "model"
        inputs, outputs = (", ".join(map(str, side)) for side in (self._inputs, self._outputs))
        return f"<vedette.Model {name}: {inputs} -> {outputs}>"

    def __call__(self, *inputs: ArrayLike) -> Array | tuple[Array, ...]:
        """Runs the model.

        Parameters
        ----------
        *inputs : array_like
            One for each of ``model.inputs``. Arrays of any strides are read in place.

        Returns
        -------
        ndarray or tuple of ndarray
            One new array where the model has one output, else one for each of ``model.outputs``.

        Raises
        ------
        InputError
            Wrong number, dtype, rank or shape of the inputs.
        """
        results = self._run(self._positional(inputs))
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Runs the model with inputs by name; returns its outputs by name."""
        results = self._run(self._named(inputs))
        return {port.name: result for port, result in zip(self._outputs, results, strict=True)}

    def profile(self, *inputs: ArrayLike | Mapping[str, ArrayLike]) -> Profile:
        """Runs the model and tells what each node took.

        Takes the inputs as a call does, or one mapping of names to arrays.
        """
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            arrays = self._named(inputs[0])
        else:
            arrays = self._positional(inputs)  # type: ignore[arg-type]
        _, lines = self._engine.profile(arrays)
        return Profile([ProfileEntry(**line) for line in lines])

    def save(self, path: str | Path) -> Path:
        """Writes the compiled model to a ``.vedette`` file, which loads faster and without onnx.

        The weights are read again from the file that the model came from: a running model keeps them only in
        the order that its kernels like. Returns the path.

        Raises
        ------
        InputError
            The path has another suffix.
        ModelError
            The model is run by another engine, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix != saved.SUFFIX:
            raise InputError(f"a saved model is called *{saved.SUFFIX}, got {path.name!r}")
        if self._source is None:
            raise ModelError("only a model that the native engine runs, loaded from a file, can be saved")
        saved.write(path, self._source())
        return path

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        try:
            return self._engine.run(inputs)
        except UnsupportedModelError as error:
            # Element types are only known for certain once there are inputs.
            raise UnsupportedModelError(_with_way_out(error, self._path)) from None

    def _positional(self, inputs: Sequence[ArrayLike]) -> list[Array]:
        if len(inputs) == len(self._expected):
            for array, (dtype, shape) in zip(inputs, self._expected, strict=True):
                if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                    break
            else:
                return cast("list[Array]", list(inputs))
        if len(inputs) != len(self._inputs):
            names = ", ".join(port.name for port in self._inputs) or "none"
            raise InputError(f"expected {len(self._inputs)} inputs ({names}), got {len(inputs)}")
        return [check_input(port, array) for port, array in zip(self._inputs, inputs, strict=True)]

    def _named(self, inputs: Mapping[str, ArrayLike]) -> list[Array]:
        names = [port.name for port in self._inputs]
        unknown = sorted(set(inputs) - set(names))
        missing = [name for name in names if name not in inputs]
        if unknown or missing:
            said = [f"no input is called {', '.join(map(repr, unknown))}"] if unknown else []
            said += [f"{', '.join(map(repr, missing))} is missing"] if missing else []
            raise InputError(f"{'; '.join(said)}; the inputs are {', '.join(map(repr, names)) or 'none'}")
        return [check_input(port, inputs[port.name]) for port in self._inputs]


def _fixed(shape: tuple[Dimension, ...] | None) -> tuple[int, ...] | None:
    if shape is None:
        return None
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else None


def check_input(port: Port, value: ArrayLike) -> Array:
    """The value as an array that fits the input, or InputError."""
    array = np.asarray(value)
    if port.dtype is not None and array.dtype != numpy_dtype(port.dtype):
        # Python numbers and lists have no type of their own; arrays say what they are.
        if isinstance(value, np.ndarray) or not np.can_cast(
            array.dtype, numpy_dtype(port.dtype), "same_kind"
        ):
            raise InputError(
                f"input '{port.name}' has dtype {array.dtype}, expected {port.dtype}; convert it:"
                f" x.astype({port.dtype!r})"
            )
        array = array.astype(numpy_dtype(port.dtype))
    if port.shape is not None:
        fits = array.ndim == len(port.shape) and all(
            not isinstance(size, int) or size == actual
            for size, actual in zip(port.shape, array.shape, strict=True)
        )
        if not fits:
            sizes = "x".join(str(size) if isinstance(size, int) else "?" for size in port.shape)
            raise InputError(f"input '{port.name}' has shape {array.shape}, expected {sizes or 'a scalar'}")
    return array


def load(
    path: str | Path,
    *,
    precision: str = "float32",
    threads: int | None = None,
    engine: str = "native",
    recipe: Recipe | str | Path | None = None,
    cache: str | Path | None = None,
    image_input: ImageInput | None = None,
    best_class: bool = False,
) -> Model:
    """Loads a model from an ONNX file, or from one that :meth:`Model.save` wrote.

    Parameters
    ----------
    path : str or Path
        The file; ``*.vedette`` is a saved model, which has its precision, everything else is read as ONNX.
    precision : {"float32", "auto", "fast", "int8", "int4", "bfloat16"}
        Numbers to compute with. ``"auto"`` is the fastest known to be as good as float32, and ``"fast"``
        and ``"int8"`` use integers wherever they run: as a recipe says, which comes with Vedette for the
        models of its hub. Without a recipe ``"auto"`` is float32.
    threads : int, optional
        Threads one call uses; by default the process's own number (``vedette.runtime.get_num_threads()``).
    engine : {"native", "onnxruntime"}
        What runs the model. ONNX Runtime knows operators that Vedette does not; it is an extra:
        ``pip install 'vedette[onnxruntime]'``.
    recipe : Recipe, str or Path, optional
        The recipe of a model that :func:`vedette.quantize` made of this file, or a file of one.
    cache : str or Path, optional
        A folder where compiled models are kept and looked for, so that the next start needs no compiling.
    image_input : ImageInput, optional
        Lets a model of one float32 image input take uint8 images, and normalise them itself as told.
    best_class : bool
        Lets a classifier answer with two arrays in place of its output: the largest value along the last
        axis, and its index. What is not looked at, in a softmax over thousands of classes, is not made.

    Raises
    ------
    InputError
        A precision, engine or number of threads that does not exist; a recipe that is of another model.
    InvalidModelError
        The file is missing, damaged, or contradicts itself.
    UnsupportedModelError
        The engine lacks operators of the model; the message names every such node.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"precision {precision!r} does not exist; there are {', '.join(map(repr, PRECISIONS))}"
        )
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} does not exist; there are {', '.join(map(repr, ENGINES))}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    path = Path(path)
    if (image_input is not None or best_class) and (engine != "native" or path.suffix == saved.SUFFIX):
        raise InputError("image_input and best_class are for ONNX files that the native engine runs")
    if engine == "onnxruntime":
        if precision not in ("auto", "float32"):
            raise InputError(
                f"ONNX Runtime runs models as they are; precision {precision!r} is the native engine's"
            )
        from vedette.model.onnxruntime_engine import load_with_onnxruntime

        return load_with_onnxruntime(path, threads)
    if path.suffix == saved.SUFFIX:
        return _load_saved(path, threads)
    from vedette.model.compiling import Ends, load_in_float32

    ends = Ends(image_input, best_class)
    try:
        if precision == "float32":
            return load_in_float32(path, threads, cache, ends)
        from vedette.model.recipes import load_in_bfloat16, load_with_recipe

        if precision == "bfloat16":
            return load_in_bfloat16(path, threads, cache, ends)
        return load_with_recipe(path, precision, threads, recipe, cache, ends)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(_with_way_out(error, path)) from None


def _with_way_out(error: UnsupportedModelError, path: Path | None) -> str:
    if path is None or path.suffix == saved.SUFFIX:
        return str(error)
    return f'{path.name}: {error}. ONNX Runtime may run it: vedette.load({str(path)!r}, engine="onnxruntime")'


def _load_saved(path: Path, threads: int | None) -> Model:
    return model_of_saved(saved.read(path), threads, path, lambda: saved.read(path))


def model_of(
    graph: Graph,
    metadata: Mapping[str, str],
    threads: int | None,
    path: Path | None,
    source: Callable[[], SavedModel] | None = None,
    **provenance: Any,
) -> Model:
    """A model that runs a compiled graph; ``source`` makes it again to save it, else its program is kept."""
    compiled = saved_form(graph, metadata)
    return model_of_saved(compiled, threads, path, source or (lambda: compiled), **provenance)


def model_of_saved(
    compiled: SavedModel,
    threads: int | None,
    path: Path | None,
    source: Callable[[], SavedModel],
    **provenance: Any,
) -> Model:
    """A model that runs what a ``.vedette`` file holds."""
    from vedette.model.native_engine import NativeEngine

    engine = NativeEngine(compiled.program, compiled.constants, threads or 0, file=compiled.file)
    inputs, outputs = (
        [
            Port(port["name"], port["dtype"], None if port["shape"] is None else tuple(port["shape"]))
            for port in ports
        ]
        for ports in (compiled.inputs, compiled.outputs)
    )
    return Model(engine, inputs, outputs, compiled.metadata, path, source, **provenance)


def compile_file(path: Path) -> tuple[Graph, dict[str, str]]:
    """An ONNX file as a compiled graph, and its notes."""
    from vedette import _native
    from vedette.model.native_engine import compile_graph
    from vedette.model.onnx_reader import read

    source = read(path, _native.supported_operators())
    return compile_graph(source.graph), source.metadata


def saved_form(graph: Graph, metadata: Mapping[str, str]) -> SavedModel:
    """A compiled graph as the program that the engine runs. Refuses what the engine does not have."""
    from vedette import _native
    from vedette.model.lowering import lower
    from vedette.model.native_engine import refuse_unsupported

    refuse_unsupported(graph, _native.supported_operators())
    inputs, outputs = (
        [asdict(port) for port in ports(graph, names)] for names in (graph.inputs, graph.outputs)
    )
    return SavedModel(*lower(graph), inputs, outputs, dict(metadata))


def ports(graph: Graph, names: Sequence[str]) -> list[Port]:
    """What is known of the values of those names."""
    return [Port(name, graph.type_of(name).dtype, graph.type_of(name).shape) for name in names]

"""ONNX files compiled to models, and the folder where what was compiled is kept for the next start."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vedette import runtime
from vedette.errors import ModelError
from vedette.model import saved
from vedette.model.best_class import answer_best_class
from vedette.model.compile_process import compile_apart
from vedette.model.graph import Graph
from vedette.model.image_input import ImageInput, take_images
from vedette.model.integer.recipe import Recipe, digest_of
from vedette.model.model import Model, Origin, compile_file, model_of_saved, saved_form
from vedette.model.saved import SavedModel

_UNUSED_SECONDS = 7 * 24 * 3600.0
"""Age at which what another build of the engine kept of the same model is removed."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What a model takes and answers, where that is not what its file says."""

    image_input: ImageInput | None = None
    best_class: bool = False

    def put_on(self, graph: Graph) -> Graph:
        """A compiled graph with these ends."""
        if self.image_input is not None:
            graph = take_images(graph, self.image_input)
        return answer_best_class(graph) if self.best_class else graph


OWN_ENDS = Ends()
"""Those of the file."""


def load_compiled(
    path: Path,
    precision: str,
    threads: int | None,
    cache: str | Path | None,
    compiled: Callable[[], tuple[Graph, dict[str, str]]],
    *,
    digest: str = "",
    recipe: Recipe | None = None,
    ends: Ends = OWN_ENDS,
) -> Model:
    """A model as it was kept in the folder ``cache``, or else compiled, and then kept there where it can be.

    ``compiled`` makes the graph of an ONNX file, whose SHA-256 is ``digest``, in numbers of this precision.
    """

    def source() -> SavedModel:
        graph, metadata = compiled()
        return saved_form(ends.put_on(graph), metadata)

    def model(form: SavedModel, source: Callable[[], SavedModel]) -> Model:
        # What takes or answers something else is no longer the model of the file.
        same = ends == OWN_ENDS
        origin = Origin(path, digest, form.metadata, lambda: compile_file(path)[0]) if same else None
        return model_of_saved(form, threads, path, source, origin=origin, recipe=recipe)

    if cache is None:
        return _trimmed(model(source(), source))
    digest = digest or digest_of(path)
    settings = recipe.to_json() if recipe else None
    kept = _place(Path(cache), digest, precision, (settings, ends))

    def kept_model() -> Model | None:
        try:
            return model(saved.read(kept), lambda: saved.read(kept))
        except ModelError:
            # Not there, or damaged: it is made anew.
            return None

    there = kept_model()
    if there is None and compile_apart(
        path, precision, Path(cache), settings, ends.image_input, ends.best_class
    ):
        there = kept_model()
    if there is not None:
        return there
    form = source()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        saved.write(kept, form)
        form = saved.read(kept)
        _remove_unused(kept)
    except (ModelError, OSError):
        # A folder that cannot be written costs the next start some time, and nothing else.
        pass
    return _trimmed(model(form, source))


def load_in_float32(
    path: Path, threads: int | None, cache: str | Path | None, ends: Ends = OWN_ENDS
) -> Model:
    """Loads an ONNX file in the numbers it has."""
    return load_compiled(path, "float32", threads, cache, lambda: compile_file(path), ends=ends)


def _trimmed(model: Model) -> Model:
    """Gives back the 40 MB of small blocks that compiling leaves, which the allocator would keep."""
    from vedette import _native

    _native.trim_heap()
    return model


def _place(cache: Path, digest: str, precision: str, settings: object) -> Path:
    build = hashlib.sha256(f"{settings}{_engine_identity()}".encode()).hexdigest()[:16]
    return cache / f"{digest[:16]}-{precision}-{build}{saved.SUFFIX}"


def _engine_identity() -> str:
    """Another where the engine was built anew, or runs at another level: a kept program is one engine's."""
    from vedette import _native

    facts = Path(_native.__file__).stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}-{runtime.isa()}-{runtime.cpu_features()}"


def _remove_unused(kept: Path) -> None:
    """Removes what older builds kept of the model in the same precision."""
    model_and_precision = kept.stem.rpartition("-")[0]
    for other in kept.parent.glob(f"{model_and_precision}-*{saved.SUFFIX}"):
        if other != kept and other.stat().st_mtime < time.time() - _UNUSED_SECONDS:
            other.unlink(missing_ok=True)

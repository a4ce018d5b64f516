"""Models loaded in the numbers of a recipe: a given one, or one of Vedette's own, which lie here."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from vedette.errors import InputError, InvalidModelError, ModelError
from vedette.model import saved
from vedette.model.graph import Graph
from vedette.model.integer.recipe import Recipe, digest_of, parse_recipe, read_recipe
from vedette.model.model import Model, Origin, compile_file, load_native, model_of, model_of_saved, saved_form


def shipped_recipe(digest: str) -> Recipe | None:
    """The recipe that comes with Vedette for the model with this SHA-256, if there is one."""
    entry = resources.files("vedette.model.recipes").joinpath(f"{digest[:16]}.json")
    if not entry.is_file():
        return None
    recipe = parse_recipe(entry.read_text(encoding="utf-8"), entry.name)
    return recipe if recipe.model == digest else None


def load_with_recipe(
    path: Path,
    precision: str,
    threads: int | None,
    recipe: Recipe | str | Path | None,
    cache: str | Path | None,
) -> Model:
    """Loads an ONNX file in the numbers that a recipe says for this precision."""
    if precision == "bfloat16":
        return _load_bfloat16(path, threads)
    if not path.is_file():
        raise InvalidModelError(f"cannot read {path}: there is no such file")
    digest = digest_of(path)
    if isinstance(recipe, (str, Path)):
        recipe = read_recipe(recipe)
    if recipe is None:
        recipe = shipped_recipe(digest)
    if recipe is None:
        if precision == "auto":
            return load_native(path, threads)
        raise InputError(
            f"{path.name} has no recipe, which precision {precision!r} needs; make one: vedette quantize "
            f"{path} --calibrate FOLDER --recipe FILE"
        )
    recipe.refuse_other(digest, path.name)
    kept = _cached(cache, recipe, precision)
    if kept is not None and kept.is_file():
        try:
            return model_of_saved(saved.read(kept), threads, path, lambda: saved.read(kept), recipe=recipe)
        except ModelError:
            # Of another build, or half gone: it is made anew.
            pass
    return _compile(path, digest, precision, threads, recipe, kept)


def _compile(
    path: Path, digest: str, precision: str, threads: int | None, recipe: Recipe, kept: Path | None
) -> Model:
    graph, metadata = compile_file(path)
    origin = Origin(path, digest, metadata, lambda: compile_file(path)[0])
    made = _quantized(graph, recipe, precision)
    if kept is not None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            saved.write(kept, saved_form(made, metadata))
            return model_of_saved(
                saved.read(kept), threads, path, lambda: saved.read(kept), origin=origin, recipe=recipe
            )
        except (ModelError, OSError):
            # A folder that cannot be written costs the next start some time, and nothing else.
            pass
    return model_of(
        made,
        metadata,
        threads,
        path,
        lambda: saved_form(_quantized(compile_file(path)[0], recipe, precision), metadata),
        origin=origin,
        recipe=recipe,
    )


def _load_bfloat16(path: Path, threads: int | None) -> Model:
    from vedette.model.integer.quantizer import default_precisions, in_float, prepare

    def compiled() -> tuple[Graph, dict[str, str]]:
        graph, metadata = compile_file(path)
        prepared = prepare(graph)
        return in_float(prepared, dict.fromkeys(default_precisions(prepared), "bfloat16")), metadata

    origin = Origin(path, "", {}, lambda: compile_file(path)[0])
    return model_of(*compiled(), threads, path, lambda: saved_form(*compiled()), origin=origin)


def _quantized(graph: Graph, recipe: Recipe, precision: str) -> Graph:
    from vedette.model.integer.quantizer import prepare, quantized_graph
    from vedette.model.native_engine import evaluate

    if precision in recipe.precisions or precision in ("fast", "int8"):
        return quantized_graph(prepare(graph), recipe, precision, evaluate)
    known = ", ".join(map(repr, recipe.precisions)) or "'fast'"
    raise InputError(f"the recipe knows precisions {known} and 'int8', not {precision!r}")


def _cached(cache: str | Path | None, recipe: Recipe, precision: str) -> Path | None:
    if cache is None:
        return None
    facts = f"{recipe.to_json()}{precision}{_engine_identity()}"
    return (
        Path(cache) / f"{recipe.model[:16]}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}{saved.SUFFIX}"
    )


def _engine_identity() -> str:
    """Changes whenever the engine is built anew, so that a cached program is of the engine that runs it."""
    from vedette import _native

    facts = Path(_native.__file__).stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}"

"""Models loaded in the numbers of a recipe: a given one, or one of Vedette's own, which lie here."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vedette.errors import InputError
from vedette.model.compiling import OWN_ENDS, Ends, load_compiled, load_in_float32
from vedette.model.graph import Graph
from vedette.model.integer.recipe import Recipe, digest_of, parse_recipe, read_recipe
from vedette.model.model import Model, compile_file


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
    ends: Ends = OWN_ENDS,
) -> Model:
    """Loads an ONNX file in the numbers that a recipe says for this precision."""
    digest = digest_of(path)
    if isinstance(recipe, (str, Path)):
        recipe = read_recipe(recipe)
    if recipe is None:
        recipe = shipped_recipe(digest)
    if recipe is None:
        if precision == "auto":
            return load_in_float32(path, threads, cache, ends)
        raise InputError(
            f"{path.name} has no recipe, which precision {precision!r} needs; make one: vedette quantize "
            f"{path} --calibrate FOLDER --recipe FILE"
        )
    recipe.refuse_other(digest, path.name)
    chosen = recipe

    def compiled() -> tuple[Graph, dict[str, str]]:
        graph, metadata = compile_file(path)
        return _quantized(graph, chosen, precision), metadata

    return load_compiled(path, precision, threads, cache, compiled, digest=digest, recipe=recipe, ends=ends)


def load_in_bfloat16(
    path: Path, threads: int | None, cache: str | Path | None, ends: Ends = OWN_ENDS
) -> Model:
    """Loads an ONNX file with its products in bfloat16, which takes no recipe."""
    from vedette.model.integer.quantizer import all_bfloat16, in_float, prepare

    def compiled() -> tuple[Graph, dict[str, str]]:
        graph, metadata = compile_file(path)
        prepared = prepare(graph)
        return in_float(prepared, all_bfloat16(prepared)), metadata

    return load_compiled(path, "bfloat16", threads, cache, compiled, ends=ends)


def _quantized(graph: Graph, recipe: Recipe, precision: str) -> Graph:
    from vedette.model.integer.quantizer import prepare, quantized_graph
    from vedette.model.native_engine import evaluate

    if precision in recipe.precisions or precision in ("fast", "int8"):
        return quantized_graph(prepare(graph), recipe, precision, evaluate)
    known = ", ".join(map(repr, recipe.precisions)) or "'fast'"
    raise InputError(f"the recipe knows precisions {known} and 'int8', not {precision!r}")

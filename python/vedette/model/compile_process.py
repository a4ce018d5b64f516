"""Compiling in a process of its own.

Reading ONNX files takes modules, and leaves small blocks all over the heap, that a process which then runs
the model for weeks has no use for: some 30 MB of its memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from vedette.model.image_input import ImageInput

_SECONDS = 300.0
"""After which the caller compiles by itself."""

_CHILD = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request.pop('sys_path'); "
    "from vedette.model.compile_process import answer; answer(request)"
)

_answering = False


def compile_apart(
    path: Path,
    precision: str,
    cache: Path,
    recipe: str | None,
    image_input: ImageInput | None,
    best_class: bool,
) -> bool:
    """Has another process load an ONNX file, which leaves the compiled model in the folder ``cache``.

    False where that was not worth while, cannot be, or went wrong: then the caller compiles, and tells what
    is wrong.
    """
    # A frozen application's executable is the application.
    alone = not sys.executable or getattr(sys, "frozen", False)
    if alone or _answering or "onnx" in sys.modules:
        return False
    request = {
        "path": str(path),
        "precision": precision,
        "cache": str(cache),
        "recipe": recipe,
        "image_input": None if image_input is None else (image_input.mean, image_input.std),
        "best_class": best_class,
        "sys_path": sys.path,
    }
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return child.returncode == 0


def answer(request: dict[str, Any]) -> None:
    """What the other process does."""
    global _answering
    _answering = True
    from vedette.model.integer.recipe import parse_recipe
    from vedette.model.model import load

    recipe, levels = request["recipe"], request["image_input"]
    load(
        request["path"],
        precision=request["precision"],
        threads=1,
        cache=request["cache"],
        recipe=None if recipe is None else parse_recipe(recipe, "the recipe"),
        image_input=None if levels is None else ImageInput(tuple(levels[0]), tuple(levels[1])),
        best_class=request["best_class"],
    )

"""Always-on computer vision for ordinary CPUs.

The parts are imported when they are first used, so ``import vedette`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vedette.errors import VedetteError
from vedette.lazy import lazy_attributes

if TYPE_CHECKING:
    from vedette import (
        batching,
        errors,
        hub,
        image,
        memory,
        metrics,
        model,
        ocr,
        pipeline,
        quantization,
        runtime,
        sources,
        store,
        tensor,
        watch,
    )
    from vedette.model import Model, load
    from vedette.model.quantizing import quantize

__all__ = [
    "Model",
    "VedetteError",
    "batching",
    "errors",
    "hub",
    "image",
    "load",
    "memory",
    "metrics",
    "model",
    "ocr",
    "pipeline",
    "quantization",
    "quantize",
    "runtime",
    "sources",
    "store",
    "tensor",
    "watch",
]

_MODULES = frozenset(__all__) - {"Model", "VedetteError", "load", "quantize"}
_named = lazy_attributes(
    __name__, {"Model": "vedette.model", "load": "vedette.model", "quantize": "vedette.model.quantizing"}
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"vedette.{name}")
    return _named(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

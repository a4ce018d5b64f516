"""What each module says it offers is what it has, and the floors do not reach above themselves."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import vedette
from vedette import _native, errors

PACKAGE = Path(vedette.__file__).parent
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages([str(PACKAGE)], "vedette.")
    if not found.name.endswith(("._native", ".__main__"))
)


def imports(path: Path) -> set[str]:
    """Modules of the package that a source file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name for name in found if name.startswith("vedette.")}


@pytest.mark.parametrize("name", ["vedette", *MODULES])
def test_all_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), f"{name}.__all__ names {exported}, which is not there"


@pytest.mark.parametrize("name", [name for name in MODULES if name.count(".") == 1 and name != "vedette.cli"])
def test_public_modules_declare_all(name: str) -> None:
    module = importlib.import_module(name)
    if name == "vedette.errors":
        return
    declared = set(module.__all__)
    defined = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == name
    }
    assert defined <= declared, f"public but not in __all__: {sorted(defined - declared)}"


def test_public_names_are_documented() -> None:
    undocumented = [
        f"{name}.{exported}"
        for name in MODULES
        for exported in getattr(importlib.import_module(name), "__all__", ())
        if (
            inspect.isfunction(value := getattr(importlib.import_module(name), exported))
            or inspect.isclass(value)
        )
        and not inspect.getdoc(value)
    ]
    assert not undocumented


def test_error_tree() -> None:
    tree = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if inspect.isclass(value) and name != "VedetteError"
    }
    assert tree == {
        "NativeError": "VedetteError",
        "InputError": "VedetteError",
        "ImageError": "VedetteError",
        "ModelError": "VedetteError",
        "InvalidModelError": "ModelError",
        "UnsupportedModelError": "ModelError",
        "HubError": "VedetteError",
        "MemoryLimitError": "VedetteError",
        "QueueFullError": "VedetteError",
        "DeadlineError": "VedetteError",
        "ClosedError": "VedetteError",
        "BatchError": "VedetteError",
        "StageError": "VedetteError",
        "LeaseError": "VedetteError",
        "SourceError": "VedetteError",
        "StoreError": "VedetteError",
        "WatchError": "VedetteError",
    }
    assert issubclass(errors.InputError, ValueError)


def test_every_native_name_is_used() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    unused = [name for name in dir(_native) if not name.startswith("_") and name not in sources]
    assert not unused


FORBIDDEN = {
    "errors.py": ("vedette.",),
    "hub.py": ("vedette.model", "vedette.ocr", "vedette.cli"),
    "runtime": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.hub"),
    "tensor.py": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.hub"),
    "memory.py": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.hub"),
    "batching": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.hub"),
    "metrics": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.batching", "vedette.pipeline"),
    "pipeline": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.hub"),
    "image": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.hub"),
    "quantization": ("vedette.model", "vedette.ocr", "vedette.cli", "vedette.hub"),
    "tensor_file.py": ("vedette.",),
    "model": ("vedette.ocr", "vedette.cli", "vedette.hub"),
    "ocr": ("vedette.cli", "vedette.sources", "vedette.store", "vedette.watch"),
    "sources": ("vedette.model", "vedette.ocr", "vedette.store", "vedette.watch", "vedette.cli"),
    "store": ("vedette.model", "vedette.ocr", "vedette.sources", "vedette.watch", "vedette.cli"),
    "watch": ("vedette.cli",),
}


@pytest.mark.parametrize("part", FORBIDDEN)
def test_a_floor_does_not_import_what_stands_on_it(part: str) -> None:
    top = PACKAGE / part
    for path in [top] if top.suffix else sorted(top.rglob("*.py")):
        wrong = [name for name in imports(path) if name.startswith(FORBIDDEN[part])]
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, vedette; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = {name.partition(".")[0] for name in loaded.split()}
    assert not modules & {"PIL", "asyncio", "google", "numpy", "onnx", "onnxruntime", "rich"}

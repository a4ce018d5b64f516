"""``python -m fuzz TARGET [libFuzzer options]``: fuzzes one target, starting from its seeds."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vedette"]):
    # Many modules are imported only when they are needed, which would be after the instrumentation.
    for package in ("vedette.image", "vedette.model"):
        path = getattr(importlib.import_module(package), "__path__", [])
        for module in pkgutil.walk_packages(path, f"{package}."):
            importlib.import_module(module.name)

from fuzz import seeds
from fuzz.targets import TARGETS

SEEDS = {
    "image": seeds.images,
    "model": seeds.models,
    "pixels": seeds.pixels,
    "program": seeds.programs,
    "recipe": seeds.recipes,
    "saved": seeds.saved_models,
}


def main() -> None:
    """Fuzzes until libFuzzer stops, which exits the process."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        print(f"usage: python -m fuzz {{{','.join(TARGETS)}}} [libFuzzer options]", file=sys.stderr)
        sys.exit(2)
    name, options = sys.argv[1], sys.argv[2:]
    # libFuzzer ends by _exit, so the folder outlives the process; the system's temporary folder is its owner.
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for i, seed in enumerate(SEEDS[name]()):
        (corpus / f"seed-{i}").write_bytes(seed)
    # Whatever is learnt goes into the corpus folder; crashes are written where the caller stands.
    defaults = ["-rss_limit_mb=2048", "-timeout=20", f"-artifact_prefix={os.getcwd()}/"]
    # The native parsers are not instrumented: without this, all but one seed would be dropped as equal.
    defaults += ["-keep_seed=1", "-reduce_inputs=0"]
    atheris.Setup([sys.argv[0], *defaults, *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""ONNX's own backend tests, run through Vedette's backend, one case at a time.

``python tests/onnx_backend_suite.py docs/conformance.md`` runs them all and writes the counts.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import BackendTest
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

from vedette.errors import UnsupportedModelError
from vedette.model import backend

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")


@dataclass(frozen=True)
class Outcome:
    """``passed`` or ``refused``, with the reason; a failure is an exception."""

    status: str
    reason: str = ""


@cache
def cases(kind: str) -> dict[str, TestCase]:
    with warnings.catch_warnings():
        # The cases themselves overflow on purpose while they are made.
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind=kind)}


def run(case: TestCase) -> Outcome:
    """Runs a case; raises AssertionError, or what the backend raised, if it fails."""
    model = _model(case)
    try:
        prepared = backend.prepare(model)
        for inputs, expected in _data(case, model):
            actual = list(prepared.run(inputs))
            BackendTest.assert_similar_outputs(expected, actual, rtol=case.rtol, atol=case.atol)
    except UnsupportedModelError as error:
        return Outcome("refused", str(error))
    return Outcome("passed")


def _model(case: TestCase) -> onnx.ModelProto:
    if case.model is not None:
        return case.model
    return onnx.load(_light(case) if case.url else Path(case.model_dir) / "model.onnx")


def _light(case: TestCase) -> Path:
    """Where the onnx package has the model that it shares with its repository."""
    return Path(onnx.__file__).parent.parent / str(case.url)


def _data(case: TestCase, model: onnx.ModelProto) -> Iterator[tuple[list[Any], list[Any]]]:
    if case.data_sets is not None:
        for inputs, outputs in case.data_sets:
            yield [_array(value) for value in inputs], [_array(value) for value in outputs]
    elif case.url:
        path = _light(case)
        given = {tensor.name for tensor in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in given]
        outputs = [path.with_name(f"{path.stem}_output_{at}.pb") for at in range(len(model.graph.output))]
        yield (
            [BackendTest.generate_dummy_data(value) for value in inputs],
            [_tensor(path) for path in outputs],
        )
    else:
        for folder in sorted(Path(case.model_dir).glob("test_data_set*")):
            yield tuple(  # type: ignore[misc]
                [
                    _proto(folder / f"{kind}_{at}.pb", values[at].type)
                    for at in range(len(list(folder.glob(f"{kind}_*.pb"))))
                ]
                for kind, values in (("input", model.graph.input), ("output", model.graph.output))
            )


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _proto(path: Path, type_: onnx.TypeProto) -> Any:
    if type_.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(path.read_bytes()))
    if type_.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(path.read_bytes()))
    return _tensor(path)


def _tensor(path: Path) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def report() -> str:
    """Runs everything; the counts as Markdown."""
    lines = [
        "# Conformance",
        "",
        f"ONNX's own backend tests (onnx {onnx.__version__}) through `vedette.model.backend`. A",
        "model that the engine cannot run is refused by name with `UnsupportedModelError`.",
        "Written by `python tests/onnx_backend_suite.py docs/conformance.md`; `make test` asserts the same.",
        "",
        "| Tests | Passed | Failed | Refused |",
        "| --- | ---: | ---: | ---: |",
    ]
    total: Counter[str] = Counter()
    refused: dict[str, int] = defaultdict(int)
    for kind in KINDS:
        counts: Counter[str] = Counter()
        for case in cases(kind).values():
            try:
                outcome = run(case)
            except Exception as error:  # whatever it is, it is a failure to be counted and shown
                print(
                    f"FAILED {kind} {case.name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr
                )
                outcome = Outcome("failed")
            counts[outcome.status] += 1
            if outcome.status == "refused":
                refused[_reason(outcome.reason)] += 1
        lines.append(_row(kind, counts))
        total.update(counts)
    lines += [
        _row("**all**", total),
        "",
        "What the refused ones ask for:",
        "",
        "| Reason | Tests |",
        "| --- | ---: |",
    ]
    lines += [
        f"| {reason} | {count} |"
        for reason, count in sorted(refused.items(), key=lambda item: (-item[1], item))
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, counts: Counter[str]) -> str:
    return f"| {name} | {counts['passed']} | {counts['failed']} | {counts['refused']} |"


def _reason(message: str) -> str:
    """The refusal without the names of nodes and values, and only its first operator."""
    first = re.sub(
        r'.*node "[^"]*" ', "", message.removeprefix("the native engine does not have ").split(", ")[0]
    )
    return " ".join(re.sub(r"'[^']*'", "", first).split()).replace("|", "/")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    text = report()
    for target in sys.argv[1:]:
        Path(target).write_text(text)
    print(text)

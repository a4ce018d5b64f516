"""Quantise an ONNX model: measure on real inputs where integers cost little accuracy, and use them there.

The folder of --calibrate holds inputs like those the model will see: .npy files for a model of one input,
.npz files with arrays by the names of several, or images, which become RGB from 0 to 1, resized to the
height and width that the model states. Some tens are enough.

examples:
  vedette quantize net.onnx --calibrate samples/ -o net.vedette
  vedette quantize net.onnx --calibrate samples/ --precision fast --recipe net.json --chart net.svg
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vedette.cli.arguments import IMAGE_SUFFIXES, thread_count
from vedette.cli.terminal import print_json, print_table, progress, table
from vedette.errors import InputError

if TYPE_CHECKING:
    from vedette.model import Model, Report

_ARRAYS = frozenset({".npy", ".npz"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette quantize``."""
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="an .onnx file")
    add("--calibrate", metavar="DIR", type=Path, required=True, help="a folder of inputs")
    add("-o", "--output", metavar="OUT.vedette", type=Path, help="write the quantised model there")
    add("--recipe", metavar="FILE.json", type=Path, help="write what makes it again without calibration")
    add("--chart", metavar="FILE.svg", type=Path, help="draw the time of each node before and after")
    add("--precision", choices=("auto", "fast", "int8", "int4", "bfloat16"), default="auto")
    add(
        "--tolerance",
        metavar="X",
        type=_share,
        default=0.05,
        help="greatest error of the outputs for auto, as a share of them; default: 0.05",
    )
    methods = ("mse", "minmax", "moving_average", "percentile", "entropy")
    add("--method", choices=methods, default="mse", help="to find ranges")
    add("--threads", metavar="N", type=thread_count, help="default: the cores this process may use")
    add("--json", action="store_true", help="write the report as JSON to stdout")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette quantize``."""
    from vedette.model import load
    from vedette.model.quantizing import quantize

    files = _files(chosen.calibrate)
    original = load(chosen.model, threads=chosen.threads)
    inputs = _Inputs(original, files)
    with progress(of_bytes=False) as report_progress:
        made = quantize(
            original,
            inputs,
            precision=chosen.precision,
            tolerance=chosen.tolerance,
            method=chosen.method,
            threads=chosen.threads,
            progress=report_progress,
        )
    report, recipe = made.report, made.recipe
    assert report is not None
    assert recipe is not None
    if chosen.output is not None:
        made.save(chosen.output)
    if chosen.recipe is not None:
        recipe.save(chosen.recipe)
    if chosen.chart is not None:
        from vedette.cli.chart import draw

        chosen.chart.write_text(draw(report, chosen.model.name), encoding="utf-8")
    if chosen.json:
        print_json({"model": str(chosen.model), "precision": chosen.precision, **report.to_dict()})
    else:
        _print(report)
    return 0


def _print(report: Report) -> None:
    right = ("SQNR dB", "us before", "us after")
    made = table("node", "operator", "precision", *right, "why", right=right)
    for node in report.nodes:
        numbers = (node.sqnr, node.microseconds_before, node.microseconds_after)
        cells = ["" if number is None else f"{number:.1f}" for number in numbers]
        made.add_row(node.value, node.op, node.precision, *cells, node.reason or "")
    print_table(made)
    times = report.microseconds_before, report.microseconds_after
    sizes = report.bytes_before, report.bytes_after
    print(
        f"\noutputs {report.sqnr:.1f} dB; time {_time(times[0])}, now {_time(times[1])}; "
        f"constants {sizes[0] / 1e6:.2f} MB, now {sizes[1] / 1e6:.2f} MB; "
        f"calibrated with {report.inputs} inputs"
    )


def _time(microseconds: float) -> str:
    return f"{microseconds:.1f} us" if microseconds < 1e3 else f"{microseconds / 1e3:.2f} ms"


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"--calibrate {folder}: there is no such folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ARRAYS | IMAGE_SUFFIXES)
    if not files:
        raise InputError(f"--calibrate {folder}: it holds no .npy or .npz files and no images")
    return files


class _Inputs:
    """What the files hold, read one by one."""

    def __init__(self, model: Model, files: list[Path]) -> None:
        self._model, self._files = model, files

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Any]:
        for path in self._files:
            yield _input(self._model, path)


def _input(model: Model, path: Path) -> Any:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        from vedette.cli.run import image_input

        if len(model.inputs) != 1:
            raise InputError(f"{path}: the model has {len(model.inputs)} inputs; give .npz files")
        return image_input(model.inputs[0], path)
    try:
        found = np.load(path, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1.0:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, got {text!r}")
    return number

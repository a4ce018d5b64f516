"""A convolutional network trained here tells digits in fewer bits nearly as well as in float32."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from bench import digits

import vedette as vd
from vedette.model import saved


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    learnt, _ = digits.digits()
    path = tmp_path_factory.mktemp("digits") / "digits.onnx"
    onnx.save(digits.to_onnx(digits.train(learnt)), path)
    return path


# The bounds, in points; of the 5,373 images tested 0.5 points are 27.
@pytest.mark.parametrize(
    ("precision", "most", "bits"), [("fast", 0.5, 8), ("auto", 0.5, 8), ("int4", 1.5, 4)]
)
def test_accuracy_is_kept(trained: Path, precision: str, most: float, bits: int, tmp_path: Path) -> None:
    learnt, test = digits.digits()
    exact = digits.accuracy(vd.load(trained), test)
    assert exact > 95
    samples = [learnt[0][at : at + 1] for at in range(64)]
    made = vd.quantize(trained, samples, precision=precision)
    assert exact - digits.accuracy(made, test) <= most
    if precision == "auto":
        # Which nodes are faster in floats depends on the machine.
        return
    # What is computed in few bits is kept in few bits: no float copy of a matrix or of filters remains.
    held = saved.read(made.save(tmp_path / "digits.vedette")).constants
    assert max(array.size for array in held if array.dtype == "float32") < 1500
    largest = max(held, key=lambda array: array.size)
    assert largest.size * 8 // bits == 576 * 128

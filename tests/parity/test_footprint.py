"""Quantised models are as small as their bits say, on file and in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from bench import footprint, reference_networks

import vedette as vd

X = np.random.default_rng(5).standard_normal((1, 3, 224, 224), dtype=np.float32)


@pytest.mark.parametrize(
    ("network", "precision", "most"), [("resnet50", "fast", 0.27), ("vit_tiny", "int4", 0.15)]
)
def test_bytes_beside_float32(network: str, precision: str, most: float, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(reference_networks.NETWORKS[network](), path)
    made = vd.quantize(path, [X], precision=precision, method="minmax")
    found = footprint.size(network, path, made.save(tmp_path / "net.vedette"), X, most)
    assert found.file <= most
    assert found.resident <= most

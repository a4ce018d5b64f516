"""``vedette.quantize``: one call from a float model and samples to a smaller, faster one, and its recipe."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import Net

import vedette as vd
from vedette.errors import InputError, VedetteError
from vedette.model import recipes
from vedette.model.graph import Graph
from vedette.model.integer import quantizer
from vedette.model.integer.equalization import equalize
from vedette.model.integer.quantizer import prepare, quantized_graph
from vedette.model.integer.recipe import parse_recipe, read_recipe
from vedette.model.integer.search import Measured, Search
from vedette.model.model import compile_file
from vedette.model.native_engine import evaluate
from vedette.quantization import METHODS, sqnr

RANDOM = np.random.default_rng(8)


def samples(count: int = 6) -> list[np.ndarray]:
    return [RANDOM.normal(0, 1, (1, 3, 16, 16)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of residuals, depthwise convolutions, tables, pools and a classifier."""
    net = Net(seed=4)

    def conv(x: str, read: int, made: int, size: int, **more: Any) -> str:
        w = net.constant(net.random.normal(0, (1 / (read * size * size)) ** 0.5, (made, read, size, size)))
        return str(net.op("Conv", x, w, net.weights(made), pads=[size // 2] * 4, **more))

    x = net.op("Relu", conv(net.input("x", "n", 3, 16, 16), 3, 16, 3))
    y = net.op("HardSwish", conv(x, 16, 32, 1))
    y = net.op("Relu", conv(y, 1, 32, 3, group=32))
    x = net.op("Add", conv(y, 32, 16, 1), x)
    y = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = net.op("Flatten", net.op("GlobalAveragePool", conv(y, 16, 24, 3)))
    y = net.op("Gemm", y, net.weights(10, 24), net.weights(10), transB=1)
    target = tmp_path_factory.mktemp("quantize") / "net.onnx"
    onnx.save(net.model(y), target)
    return target


@pytest.fixture(scope="module")
def fast(path: Path) -> vd.Model:
    return vd.quantize(path, samples(), precision="fast", threads=1)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_ranges(path: Path, method: str) -> None:
    made = vd.quantize(path, samples(3), precision="fast", method=method, threads=1)
    x = samples(1)[0]
    # Ranges that leave outliers out clip some of random data, which real data have fewer of.
    assert sqnr(vd.load(path, threads=1)(x), made(x)) > 20


def test_a_quantised_model_is_nearly_the_same(path: Path, fast: vd.Model) -> None:
    original = vd.load(path, threads=1)
    for x in samples(3):
        assert sqnr(original(x), fast(x)) > 25
    assert fast.inputs == original.inputs
    assert {entry.op for entry in fast.profile(samples(1)[0]).entries} >= {"QuantizedConv", "QuantizedMatMul"}


def test_the_report_names_every_product(fast: vd.Model) -> None:
    report = fast.report
    assert report is not None
    assert [node.op for node in report.nodes] == ["Conv"] * 5 + ["MatMul"]
    assert {node.precision for node in report.nodes} == {"int8"}
    assert all(node.reason is None for node in report.nodes)
    # One node alone makes less noise than all of them, but for chance.
    assert all(node.sqnr is not None and node.sqnr > report.sqnr - 3 for node in report.nodes)
    assert report.bytes_after < 0.4 * report.bytes_before
    assert report.inputs == 6
    assert report.error == pytest.approx(10 ** (-report.sqnr / 20))
    assert "dB" in str(report)
    json.dumps(report.to_dict())


def test_the_recipe_makes_the_same_model(path: Path, fast: vd.Model, tmp_path: Path) -> None:
    assert fast.recipe is not None
    recipe = fast.recipe.save(tmp_path / "net.json")
    x = samples(1)[0]
    again = vd.load(path, precision="fast", recipe=recipe, threads=1)
    np.testing.assert_array_equal(again(x), fast(x))
    assert again.recipe is not None
    for cached in range(2):
        kept = vd.load(path, precision="fast", recipe=recipe, cache=tmp_path / "cache", threads=1)
        np.testing.assert_array_equal(kept(x), fast(x))
        assert len(list((tmp_path / "cache").iterdir())) == 1, cached
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(b"half a file")
    np.testing.assert_array_equal(
        vd.load(path, precision="fast", recipe=recipe, cache=tmp_path / "cache")(x), fast(x)
    )


def test_a_saved_quantised_model_is_small_and_the_same(path: Path, fast: vd.Model, tmp_path: Path) -> None:
    saved = vd.load(fast.save(tmp_path / "net.vedette"), threads=1)
    x = samples(1)[0]
    np.testing.assert_array_equal(saved(x), fast(x))
    loaded = vd.load(path, threads=1)
    loaded.save(tmp_path / "float.vedette")
    ratio = (tmp_path / "net.vedette").stat().st_size / (tmp_path / "float.vedette").stat().st_size
    # The program's text weighs as much as the weights of so small a network.
    assert ratio < 1.0


def test_auto_takes_out_what_hurts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is slower in integers depends on the machine.
    monkeypatch.setattr(Search, "slower_nodes", lambda _: {})
    loose = vd.quantize(path, samples(), tolerance=0.2, threads=1)
    assert loose.report is not None
    assert {node.precision for node in loose.report.nodes} == {"int8"}
    strict = vd.quantize(path, samples(), tolerance=0.004, threads=1)
    assert strict.report is not None
    kinds = [node.precision for node in strict.report.nodes]
    assert "bfloat16" in kinds
    assert strict.report.sqnr > loose.report.sqnr
    for node in strict.report.nodes:
        assert (node.reason is None) == (node.precision == "int8")
        assert node.sqnr is not None


def test_what_is_out_of_integers_anyway_counts_in_the_error(path: Path, fast: vd.Model) -> None:
    assert fast.recipe is not None
    equalized = equalize(prepare(compile_file(path)[0]), fast.recipe.scales)
    search = Search(equalized, fast.recipe, [[x] for x in samples(3)], 1)
    (last,) = (node.output for node in equalized.nodes if node.op == "MatMul")
    alone = search.noise(search.default | {last: "bfloat16"}) ** 0.5
    assert search.fewest_out({last: "bfloat16"}, alone, "bfloat16") == search.default | {last: "bfloat16"}
    least = search.noise(dict.fromkeys(search.default, "bfloat16")) ** 0.5
    tolerance = (alone + least) / 2
    chosen = search.fewest_out({last: "bfloat16"}, tolerance, "bfloat16")
    assert chosen[last] == "bfloat16"
    assert list(chosen.values()).count("bfloat16") > 1
    assert search.noise(chosen) ** 0.5 <= tolerance


def test_fast_is_in_bfloat16_only_where_there_are_units_for_it(
    path: Path, fast: vd.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fast.recipe is not None
    prepared = prepare(compile_file(path)[0])
    (last,) = (node.output for node in prepared.nodes if node.op == "MatMul")
    recipe = replace(fast.recipe, precisions={"fast": {last: "bfloat16"}})
    for units, found in ((True, ["bfloat16"]), (False, [])):
        monkeypatch.setattr(quantizer, "_has_bfloat16_units", lambda units=units: units)
        graph = quantized_graph(prepared, recipe, "fast", evaluate)
        precisions = [node.attributes.get("precision") for node in graph.nodes if node.op == "MatMul"]
        assert precisions == found


def test_auto_leaves_out_what_is_slower(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Search.measure

    def slowed(search: Search, graph: Graph) -> Measured:
        found = measure(search, graph)
        integers = {node.label for node in graph.nodes if node.op.startswith("Quantized")}
        # The first two products take twice as long in integers, the others half as long.
        slow = [node.label for node in search.prepared.nodes if node.output in search.default][:2]
        times = dict.fromkeys(found.nodes, 10.0)
        times |= {name: 20.0 if name in slow else 5.0 for name in integers}
        return Measured(found.outputs, times, sum(times.values()))

    monkeypatch.setattr(Search, "measure", slowed)
    made = vd.quantize(path, samples(), tolerance=0.2, threads=1)
    assert made.report is not None
    assert [node.precision for node in made.report.nodes] == ["float32"] * 2 + ["int8"] * 4
    assert made.report.nodes[0].reason == "it takes longer in integers, 30.0 us, than in float32, 10.0 us"
    assert made.recipe is not None
    assert len(made.recipe.precisions["auto"]) == 2


def test_calibration_may_be_a_stream_of_anything(path: Path) -> None:
    def stream() -> Iterator[dict[str, np.ndarray]]:
        for x in samples(20):
            yield {"x": x}

    steps: list[tuple[str, int, int]] = []
    made = vd.quantize(path, stream(), precision="fast", progress=lambda *step: steps.append(step))
    assert made.report is not None
    assert made.report.inputs == 20
    assert ("calibrate", 20, 20) in steps


def test_memory_does_not_grow_with_the_inputs(path: Path) -> None:
    def stream(count: int) -> Iterator[np.ndarray]:
        for seed in range(count):
            yield np.random.default_rng(seed).normal(0, 1, (1, 3, 64, 64)).astype(np.float32)

    net = Net(seed=4)
    x = net.op("Relu", net.op("Conv", net.input("x", 1, 3, 64, 64), net.weights(4, 3, 3, 3)))
    other = path.with_name("large.onnx")
    onnx.save(net.model(net.op("Conv", x, net.weights(4, 4, 3, 3))), other)
    peaks = []
    for count in (16, 16, 160):
        tracemalloc.start()
        vd.quantize(other, stream(count), precision="fast", method="minmax", threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 144 more inputs are 7 MB; the first run loads what is imported late.
    assert peaks[2] < peaks[1] + 500_000


def test_other_precisions(path: Path) -> None:
    x = samples(1)[0]
    original = vd.load(path)(x)
    for precision in ("float32", "bfloat16"):
        made = vd.quantize(path, samples(2), precision=precision)
        assert sqnr(original, made(x)) > 35
    # Without a recipe auto is float32, and bfloat16 needs none.
    np.testing.assert_array_equal(vd.load(path, precision="auto")(x), original)
    assert sqnr(original, vd.load(path, precision="bfloat16")(x)) > 35


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ([], "no inputs"),
        (np.zeros(()), "iterable of inputs"),
        ("folder", "iterable of inputs"),
        ([np.full((1, 3, 16, 16), np.nan, np.float32)], "NaN"),
        ([np.zeros((1, 3, 15, 16), np.float32)], "input 0.*shape"),
        ([np.zeros((1, 3, 16, 16), np.int32)], "input 0.*dtype"),
        ([{"y": np.zeros((1, 3, 16, 16), np.float32)}], "input 0.*no input is called 'y'"),
    ],
)
def test_bad_calibration_is_said(path: Path, calibration: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vd.quantize(path, calibration, precision="fast")


def test_constant_inputs_are_no_trouble(path: Path) -> None:
    made = vd.quantize(path, [np.zeros((1, 3, 16, 16), np.float32)], precision="fast")
    assert np.isfinite(made(samples(1)[0])).all()


def test_what_does_not_exist_is_said(path: Path, fast: vd.Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are 'auto'"):
        vd.quantize(path, samples(1), precision="int2")
    with pytest.raises(InputError, match="there are 'minmax'"):
        vd.quantize(path, samples(1), method="best")
    with pytest.raises(InputError, match="tolerance"):
        vd.quantize(path, samples(1), tolerance=3.0)
    with pytest.raises(InputError, match="ONNX file"):
        vd.quantize(vd.load(fast.save(tmp_path / "net.vedette")), samples(1))
    with pytest.raises(InputError, match="has no recipe"):
        vd.load(path, precision="fast")


def test_recipes_that_ship_are_for_the_models_of_their_names() -> None:
    files = [*Path(recipes.__file__).parent.glob("*.json")]
    assert len(files) == 4
    for file in files:
        recipe = read_recipe(file)
        assert recipe.model.startswith(file.stem)
        assert set(recipe.precisions) == {"auto", "fast"}
        # The product of a recogniser that has a column for each of thousands of characters.
        assert list(recipe.precisions["fast"].values()) in ([], ["bfloat16"])


def test_recipes_of_other_models_are_refused(path: Path, fast: vd.Model, tmp_path: Path) -> None:
    other = onnx.load(path)
    other.producer_name = "another"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="the recipe is for the model with SHA-256"):
        vd.load(tmp_path / "other.onnx", precision="fast", recipe=fast.recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.update(version=9), "version 9"),
        (lambda fields: fields.pop("ranges"), "lacks"),
        (lambda fields: fields["ranges"].update(x=[2, 1]), "range of 'x'"),
        (lambda fields: fields["ranges"].update(x=[0, float("nan")]), "range of 'x'"),
        (lambda fields: fields["ranges"].update(x="wide"), "pairs"),
        (lambda fields: fields["precisions"].update(auto={"y": "int3"}), "not among"),
        (lambda fields: fields.update(scales={"y": "????"}), "cannot be read"),
        (lambda fields: fields.update(moments={"y": "AAA="}), "moments"),
    ],
)
def test_wrong_recipes_are_refused(fast: vd.Model, change: Any, message: str) -> None:
    assert fast.recipe is not None
    fields = json.loads(fast.recipe.to_json())
    change(fields)
    with pytest.raises(InputError, match=message):
        parse_recipe(json.dumps(fields), "net.json")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_recipe_holds(path: Path, fast: vd.Model, data: st.DataObject) -> None:
    assert fast.recipe is not None
    text = fast.recipe.to_json()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from(list('0e9",:{}[]-x '))) + text[at + 1 :]
    try:
        recipe = parse_recipe(changed, "net.json")
        vd.load(path, precision="fast", recipe=recipe, threads=1)(samples(1)[0])
    except VedetteError:
        pass

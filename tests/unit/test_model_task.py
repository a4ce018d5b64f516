"""Any model watches: classes of frames, objects that enter and leave, and descriptions that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vedette.errors import InputError, InvalidModelError
from vedette.sources import Arrays
from vedette.watch import Event, ModelTask, Watcher
from vedette.watch.description import ModelDescription
from vedette.watch.detections import decode_yolo, suppress


def save(path: Path, nodes: list[onnx.NodeProto], output: list[int], constants: dict[str, object]) -> None:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def classifier(path: Path) -> None:
    """Scores of the classes are the means of the channels: red, green, blue."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    save(path, nodes, [1, 3], {})


def detector(path: Path) -> None:
    """One object of class "lamp", 8 pixels a side, whose centre lies where red says, in sixteenths of the
    width.
    """
    boxes = np.tile(np.array([[0], [16], [8], [8], [0], [0]], np.float32), (1, 7))[None]
    boxes[0, 4, 0] = 1
    boxes[0, 5, 1] = 0.3
    gain = np.zeros((1, 6, 7), np.float32)
    gain[0, 0, 0] = 32
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["one"]),
        helper.make_node("Mul", ["one", "gain"], ["move"]),
        helper.make_node("Add", ["move", "boxes"], ["y"]),
    ]
    shape = np.array([1, 1, 1], np.int64)
    save(path, nodes, [1, 6, 7], {"boxes": boxes, "gain": gain, "shape": shape})


def describe(folder: Path, text: str) -> Path:
    path = folder / "task.toml"
    path.write_text(text)
    return path


def watch(path: Path, frames: list[NDArray[np.uint8]]) -> list[Event]:
    events: list[Event] = []
    description = ModelDescription.load(path)
    Watcher([Arrays(frames)], lambda _: [ModelTask(description, threads=1)], on_event=events.append).run()
    return events


def plain(red: int, green: int, blue: int) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (64, 64, 3)).copy()


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_the_class_of_a_frame_is_told_when_it_changes(tmp_path: Path, engine: str) -> None:
    classifier(tmp_path / "colour.onnx")
    path = describe(
        tmp_path,
        'model = "colour.onnx"\nkind = "classification"\nlabels = ["red", "green", "blue"]\n'
        f'size = [32, 32]\nthreshold = 0.6\nonly = ["red", "green"]\nengine = "{engine}"\n',
    )
    frames = [plain(250, 0, 0), plain(240, 9, 0), plain(0, 250, 0), plain(0, 0, 255), plain(90, 0, 0)]
    told = [(event.frame, event.kind, event.text, event.previous) for event in watch(path, frames)]
    assert told == [
        (0, "label", "red", None),
        (2, "label", "green", "red"),
        (3, "gone", "green", None),
    ]


def test_objects_enter_move_and_leave(tmp_path: Path) -> None:
    detector(tmp_path / "lamps.onnx")
    path = describe(
        tmp_path,
        'name = "lamps"\nmodel = "lamps.onnx"\nkind = "detection"\nlabels = "names.txt"\nsize = [32, 32]\n'
        "patience = 0\n",
    )
    (tmp_path / "names.txt").write_text("lamp\nchair\n")
    events = watch(path, [plain(128, 128, 128), plain(136, 136, 136), plain(255, 255, 255)])
    told = [(event.frame, event.kind, event.text) for event in events]
    assert told == [(0, "entered", "lamp"), (2, "left", "lamp"), (2, "entered", "lamp")]
    assert events[0].task == "lamps"
    # In the frame, which is twice as large as the network's input.
    assert events[0].box == pytest.approx((24.1, 24, 40.1, 40), abs=0.3)


def test_overlapping_boxes_of_a_class_are_one_object() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 0, 40, 10]], float)
    scores, labels = np.array([0.8, 0.9, 0.7, 0.5]), np.array([0, 0, 1, 0])
    assert suppress(boxes, scores, labels, overlap=0.5, most=10) == [1, 2, 3]
    assert suppress(boxes, scores, labels, overlap=0.9, most=2) == [1, 0]
    assert suppress(boxes[:0], scores[:0], labels[:0], overlap=0.5, most=2) == []


def test_both_layouts_and_objectness_of_heads() -> None:
    rows = np.zeros((9, 7), np.float32)
    rows[3] = [50, 40, 20, 10, 0.5, 0.1, 0.9]
    for output in (rows[None], rows.T[None]):
        boxes, scores, labels = decode_yolo(output, objectness=True, threshold=0.3)
        assert boxes.tolist() == [[40, 35, 60, 45]]
        assert scores.tolist() == pytest.approx([0.45])
        assert labels.tolist() == [1]
    boxes, scores, labels = decode_yolo(rows[None], objectness=False, threshold=0.3)
    assert labels.tolist() == [2]
    with pytest.raises(InvalidModelError, match="expected an output"):
        decode_yolo(rows[None, :, :4], objectness=False, threshold=0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "Invalid value"),
        ('model = "m.onnx"', "kind, labels, size must be given"),
        ('colour = "red"', "colour: not known"),
        ('model = "m"\nkind = "guess"\nlabels = []\nsize = [1, 1]', "kind is 'guess'"),
        ('model = "m"\nkind = "detection"\nlabels = "none.txt"\nsize = [1, 1]', "No such file"),
        ('model = "m"\nkind = "detection"\nlabels = ["a"]\nsize = [0, 9]', "size is 0 by 9"),
        ('model = "m"\nkind = "detection"\nlabels = ["a"]\nsize = [8, 8]\nonly = ["b"]', "which is no label"),
        ('model = "m"\nkind = "detection"\nlabels = ["a"]\nsize = [8, 8]\nmean = [1]', "three values"),
    ],
)
def test_wrong_descriptions_are_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModelDescription.load(describe(tmp_path, text))
    with pytest.raises(InputError, match="No such file"):
        ModelDescription.load(tmp_path / "missing.toml")

"""Any model as a task: what class a frame is of, what objects enter and leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vedette.errors import InvalidModelError
from vedette.image import Preprocess
from vedette.model import load
from vedette.ocr.change import Change
from vedette.sources.frame import Frame
from vedette.store.records import Box
from vedette.watch.description import ModelDescription
from vedette.watch.detections import decode_yolo, suppress
from vedette.watch.events import Event, Track
from vedette.watch.task import Held, Task

__all__ = ["ModelTask"]

_MOST_OBJECTS = 300
_SAME_OBJECT = 0.3
"""Least intersection over union of an object in two frames that were processed one after the other."""


class ModelTask(Task):
    """Reports the class of a frame when it changes, or objects that enter and leave.

    Parameters
    ----------
    description
        Of the model and its use.
    threads
        For the model; None for the default.
    """

    def __init__(self, description: ModelDescription, *, threads: int | None = None) -> None:
        self.name = description.name
        self._description = description
        self._model: Any = load(description.model, threads=threads, engine=description.engine)
        self._prepare = Preprocess(
            description.size,
            fit=description.fit,
            mean=description.mean,
            std=description.deviation,
            scale=description.scale,
        )
        self._tracks: list[Track] = []

    @property
    def models(self) -> Sequence[Held]:
        """The model."""
        return [self._model]

    def process(self, source: str, frame: Frame, change: Change | None) -> list[Event]:
        """Run the model and compare with what it said before."""
        del change
        pixels = np.ascontiguousarray(frame.rgb())
        output = self._model(self._prepare(pixels))
        output = np.asarray(output[0] if isinstance(output, tuple) else output)
        if self._description.kind == "classification":
            return self._classify(source, frame, output)
        return self._detect(source, frame, output)

    def _classify(self, source: str, frame: Frame, output: Any) -> list[Event]:
        labels = self._description.labels
        scores = output.reshape(-1).astype(np.float64)
        if len(scores) != len(labels):
            raise InvalidModelError(
                f"{self.name}: the model gives {len(scores)} scores for {len(labels)} labels"
            )
        if self._description.softmax:
            powers = np.exp(scores - scores.max())
            scores = powers / powers.sum()
        best = int(scores.argmax())
        before = self._tracks[0] if self._tracks else None
        sure = scores[best] >= self._description.threshold and self._is_wanted(best)
        text = labels[best] if sure else ""
        if text == (before.text if before is not None else ""):
            return []
        if not text:
            assert before is not None
            self._tracks = []
            return [Event.of("gone", frame, before)]
        track = Track(source, self.name, "label", text, frame.at, None, float(scores[best]))
        self._tracks = [track]
        return [Event.of("label", frame, track, before)]

    def _detect(self, source: str, frame: Frame, output: Any) -> list[Event]:
        description = self._description
        boxes, scores, labels = decode_yolo(
            output, objectness=description.objectness, threshold=description.threshold
        )
        kept = suppress(boxes, scores, labels, overlap=description.overlap, most=_MOST_OBJECTS)
        if len(labels) and labels.max() >= len(description.labels):
            raise InvalidModelError(
                f"{self.name}: the model has a class {labels.max()}, but {len(description.labels)} labels"
            )
        inverse = self._prepare.transform((frame.height, frame.width))
        found = []
        for index in kept:
            if self._is_wanted(int(labels[index])):
                corners = np.asarray(inverse.inverse(boxes[index].reshape(2, 2)))
                limit = (frame.width, frame.height)
                (left, top), (right, bottom) = corners.clip(0, limit).tolist()
                name = description.labels[int(labels[index])]
                box = (left, top, right, bottom)
                found.append(Track(source, self.name, "object", name, frame.at, box, float(scores[index])))
        return self._follow(frame, found)

    def _follow(self, frame: Frame, found: list[Track]) -> list[Event]:
        """Match with the objects of the frame before, the closest pairs first."""
        pairs = sorted(
            (
                (_iou(old.box, new.box), i, j)
                for i, old in enumerate(self._tracks)
                for j, new in enumerate(found)
                if old.text == new.text
            ),
            reverse=True,
        )
        old_taken: set[int] = set()
        new_taken: set[int] = set()
        for shared, i, j in pairs:
            if shared < _SAME_OBJECT:
                break
            if i not in old_taken and j not in new_taken:
                old_taken.add(i)
                new_taken.add(j)
                self._tracks[i].box, self._tracks[i].missed = found[j].box, 0
        events = []
        staying = []
        for i, track in enumerate(self._tracks):
            if i not in old_taken:
                track.missed += 1
                if track.missed > self._description.patience:
                    events.append(Event.of("left", frame, track))
                    continue
            staying.append(track)
        for j, track in enumerate(found):
            if j not in new_taken:
                events.append(Event.of("entered", frame, track))
                staying.append(track)
        self._tracks = staying
        return events

    def _is_wanted(self, label: int) -> bool:
        only: Sequence[str] = self._description.only
        return not only or self._description.labels[label] in only


def _iou(a: Box | None, b: Box | None) -> float:
    if a is None or b is None:
        return 0.0
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    return shared / total if total > 0 else 0.0

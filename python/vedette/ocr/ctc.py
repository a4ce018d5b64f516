"""Characters from the steps of a CTC network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InvalidModelError

BLANK = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """Characters, their mean score, and the step at which each begins."""

    text: str
    score: float
    steps: tuple[int, ...]


def alphabet(listing: str) -> list[str]:
    """The class names of a model from its list of characters: the blank first, the space last."""
    characters = listing.split("\n")
    if characters[-1] == "":
        characters.pop()
    return ["", *(character.rstrip("\r") for character in characters), " "]


def collapse(classes: NDArray[np.uint32], scores: NDArray[np.float32], names: Sequence[str]) -> Decoded:
    """Drop repetitions and blanks from the best classes of a sequence (Graves et al., 2006, section 3.1)."""
    kept = classes != BLANK
    kept[1:] &= classes[1:] != classes[:-1]
    steps = np.flatnonzero(kept)
    if len(steps) == 0:
        return Decoded("", 0.0, ())
    characters = classes[steps]
    if characters.max() >= len(names):
        raise InvalidModelError(
            f"the recogniser has a class {characters.max()} but a character list of {len(names)} classes"
        )
    pieces = [names[index] for index in characters.tolist()]
    # A class may stand for several code points; its step counts for each of them.
    spread = [step for step, piece in zip(steps.tolist(), pieces, strict=True) for _ in piece]
    return Decoded("".join(pieces), float(scores[steps].mean(dtype=np.float64)), tuple(spread))

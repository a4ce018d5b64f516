"""What reading asks of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vedette.model import Port


class Network(Protocol):
    """A model of one input and one output."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model file says about itself."""

    @property
    def inputs(self) -> Sequence[Port]:
        """Name, type and shape of the input."""

    def __call__(self, x: NDArray[np.float32] | NDArray[np.uint8], /) -> Any:
        """The output for an input."""

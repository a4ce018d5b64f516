"""What reading asks of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Network(Protocol):
    """A model of one input and one output."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model file says about itself."""

    def __call__(self, x: NDArray[np.float32], /) -> Any:
        """The output for an input."""

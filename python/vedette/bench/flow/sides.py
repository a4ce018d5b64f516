"""The sides that a worker of the group flow can take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from vedette.bench.flow import loads
from vedette.bench.flow.arrivals import under_arrivals
from vedette.bench.flow.batchers import BATCHERS

SIDES: dict[str, Callable[..., Any]] = {
    **loads.SIDES,
    **{f"arrivals-{name}": partial(under_arrivals, name) for name in BATCHERS},
}

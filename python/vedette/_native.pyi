"""The native core. The faces in ``vedette`` validate and document; this is for them to call."""

from collections.abc import Sequence
from typing import Any, TypedDict, final

from numpy.typing import NDArray

__all__ = [
    "Engine",
    "available_isas",
    "cpu_features",
    "effective_cores",
    "get_num_threads",
    "isa",
    "set_num_threads",
    "supported_operators",
]

# runtime

def available_isas() -> list[str]: ...
def cpu_features() -> dict[str, bool]: ...
def effective_cores() -> int: ...
def get_num_threads() -> int: ...
def isa() -> str: ...
def set_num_threads(threads: int) -> None: ...

# engine

class _ProfileEntry(TypedDict):
    name: str
    op: str
    shape: list[int]
    microseconds: float
    multiply_accumulates: int
    bytes: int

class _MemoryUse(TypedDict):
    constants: int
    packed: int
    arena: int
    plans: int

@final
class Engine:
    """A program ready to run, on ``threads`` threads (0: the default); any thread may call it."""

    def __new__(
        cls,
        program: str,
        constants: Sequence[NDArray[Any]],
        threads: int = 0,
        isa: str | None = None,
        memory_limit: int | None = None,
    ) -> Engine: ...
    def run(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the program; inputs may have any strides, outputs are new arrays in C order."""

    def profile(self, inputs: Sequence[NDArray[Any]]) -> tuple[list[NDArray[Any]], list[_ProfileEntry]]:
        """Run the program; its outputs, and what each node took."""

    def memory(self) -> _MemoryUse:
        """Bytes of the constants as given, packed for the kernels, of working memory, and kept with plans."""

    def plan_microseconds(self, inputs: Sequence[NDArray[Any]]) -> float:
        """Plan for inputs of these shapes anew, and tell how long it took."""

def supported_operators() -> list[str]: ...

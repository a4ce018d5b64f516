"""The native core. The faces in ``vedette`` validate and document; this is for them to call."""

from collections.abc import Sequence
from typing import Any, TypedDict, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Engine",
    "available_isas",
    "best_classes",
    "composite",
    "cpu_features",
    "crop_lines",
    "decode_image",
    "decode_image_file",
    "effective_cores",
    "encode_image",
    "find_text_boxes",
    "get_num_threads",
    "isa",
    "resize_normalize",
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

# image

def decode_image(data: bytes, background_color: tuple[int, int, int] | None) -> NDArray[np.uint8]: ...
def decode_image_file(path: str, background_color: tuple[int, int, int] | None) -> NDArray[np.uint8]: ...
def composite(
    rgba: NDArray[np.uint8], background_color: tuple[int, int, int] | None
) -> NDArray[np.uint8]: ...
def encode_image(image: NDArray[np.uint8], extension: str, quality: int) -> bytes: ...
def resize_normalize(
    image: NDArray[np.uint8],
    out: NDArray[np.float32],
    mean: tuple[float, float, float],
    deviation: tuple[float, float, float],
    bgr: bool,
    threads: int,
) -> None: ...
def crop_lines(
    image: NDArray[np.uint8],
    quads: NDArray[np.float32],
    widths: Sequence[int],
    out: NDArray[np.float32],
    mean: tuple[float, float, float],
    deviation: tuple[float, float, float],
    bgr: bool,
    threads: int,
) -> None: ...

# text

def find_text_boxes(
    map: NDArray[np.float32],
    threshold: float,
    box_threshold: float,
    unclip_ratio: float,
    min_side: float,
    max_candidates: int,
    dilate: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
def best_classes(
    values: NDArray[np.float32], threads: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]: ...

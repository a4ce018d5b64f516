"""The native core. The faces in ``vedette`` validate and document; this is for them to call."""

import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import disjoint_base

__all__ = [
    "Arena",
    "Buffer",
    "BufferPool",
    "ChangeGate",
    "CpuThrottle",
    "Engine",
    "Preprocess",
    "PressureMonitor",
    "WorkerPool",
    "absdiff",
    "add",
    "argmax",
    "array_ranges",
    "as_array",
    "available_isas",
    "blur",
    "composite",
    "conv2d",
    "convert_color",
    "copy_image",
    "cpu_features",
    "crop_lines",
    "decode_image",
    "decode_image_file",
    "dequantize_array",
    "divide",
    "effective_cores",
    "encode_image",
    "find_text_boxes",
    "from_halves",
    "get_num_threads",
    "histogram",
    "isa",
    "letterbox_image",
    "map_file",
    "matmul",
    "memory_pressure",
    "multiply",
    "normalize",
    "otsu_threshold",
    "pool2d",
    "process_clocks",
    "quantize_array",
    "reduce",
    "resize_image",
    "scale",
    "set_num_threads",
    "softmax",
    "subtract",
    "supported_operators",
    "threshold",
    "threshold_adaptive",
    "tile_hashes",
    "to_gray",
    "to_halves",
    "trim_heap",
    "warp",
]

# runtime

def available_isas() -> list[str]: ...
def cpu_features() -> dict[str, bool]: ...
def effective_cores() -> int: ...
def get_num_threads() -> int: ...
def isa() -> str: ...
def process_clocks() -> tuple[float, float]: ...
def set_num_threads(threads: int) -> None: ...

@final
class CpuThrottle:
    """A post-paid bucket of CPU seconds, for which native work of the threads that entered it waits."""

    def __new__(cls, rate: float, burst: float, wall: float, cpu: float) -> CpuThrottle: ...
    def settle(self, wall: float, cpu: float) -> tuple[float, float]:
        """Take note of the clocks; the level in CPU seconds, and the seconds until nothing is owed."""

    def set_rate(self, rate: float, burst: float) -> None: ...
    def enter(self) -> None:
        """Native work of this thread waits from here on."""

    def leave(self) -> bool:
        """Undo the last ``enter`` on this thread; whether there was one."""

    @property
    def paused_s(self) -> float:
        """Seconds that native work has waited, summed over threads."""

@final
class WorkerPool:
    """Threads that run tasks and steal them from each other."""

    def __new__(
        cls,
        name: str,
        threads: int,
        affinity: Sequence[Sequence[int]] | None,
        nice: int | None,
        idle: bool,
    ) -> WorkerPool: ...
    def submit(self, task: Callable[[], object]) -> bool:
        """Have a worker call the task; False where the pool is closed."""

    def close(self) -> None:
        """Let workers end once they have run what is queued."""

    def join(self, timeout_s: float) -> bool:
        """Wait for the workers of a closed pool; whether they have ended."""

    def facts(self) -> tuple[int, int, list[tuple[int, int, float, float, float, list[int]]]]:
        """Tasks queued and running; by worker tasks, steals, seconds busy, idle and of CPU, and cores."""

# engine

class _ProfileEntry(TypedDict):
    name: str
    op: str
    shape: list[int]
    microseconds: float
    multiply_accumulates: int
    precision: str
    bytes: int

class _MemoryUse(TypedDict):
    constants: int
    packed: int
    arena: int
    plans: int

@final
class Engine:
    """A program ready to run, on ``threads`` threads (0: the default); any thread may call it.

    Steps on larger maps run some rows at a time, so many that they touch ``strip_bytes`` (0: whole maps).
    ``mapped`` leaves large read-only constants where they are until the first run: nobody writes them.
    """

    def __new__(
        cls,
        program: str,
        constants: Sequence[NDArray[Any]],
        threads: int = 0,
        isa: str | None = None,
        memory_limit: int | None = None,
        strip_bytes: int | None = None,
        mapped: bool = False,
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

def decode_image(
    data: bytes, background_color: tuple[int, int, int] | None, shrink: int
) -> NDArray[np.uint8]: ...
def decode_image_file(
    path: str, background_color: tuple[int, int, int] | None, shrink: int
) -> NDArray[np.uint8]: ...
def composite(
    rgba: NDArray[np.uint8], background_color: tuple[int, int, int] | None
) -> NDArray[np.uint8]: ...
def encode_image(image: NDArray[np.uint8], extension: str, quality: int) -> NDArray[np.uint8]: ...
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

@final
class ChangeGate:
    """Keeps the frame processed last and marks the tiles in which another differs from it."""

    def __new__(cls, tile: int, luma: bool, isa: str | None = None) -> ChangeGate: ...
    def compare(self, image: Any) -> int: ...
    def accept(self, image: Any) -> None: ...
    def mask(self) -> NDArray[np.bool_]: ...
    def equals(
        self, image: Any, rectangles: Sequence[tuple[int, int, int, int]], offset: tuple[int, int]
    ) -> list[bool]: ...
    def moves(self, image: Any) -> list[tuple[int, int, int]]: ...
    def reset(self) -> None: ...
    @property
    def noise(self) -> float: ...
    @property
    def nbytes(self) -> int: ...

def tile_hashes(image: Any, tile: int) -> NDArray[np.uint64]: ...

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

# memory

class _PoolFacts(TypedDict):
    name: str
    capacity_bytes: int | None
    current_bytes: int
    peak_bytes: int
    total_bytes: int
    held_bytes: int
    huge_page_bytes: int
    hits: int
    misses: int
    page_faults: int
    major_page_faults: int
    classes: list[tuple[int | None, int, int]]

@disjoint_base
class BufferPool:
    """A pool of recycled blocks; ``of_process`` for the one that all share."""

    def __new__(
        cls,
        capacity_bytes: int | None = None,
        leak_tracking: str = "off",
        *,
        sample_every: int = 64,
        trim_after_s: float = 10.0,
        debug: bool = False,
        name: str = "",
        of_process: bool = False,
    ) -> Self: ...
    def acquire(self, n: int) -> Buffer:
        """Take a block of ``n`` bytes; what it holds is left over from its last use."""

    def empty(self, shape: int | Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Make an array in C order over a block, which comes back when the array's last view dies."""

    def trim(self, *, older_than_s: float = 0.0) -> int:
        """Give blocks that have been free for so long back to the system; the bytes given back."""

    def reset_peak(self) -> None:
        """Start ``peak_bytes`` anew from what is in use now."""

    def violations(self) -> list[str]:
        """Writes past the end or after the release of a block that the debug mode found."""

    def facts(self) -> _PoolFacts: ...
    def outstanding(
        self, older_than_s: float
    ) -> list[tuple[int, int, float, list[tuple[str, int, str]]]]: ...

@final
class Buffer:
    """A block of a pool: writable bytes behind the buffer protocol, 64-byte aligned."""

    @property
    def nbytes(self) -> int:
        """Bytes that were asked for."""

    @property
    def released(self) -> bool:
        """Whether the block has gone back."""

    def release(self) -> None:
        """Give the block back; a LeaseError if that has happened or views of it are alive."""

    def __len__(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None: ...
    if sys.version_info >= (3, 12):
        # Before, the buffer protocol had no names in Python.
        def __buffer__(self, flags: int, /) -> memoryview: ...
        def __release_buffer__(self, buffer: memoryview, /) -> None: ...

@final
class Arena:
    """Memory handed out in turn from one block and given up all at once."""

    def __new__(cls, capacity_bytes: int) -> Self: ...
    def empty(self, shape: int | Sequence[int], dtype: DTypeLike, *, align: int = 64) -> NDArray[Any]:
        """Make an array in C order of the next free bytes that start at a multiple of ``align``."""

    def reset(self) -> None:
        """Make all bytes free again; a LeaseError while arrays of the arena are alive."""

    def detach(self) -> None:
        """Make all bytes free again, in a new block where arrays are alive: they keep the old one."""

    @property
    def capacity_bytes(self) -> int:
        """Bytes the arena has."""

    @property
    def used_bytes(self) -> int:
        """Bytes used, gaps between arrays included."""

    @property
    def peak_bytes(self) -> int:
        """The most bytes that were used between two resets."""

    @property
    def arrays(self) -> int:
        """Arrays that are alive and would keep ``reset`` from succeeding."""

_PressureFacts = tuple[int, int, str, float | None, float | None]
_Level = Literal["normal", "warning", "critical"]

@disjoint_base
class PressureMonitor:
    """A thread that sleeps until memory gets short."""

    def __new__(
        cls,
        callback: Callable[[_Level], object] | None,
        *,
        warning: float,
        critical: float,
        trim: bool,
        root: str | os.PathLike[str],
        process_limit_bytes: int | None,
    ) -> Self: ...
    @property
    def level(self) -> _Level:
        """How short memory is."""

    @property
    def running(self) -> bool:
        """Whether the thread goes on; in a forked child it does not."""

    @property
    def trimmed_bytes(self) -> int:
        """Bytes of pools given back to the system so far."""

    def wake(self) -> None:
        """Have the thread measure now instead of later."""

    def close(self) -> None:
        """End the thread and wait for it."""

    def facts(self) -> _PressureFacts: ...

def map_file(
    path: str | os.PathLike[str], dtype: DTypeLike, shape: int | Sequence[int] | None, offset: int
) -> NDArray[Any]: ...
def trim_heap() -> None: ...
def memory_pressure(root: str | os.PathLike[str]) -> tuple[_Level, _PressureFacts]: ...

# images

def resize_image(
    image: Any,
    size: tuple[int, int],
    filter: str,
    antialias: bool,
    profile: str,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> NDArray[Any]: ...
def letterbox_image(
    image: Any,
    size: tuple[int, int],
    filter: str,
    antialias: bool,
    profile: str,
    fill: float,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> tuple[NDArray[Any], tuple[tuple[float, float], tuple[float, float]]]: ...
def to_gray(
    image: Any, profile: str, out: Any = None, threads: int = 0, isa: str | None = None
) -> NDArray[Any]: ...
def threshold(
    gray: Any, value: float, maximum: float, out: Any = None, threads: int = 0, isa: str | None = None
) -> NDArray[Any]: ...
def threshold_adaptive(
    gray: Any,
    size: int,
    gaussian: bool,
    offset: float,
    maximum: int,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> NDArray[Any]: ...
def otsu_threshold(gray: Any, threads: int = 0) -> int: ...
def histogram(image: Any, channel: int, threads: int = 0) -> NDArray[np.uint64]: ...
def normalize(
    x: Any,
    mean: Sequence[float],
    std: Sequence[float],
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> NDArray[np.float32]: ...
def absdiff(a: Any, b: Any, out: Any = None, threads: int = 0, isa: str | None = None) -> NDArray[Any]: ...
def convert_color(
    image: Any, source: str, target: str, out: Any = None, threads: int = 0, isa: str | None = None
) -> NDArray[Any]: ...
def as_array(object: Any) -> NDArray[Any]: ...
def copy_image(image: Any, out: Any = None, threads: int = 0) -> NDArray[Any]: ...
def warp(
    image: Any,
    matrix: Sequence[Sequence[float]],
    size: tuple[int, int],
    nearest: bool,
    fill: float,
    forward: bool,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> NDArray[Any]: ...
def blur(
    image: Any,
    size: tuple[int, int],
    sigma: tuple[float, float] | None = None,
    replicate: bool = False,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> NDArray[Any]: ...

@final
class Preprocess:
    """Frames to batches; scale and offset apply to levels, one a channel."""

    def __new__(
        cls,
        size: tuple[int, int],
        fit: str,
        filter: str,
        antialias: bool,
        profile: str,
        scale: Sequence[float],
        offset: Sequence[float],
        fill: float,
        planar: bool,
        dtype: str,
        source: str,
    ) -> Preprocess: ...
    def run(
        self, frames: Sequence[Any], out: Any = None, threads: int = 0, isa: str | None = None
    ) -> NDArray[Any]: ...
    def transform(self, size: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]: ...

# tensors

def add(a: Any, b: Any, out: Any = None, threads: int = 0, isa: str | None = None) -> NDArray[Any]: ...
def subtract(a: Any, b: Any, out: Any = None, threads: int = 0, isa: str | None = None) -> NDArray[Any]: ...
def multiply(a: Any, b: Any, out: Any = None, threads: int = 0, isa: str | None = None) -> NDArray[Any]: ...
def divide(a: Any, b: Any, out: Any = None, threads: int = 0, isa: str | None = None) -> NDArray[Any]: ...
def scale(
    x: Any, factor: float, out: Any = None, threads: int = 0, isa: str | None = None
) -> NDArray[Any]: ...
def matmul(a: Any, b: Any, out: Any = None, threads: int = 0, isa: str | None = None) -> Any: ...
def conv2d(
    x: Any,
    weight: Any,
    bias: Any | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> NDArray[np.float32]: ...
def pool2d(
    x: Any,
    average: bool,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool,
    count_padding: bool,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> NDArray[np.float32]: ...
def softmax(x: Any, axis: int, out: Any = None, threads: int = 0, isa: str | None = None) -> NDArray[Any]: ...
def reduce(
    op: str,
    x: Any,
    axes: Sequence[int] | None,
    keepdims: bool = False,
    out: Any = None,
    threads: int = 0,
    isa: str | None = None,
) -> Any: ...
def argmax(x: Any, axis: int, keepdims: bool = False, out: Any = None, threads: int = 0) -> Any: ...

# quantization

def array_ranges(
    x: NDArray[np.float32],
    columns: int,
    by_column: bool,
    count: int,
    threads: int = 0,
    isa: str | None = None,
) -> list[NDArray[np.float32]] | None:
    """Least and greatest element by scale, widened to hold zero; None where one is NaN or infinite.

    The array is seen as rows; there is a scale for each column, or for each row, over and over again.
    """

def quantize_array(
    x: NDArray[np.float32],
    columns: int,
    by_column: bool,
    scale: NDArray[np.float32],
    zero_point: NDArray[np.float32],
    dtype: str,
    out: NDArray[np.uint8],
    threads: int = 0,
    isa: str | None = None,
) -> None:
    """Round to ``int8``, ``uint8``, ``int4`` or ``uint4``, of which two share a byte."""

def dequantize_array(
    q: NDArray[np.uint8],
    columns: int,
    by_column: bool,
    scale: NDArray[np.float32],
    zero_point: NDArray[np.float32],
    dtype: str,
    out: NDArray[np.float32],
    threads: int = 0,
    isa: str | None = None,
) -> None:
    """The real numbers of such integers."""

def to_halves(
    x: NDArray[np.float32],
    dtype: str,
    out: NDArray[np.uint16],
    threads: int = 0,
    isa: str | None = None,
) -> None:
    """The bits of the nearest ``float16`` or ``bfloat16``."""

def from_halves(
    bits: NDArray[np.uint16],
    dtype: str,
    out: NDArray[np.float32],
    threads: int = 0,
    isa: str | None = None,
) -> None:
    """The float32 of the bits of ``float16`` or ``bfloat16``."""

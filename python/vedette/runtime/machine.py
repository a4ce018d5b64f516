"""What the native core runs on: the CPU, the level of instructions chosen for it, its threads."""

from __future__ import annotations

import operator
import os

from vedette import _native
from vedette.errors import InputError

__all__ = [
    "available_isas",
    "backend",
    "check_environment",
    "cpu_features",
    "effective_cores",
    "get_num_threads",
    "isa",
    "set_num_threads",
]

ISAS = ("scalar", "avx2", "avx512", "amx")
"""The levels kernels are built for, weakest first, whether or not this CPU has them."""

BACKENDS = ("native", "numpy")

MAX_THREADS = 1024
"""Most threads one computation is split over."""


def cpu_features() -> dict[str, bool]:
    """Whether the CPU has each group of instructions that kernels are built for."""
    return _native.cpu_features()


def available_isas() -> list[str]:
    """Every level this CPU can run, weakest first."""
    return _native.available_isas()


def isa() -> str:
    """The level in use: the best this CPU has, capped by ``VEDETTE_ISA``."""
    check_environment()
    return _native.isa()


def backend() -> str:
    """What computes where there is a choice: ``native``, or NumPy's references where ``VEDETTE_BACKEND``
    says so.
    """
    return os.environ.get("VEDETTE_BACKEND") or "native"


def effective_cores() -> int:
    """Cores this process may use: its affinity mask or its cgroup's quota, whichever is smaller."""
    return _native.effective_cores()


def get_num_threads() -> int:
    """Threads a computation uses unless told otherwise."""
    check_environment()
    return _native.get_num_threads()


def set_num_threads(threads: int | None) -> None:
    """Set the threads a computation uses unless told otherwise; None restores the default.

    Raises
    ------
    InputError
        ``threads`` is not between 1 and 1024.
    """
    if threads is None:
        _native.set_num_threads(0)
        return
    count = operator.index(threads)
    if not 1 <= count <= MAX_THREADS:
        raise InputError(f"threads must be between 1 and {MAX_THREADS}, got {count}")
    _native.set_num_threads(count)


def check_environment() -> None:
    """Report environment variables that the core would have to ignore.

    Raises
    ------
    InputError
        ``VEDETTE_ISA`` is no level's name, ``VEDETTE_BACKEND`` no backend's, or ``VEDETTE_THREADS`` no
        number of threads.
    """
    level = os.environ.get("VEDETTE_ISA")
    if level and level not in ISAS:
        raise InputError(f"VEDETTE_ISA is {level!r}; it can be {', '.join(ISAS[:-1])} or {ISAS[-1]}")
    if backend() not in BACKENDS:
        raise InputError(f"VEDETTE_BACKEND is {backend()!r}; it can be {' or '.join(BACKENDS)}")
    threads = os.environ.get("VEDETTE_THREADS")
    if not threads:
        return
    if not (threads.isascii() and threads.isdecimal() and 1 <= int(threads) <= MAX_THREADS):
        raise InputError(f"VEDETTE_THREADS is {threads!r}; it must be a number from 1 to {MAX_THREADS}")

"""What work runs on and how much of it: the CPU, threads, pools of tasks, and a budget.

``VEDETTE_ISA`` caps the level of instructions (``scalar``, ``avx2``, ``avx512``, ``amx``) and
``VEDETTE_THREADS`` sets the number of threads; both are read once, when the core first needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vedette.lazy import lazy_attributes
from vedette.runtime.machine import (
    BACKENDS,
    ISAS,
    MAX_THREADS,
    available_isas,
    backend,
    check_environment,
    cpu_features,
    effective_cores,
    get_num_threads,
    isa,
    set_num_threads,
)

if TYPE_CHECKING:
    from vedette.runtime.budget import Budget, BudgetStats
    from vedette.runtime.pool import Runtime, RuntimeStats, Task, WorkerStats, default_runtime

__all__ = [
    "BACKENDS",
    "ISAS",
    "MAX_THREADS",
    "Budget",
    "BudgetStats",
    "Runtime",
    "RuntimeStats",
    "Task",
    "WorkerStats",
    "available_isas",
    "backend",
    "check_environment",
    "cpu_features",
    "default_runtime",
    "effective_cores",
    "get_num_threads",
    "isa",
    "set_num_threads",
]

# Every command imports this module, and most need neither asyncio nor NumPy for it.
__getattr__ = lazy_attributes(
    __name__,
    {
        "Budget": "vedette.runtime.budget",
        "BudgetStats": "vedette.runtime.budget",
        "Runtime": "vedette.runtime.pool",
        "RuntimeStats": "vedette.runtime.pool",
        "Task": "vedette.runtime.pool",
        "WorkerStats": "vedette.runtime.pool",
        "default_runtime": "vedette.runtime.pool",
    },
)

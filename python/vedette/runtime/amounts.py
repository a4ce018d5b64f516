"""Amounts as users write them: a share of the machine or cores, bytes with a unit."""

from __future__ import annotations

import re

from vedette.errors import InputError

_NUMBER = r"(\d+(?:\.\d+)?)"
_CPU = re.compile(rf"{_NUMBER}\s*(%|cores?)")
_BYTES = re.compile(rf"{_NUMBER}\s*(B|[KMGT]i?B)", re.IGNORECASE)
_POWER = {"K": 1, "M": 2, "G": 3, "T": 4}


def cores_of(cpu: str, machine_cores: float) -> float:
    """Cores that an amount like ``"25%"`` (of all cores of the machine) or ``"1.5 cores"`` stands for.

    Raises
    ------
    InputError
        It is neither, or not above 0, or more than the machine has.
    """
    found = _CPU.fullmatch(cpu.strip()) if isinstance(cpu, str) else None
    if found is None:
        raise InputError(
            f'a CPU budget is a share of the whole machine ("25%") or cores ("1.5 cores"), got {cpu!r}'
        )
    amount = float(found[1])
    cores = amount / 100 * machine_cores if found[2] == "%" else amount
    if not 0 < cores <= machine_cores:
        raise InputError(
            f"a CPU budget must be above 0 and within the {machine_cores:g} cores "
            f"this process may use (100%), got {cpu!r}"
        )
    return cores


def bytes_of(memory: int | str) -> int:
    """Bytes that a number or an amount like ``"500MB"`` (powers of 1000) or ``"2GiB"`` (of 1024) stands for.

    Raises
    ------
    InputError
        It is neither, or not above 0.
    """
    if isinstance(memory, str):
        found = _BYTES.fullmatch(memory.strip())
        if found is None:
            raise InputError(f'a memory budget is a number of bytes or text like "500MB", got {memory!r}')
        unit = found[2].upper()
        base = 1024 if "I" in unit else 1000
        count = int(float(found[1]) * base ** _POWER.get(unit[0], 0))
    else:
        count = int(memory)
    if count <= 0:
        raise InputError(f"a memory budget must be above 0, got {memory!r}")
    return count

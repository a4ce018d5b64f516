"""Does every one of ONNX's backend tests pass, or is its model refused by name?"""

from collections import Counter
from collections.abc import Callable

import pytest
from onnx_backend_suite import KINDS, Outcome, cases, run

_outcomes: dict[tuple[str, str], Outcome] = {}


def outcome(kind: str, name: str) -> Outcome:
    if (kind, name) not in _outcomes:
        _outcomes[kind, name] = run(cases(kind)[name])
    return _outcomes[kind, name]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in cases(kind)])
def test_case_passes_or_is_refused_by_name(kind: str, name: str) -> None:
    found = outcome(kind, name)
    # Which element type, operator or node it is that the engine does not have.
    assert found.status == "passed" or "'" in found.reason or '"' in found.reason


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_enough_cases_pass(record_property: Callable[[str, object], None]) -> None:
    counts: Counter[str] = Counter(outcome(kind, name).status for kind in KINDS for name in cases(kind))
    for status, count in counts.items():
        record_property(f"onnx_backend_{status}", count)
    assert counts["passed"] >= 1500

"""Rows of the group flow: a figure, its target, how far it is reached; and what is drawn of budgets."""

from pathlib import Path

import pytest

from vedette.bench.charts import draw
from vedette.bench.flow import budget, pipelines
from vedette.bench.target import HEADER, Target


@pytest.mark.parametrize(
    ("measured", "target", "at_least", "ratio", "met"),
    [
        (100.0, 50.0, True, 2.0, True),
        (40.0, 50.0, True, 0.8, False),
        (5.0, 10.0, False, 2.0, True),
        (20.0, 10.0, False, 0.5, False),
        (0.0, 0.0, False, None, True),
        (3.0, 0.0, False, 0.0, False),
    ],
)
def test_a_row_says_how_far_its_target_is_reached(
    measured: float, target: float, at_least: bool, ratio: float | None, met: bool
) -> None:
    row = Target("a case", measured, "x", target, at_least, "a note")
    facts = row.to_dict()
    assert (facts["group"], facts["target"], facts["ratio"], facts["met"]) == ("flow", target, ratio, met)
    assert ("MISSED" in row.line()) is not met
    assert row.line().endswith("a note")
    assert row.line().index("a case") == HEADER.index("case")


def test_a_budget_is_judged_by_its_worst_ten_seconds_and_drawn(tmp_path: Path) -> None:
    record = {
        "job": "synthetic",
        "share": 25,
        "compete": True,
        "allowed_cores": 0.5,
        "windows": [(2.0, 0.5), (2.5, 0.44), (3.0, 0.51)],
        "least": 0.88,
        "most": 1.02,
        "others_cores": 0.0,
        "starved": False,
    }
    row = budget.target(record)
    assert row.measured == pytest.approx(12)
    assert not row.met
    facts = row.to_dict()
    (drawn,) = draw([facts, facts | {"compete": False, "allowed_cores": 1.2}], tmp_path)
    assert drawn.name == "budget.svg"
    assert "another process busy" in drawn.read_text()


def test_memory_stays_where_it_is_while_a_consumer_takes_nothing() -> None:
    grown = pipelines.stalled_consumer()
    assert grown.target == 1.0
    # Frames are 6 MB; the rest is what the interpreter takes while it waits.
    assert grown.measured < 6.0


@pytest.mark.parametrize("every_s", [0.5, 1.3])
def test_ten_seconds_are_found_however_late_samples_are(every_s: float) -> None:
    # A core for the first ten seconds, then half of one.
    walls = [step * every_s for step in range(round(24 / every_s))]
    samples = [(wall, min(wall, 10.0) + 0.5 * max(0.0, wall - 10.0)) for wall in walls]
    windows = list(budget.windows_of(samples))
    assert windows[0] == (pytest.approx(10.0, abs=every_s), pytest.approx(1.0, abs=0.1))
    assert windows[-1][1] == pytest.approx(0.5, abs=0.01 if every_s == 0.5 else 0.1)
    assert [cores for _, cores in windows] == sorted((cores for _, cores in windows), reverse=True)
    assert list(budget.windows_of(samples[:4])) == []

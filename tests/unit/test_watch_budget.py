"""A watch that has too little does without in declared steps; time is virtual."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vedette.watch.governor import STEPS, Governor, Readings
from vedette.watch.pace import Pace


def looks(governor: Governor, readings: Readings, seconds: int) -> list[int]:
    levels = []
    for _ in range(seconds):
        governor.look(readings)
        levels.append(governor.level)
    return levels


def test_the_rate_goes_first_then_precision_then_resolution() -> None:
    rates = [step.rate for step in STEPS]
    assert rates == sorted(rates, reverse=True)
    first_cheaper = next(index for index, step in enumerate(STEPS) if step.fast or step.resolution < 1)
    assert rates[first_cheaper] == min(rates)
    governor = Governor()
    levels = looks(governor, Readings(late=True), 30)
    assert levels[:3] == [0, 0, 0], "a burst of three seconds is no shortage"
    assert levels == sorted(levels)
    assert set(levels) == set(range(len(STEPS))), "step by step, down to the last"
    assert "longer than there is time" in governor.reason


def test_it_goes_back_up_slowly_and_one_step_at_a_time() -> None:
    governor = Governor()
    looks(governor, Readings(late=True), 8)
    assert governor.level == 2
    levels = looks(governor, Readings(), 70)
    assert levels[28] == 2
    assert levels[29] == 1
    assert levels[-1] == 0
    assert governor.reason == ""


def test_now_and_then_late_is_not_short() -> None:
    governor = Governor()
    for second in range(300):
        governor.look(Readings(late=second % 3 == 0))
    assert governor.level == 0


@pytest.mark.parametrize(
    ("readings", "level", "reason"),
    [
        (Readings(on_battery=True), 1, "on battery"),
        (Readings(temperature_c=95.0), 2, "95 degrees"),
        (Readings(memory_level="critical"), 2, "memory"),
    ],
)
def test_battery_heat_and_memory_count_at_once(readings: Readings, level: int, reason: str) -> None:
    governor = Governor()
    assert governor.look(readings)
    assert governor.level == level
    assert reason in governor.reason
    assert set(looks(governor, readings, 100)) == {level}, "it stays while the state does"
    assert looks(governor, Readings(temperature_c=50.0, on_battery=False), 70)[-1] == 0


def test_others_that_wait_are_given_way_to() -> None:
    governor = Governor()
    looks(governor, Readings(pressure=0.5, used_cores=0.4), 4)
    assert governor.level == 1
    assert governor.reason == "others wait for the processor"
    assert governor.step is STEPS[1]
    looks(governor, Readings(pressure=0.5, used_cores=0.4), 60)
    assert governor.step.rate == 0.25
    assert not governor.step.fast, "for others it looks less often, and reads as well as before"
    idle = Governor()
    looks(idle, Readings(pressure=0.5, used_cores=0.1), 60)
    assert idle.level == 0, "nobody gains by a watch that uses little doing less"
    assert replace(STEPS[1], rate=1.0, name="as asked") == STEPS[0]


def replay(changes: list[float], seconds: float, took_s: float = 0.0, interval_s: float = 1.0) -> list[float]:
    """When a source is looked at that tells of these changes; each look takes a while."""
    pace, now, told, times = Pace(interval_s, 0.0), 0.0, 0, []
    while now < seconds:
        waits = sum(change <= now for change in changes) > told
        if pace.wait_s(now) <= 1e-9 or (waits and pace.hurry_in_s(now) <= 1e-9):
            told = sum(change <= now for change in changes)
            pace.look(now)
            if waits:
                pace.spend(now)
            times.append(now)
            now += took_s
        now += 0.01
    return times


def test_a_resting_source_is_looked_at_once_an_interval() -> None:
    times = replay([], 20.0)
    assert np.diff(times) == pytest.approx(1.0, abs=0.03)


def test_a_change_is_looked_at_when_it_is_told() -> None:
    changes = [5.3, 7.77, 10.1, 13.9]
    times = replay(changes, 20.0)
    for change in changes:
        assert min(abs(time - change) for time in times) < 0.06


def test_a_source_that_changes_about_as_often_as_asked_is_never_kept_waiting() -> None:
    rng = np.random.default_rng(0)
    changes = (3 + np.cumsum(rng.uniform(0.8, 1.6, 60))).tolist()
    times = np.array(replay(changes, 80.0))
    for change in changes:
        assert times[times >= change].min() - change < 0.1


def test_a_source_that_never_rests_is_looked_at_as_often_as_asked() -> None:
    times = replay([k / 30 for k in range(30 * 60)], 60.0)
    assert 60 <= len(times) <= 66
    assert np.diff(times).min() > 0.049


def test_looks_that_were_missed_are_counted_and_not_made_up_for() -> None:
    pace = Pace(1.0, 0.0)
    assert pace.look(0.0) == 0
    assert not pace.late(1.0)
    assert pace.late(1.2)
    assert pace.look(3.5) == 2
    assert pace.wait_s(3.5) == 0.0
    assert pace.look(3.5) == 0
    assert pace.wait_s(3.5) == 1.0

"""A process that has nothing to do costs nothing."""

import sys

import pytest

from vedette.bench.flow.idle import at_rest, idle_process

linux = pytest.mark.skipif(sys.platform != "linux", reason="wakeups are counted in Linux's files")

# Twice as many threads as cores, so that workers exist and have work even on one core.
AFTER_RUNS = """
import time, numpy as np, vedette
from vedette import hub
model = vedette.load(hub.file("ppocr-v6-small", "recogniser"), threads=4)
x = np.zeros((1, 3, 48, 320), np.float32)
for _ in range(3):
    model(x)
print("ready", flush=True)
time.sleep(1e6)
"""


@linux
def test_threads_sleep_between_runs() -> None:
    # One percent of a core; a worker that spun would take a hundred.
    assert at_rest(AFTER_RUNS, 1.0).cpu_s < 0.01


@linux
def test_with_one_of_everything_no_thread_wakes_up() -> None:
    share, wakeups, watch = idle_process(1.0)
    # Percent of a core; a thread that looked every millisecond would take more.
    assert share.measured < 1.0
    assert wakeups.measured == 0, wakeups.note
    assert watch.measured <= 2


@linux
def test_a_thread_that_looks_is_seen() -> None:
    looks = """
import threading, time
def look():
    while True: time.sleep(0.001)
threading.Thread(target=look, daemon=True).start()
print("ready", flush=True)
time.sleep(1e6)
"""
    rest = at_rest(looks, 1.0)
    assert rest.cpu_s > 0.01
    assert sum(rest.wakeups.values()) > 100

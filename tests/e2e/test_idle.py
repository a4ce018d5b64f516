"""A process that has nothing to do costs nothing."""

import os
import subprocess
import sys

import pytest

from vedette.bench.flow.idle import idle_process

# Twice as many threads as cores, so that workers exist and have work even on one core.
CODE = """
import time, numpy as np, vedette
from vedette import hub
model = vedette.load(hub.file("ppocr-v6-small", "recogniser"), threads=4)
x = np.zeros((1, 3, 48, 320), np.float32)
for _ in range(3):
    model(x)
time.sleep(0.1)
before = time.process_time()
time.sleep(1.0)
print(time.process_time() - before)
"""


def test_threads_sleep_between_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    # One percent of a core; a worker that spun would take a hundred.
    assert float(done.stdout) < 0.01


@pytest.mark.skipif(sys.platform != "linux", reason="wakeups are counted in Linux's files")
def test_with_one_of_everything_no_thread_wakes_up() -> None:
    share, wakeups, watch = idle_process(1.0)
    # Percent of a core; a thread that looked every millisecond would take more.
    assert share.measured < 1.0
    assert wakeups.measured == 0, wakeups.note
    assert watch.measured <= 2

"""A process that has nothing to do costs nothing."""

import os
import subprocess
import sys

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

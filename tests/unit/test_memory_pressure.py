"""The watch over memory pressure, on files that stand for Linux's own."""

import gc
import queue
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from vedette.errors import InputError
from vedette.memory import BufferPool, PressureMonitor, pressure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the files are Linux's")

SOON_S = 30


class Machine:
    """A root directory whose memory is as full as one says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc").mkdir()
        self.fill(40)

    def fill(self, percent: int) -> None:
        text = f"MemTotal: 100000 kB\nMemAvailable: {1000 * (100 - percent)} kB\n"
        (self.root / "new").write_text(text)
        (self.root / "new").replace(self.root / "proc/meminfo")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_pressure_is_measured_at_once(machine: Machine) -> None:
    machine.fill(90)
    now = pressure(root=machine.root)
    assert (now.level, now.used_bytes, now.limit_bytes) == ("warning", 90_000 << 10, 100_000 << 10)
    assert (now.scope, now.some_stalled_percent, now.all_stalled_percent) == ("machine", None, None)
    here = pressure()
    assert 0 < here.used_bytes <= here.limit_bytes
    (machine.root / "proc/meminfo").unlink()
    with pytest.raises(OSError, match="No such file"):
        pressure(root=machine.root)


def test_it_trims_pools_and_calls_back_on_its_own_thread(machine: Machine) -> None:
    pool = BufferPool()
    pool.empty(5_000_000, "uint8")
    calls: queue.Queue = queue.Queue()
    with PressureMonitor(
        lambda level: calls.put((level, threading.get_ident())), root=machine.root
    ) as monitor:
        assert (monitor.level, monitor.running, monitor.reading().level) == ("normal", True, "normal")
        held = pool.stats().held_bytes
        machine.fill(97)
        monitor.wake()
        level, thread = calls.get(timeout=SOON_S)
        assert level == monitor.level == monitor.reading().level == "critical"
        assert thread != threading.get_ident()
        assert pool.stats().held_bytes == 0
        assert monitor.trimmed_bytes >= held
    assert not monitor.running
    monitor.close()
    monitor.wake()
    assert calls.empty()


def test_it_can_leave_the_pools_alone(machine: Machine) -> None:
    pool = BufferPool()
    pool.empty(5_000_000, "uint8")
    machine.fill(97)
    calls: queue.Queue = queue.Queue()
    with PressureMonitor(calls.put, root=machine.root, trim=False, warning=0.5, critical=0.6) as monitor:
        assert calls.get(timeout=SOON_S) == monitor.level == "critical"
        assert monitor.trimmed_bytes == 0
        assert pool.stats().held_bytes > 0


def test_a_callback_may_fail_or_close_the_monitor(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: queue.Queue = queue.Queue()
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.put(report.exc_type))
    monitors: list[PressureMonitor] = []

    def call(level: str) -> None:
        if level == "critical":
            monitors[0].close()
        raise KeyError(level)

    monitors.append(PressureMonitor(call, root=machine.root))
    for percent in (90, 97):
        machine.fill(percent)
        monitors[0].wake()
        assert reports.get(timeout=SOON_S) is KeyError
    assert not monitors[0].running


def test_a_forgotten_monitor_ends(machine: Machine) -> None:
    monitor = PressureMonitor(root=machine.root)
    gone = weakref.ref(monitor)
    del monitor
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("warning", "critical"), [(0, 0.5), (0.9, 0.8), (0.5, 1.1), (float("nan"), 0.9)])
def test_senseless_fractions_are_refused(machine: Machine, warning: float, critical: float) -> None:
    with pytest.raises(InputError, match="must rise from 0 to 1"):
        PressureMonitor(root=machine.root, warning=warning, critical=critical)


def test_an_interpreter_ends_with_open_monitors(machine: Machine) -> None:
    machine.fill(90)
    program = (
        "import vedette, time\n"
        f"monitors = [vedette.memory.PressureMonitor(print, root={str(machine.root)!r}) for _ in range(5)]\n"
        "def call(level): time.sleep(0.2); print(level)\n"
        f"slow = vedette.memory.PressureMonitor(call, root={str(machine.root)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=SOON_S, check=True)
    assert done.stderr == b""

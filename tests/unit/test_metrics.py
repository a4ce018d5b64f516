"""Metrics: what is counted, what the parts of a process tell, and who may read it."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from vedette import metrics
from vedette.batching import BatchConfig, DynamicBatcher
from vedette.errors import InputError, VedetteError
from vedette.metrics.prometheus import exposition
from vedette.metrics.registry import MAX_SERIES, Buckets, Registry
from vedette.pipeline import AsyncExecutor, Pipeline
from vedette.runtime import Budget, Runtime


def test_counters_gauges_and_histograms() -> None:
    registry = Registry()
    frames = registry.counter("frames_total", "frames seen")
    frames.add()
    frames.add(2, source="screen")
    assert registry.counter("frames_total", "frames seen") is frames
    depth = registry.gauge("depth", "how deep")
    depth.set(5)
    depth.add(-2)
    times = registry.histogram("seconds", "how long", (0.1, 1.0))
    for seconds in (0.1, 0.5, 3.0):
        times.observe(seconds)
    values = {family.name: dict(family.samples) for family in registry.collect()}
    assert values == {
        "frames_total": {(): 1.0, (("source", "screen"),): 2.0},
        "depth": {(): 3.0},
        "seconds": {(): Buckets((0.1, 1.0), [1, 1, 1], 3.6)},
    }


def test_misused_metrics_are_refused() -> None:
    registry = Registry()
    with pytest.raises(InputError, match="letters"):
        registry.counter("two words", "")
    with pytest.raises(InputError, match="bounds must rise"):
        registry.histogram("h", "", (1.0, 1.0))
    counter = registry.counter("c", "")
    with pytest.raises(InputError, match="is a counter already"):
        registry.gauge("c", "")
    with pytest.raises(InputError, match="cannot add -1"):
        counter.add(-1)
    with pytest.raises(InputError, match="cannot be set"):
        counter.set(1)
    with pytest.raises(InputError, match="cannot observe"):
        counter.observe(1)


def test_labels_are_bounded() -> None:
    registry = Registry()
    counter = registry.counter("c", "")
    for user in range(10 * MAX_SERIES):
        counter.add(user=str(user))
    (family,) = registry.collect()
    assert len(family.samples) == MAX_SERIES + 1
    assert family.samples[(("user", "other"),)] == 9 * MAX_SERIES
    assert sum(value for value in family.samples.values() if isinstance(value, float)) == 10 * MAX_SERIES


def test_of_no_values_every_quantile_is_zero() -> None:
    assert Buckets().quantile(0.95) == 0.0


@given(st.lists(st.floats(0, 20), min_size=1), st.floats(0.01, 0.99))
def test_quantiles_are_within_a_bucket(values: list[float], share: float) -> None:
    buckets = Buckets()
    for value in values:
        buckets.observe(value)
    found = buckets.quantile(share)
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    bounds = (0.0, *buckets.bounds)
    low = max(bound for bound in bounds if bound <= exact)
    high = min((bound for bound in bounds if bound >= exact), default=bounds[-1])
    assert min(low, bounds[-1]) - 1e-9 <= found <= high + 1e-9 or exact in bounds


def test_what_has_died_is_forgotten() -> None:
    registry = Registry()

    class Source:
        def metrics(self) -> Iterator[metrics.Family]:
            yield metrics.Family("alive", "gauge", "").add(1.0)

    source = Source()
    registry.track(source)
    assert [family.name for family in registry.collect()] == ["alive"]
    del source
    assert registry.collect() == []


def values_of(name: str, **labels: str) -> Any:
    for family in metrics.registry().collect():
        if family.name == name:
            return family.samples.get(tuple(sorted(labels.items())))
    return None


def test_every_part_of_a_process_tells_what_it_does() -> None:
    budget = Budget("100%", name="t-budget")
    with Runtime(1, name="t-runtime") as runtime:
        runtime.map(abs, [1, 2, 3])
    with budget.slice():
        pass
    with DynamicBatcher(BatchConfig(), list, name="t-batcher") as batcher:
        assert batcher.submit(3).result(20) == 3
    pipeline = Pipeline(abs, lambda x: 1 / x, name="t-pipeline")
    with pipeline:
        pipeline.execute_batch([1, 0, 2], on_error="skip")
    executor = AsyncExecutor(1, name="t-executor")
    assert values_of("vedette_runtime_tasks_total", runtime="t-runtime") == runtime.stats().tasks > 0
    assert values_of("vedette_budget_slices_total", budget="t-budget") == 1
    assert values_of("vedette_batcher_items_total", batcher="t-batcher", outcome="completed") == 1
    assert values_of("vedette_batcher_latency_seconds", batcher="t-batcher").count == 1
    assert values_of("vedette_batcher_batch_size", batcher="t-batcher").count == 1
    labels = {"pipeline": "t-pipeline", "stage": "<lambda>"}
    assert values_of("vedette_pipeline_items_total", outcome="failed", **labels) == 1
    assert values_of("vedette_pipeline_stage_seconds", **labels).count == 3
    assert values_of("vedette_pipeline_drops_total", pipeline="t-pipeline", cause="failed in <lambda>") == 1
    assert values_of("vedette_executor_running", executor="t-executor") == executor.stats().running


def test_prometheus_reads_it() -> None:
    registry = Registry()
    registry.counter("frames_total", "frames seen").add(2, source='scr"een')
    registry.histogram("seconds", "how long", (0.1, 1.0)).observe(0.5)
    registry.gauge("depth", "how deep").set(3)
    parsed = {family.name: family for family in text_string_to_metric_families(exposition(registry))}
    assert parsed["frames"].samples[0].value == 2
    assert parsed["frames"].samples[0].labels == {"source": 'scr"een'}
    buckets = [sample.value for sample in parsed["seconds"].samples if sample.name == "seconds_bucket"]
    assert buckets == [0, 1, 1]
    assert parsed["depth"].samples[0].value == 3
    with Runtime(1, name="exposed"):
        assert 'vedette_runtime_tasks_total{runtime="exposed"} 0.0' in exposition()


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[metrics.Endpoint]:
    monkeypatch.setenv("VEDETTE_HOME", str(tmp_path / "home"))
    with metrics.Endpoint(name="tested") as endpoint:
        yield endpoint


def ask(
    endpoint: metrics.Endpoint, path: str, token: str | None = None, method: str = "GET"
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=20)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_the_endpoint_answers_whoever_knows_the_secret(endpoint: metrics.Endpoint) -> None:
    assert ask(endpoint, "/metrics.json")[0] == 401
    assert ask(endpoint, "/metrics.json", "wrong")[0] == 401
    status, body = ask(endpoint, "/metrics.json", endpoint.token)
    facts = json.loads(body)
    assert (status, facts["pid"], facts["name"]) == (200, os.getpid(), "tested")
    assert "vedette_process_cpu_seconds_total" in {family["name"] for family in facts["families"]}
    with Runtime(1, name="asked"):
        status, body = ask(endpoint, "/metrics", endpoint.token)
    assert (status, 'runtime="asked"' in body) == (200, True)
    assert ask(endpoint, "/elsewhere", endpoint.token)[0] == 404
    assert ask(endpoint, "/metrics", endpoint.token, method="POST")[0] == 405


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_secret_is_for_this_user_only(endpoint: metrics.Endpoint) -> None:
    assert stat.S_IMODE(endpoint.file.stat().st_mode) == 0o600


def test_hostile_callers_do_not_end_it(endpoint: metrics.Endpoint) -> None:
    for request in (b"", b"\r\n\r\n", b"\xff" * 20_000, b"GET\r\n\r\n", b"A: b\r\nAuthorization\r\n\r\n"):
        caller = socket.create_connection(("127.0.0.1", endpoint.port), 20)
        # A caller that sends too much may be cut off.
        with caller, contextlib.suppress(OSError):
            caller.sendall(request)
            caller.shutdown(socket.SHUT_WR)
            caller.recv(1 << 16)
    assert ask(endpoint, "/metrics.json", endpoint.token)[0] == 200


def test_processes_are_found_and_forgotten(endpoint: metrics.Endpoint) -> None:
    (process,) = metrics.processes()
    assert (process.pid, process.name) == (os.getpid(), "tested")
    assert process.read()["pid"] == os.getpid()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale = endpoint.file.with_name("1.json")
    stale.write_text(json.dumps({"pid": dead.pid, "name": "x", "port": 1, "token": "x"}))
    endpoint.file.with_name("2.json").write_text("not JSON")
    assert [process.name for process in metrics.processes()] == ["tested"]
    assert not stale.exists()
    endpoint.close()
    assert list(metrics.processes()) == []
    with pytest.raises(VedetteError, match="does not answer"):
        process.read()
    assert not [thread for thread in threading.enumerate() if thread.name == "vedette-metrics"]


SERVER = """
import sys, time, vedette as vd
budget = vd.runtime.Budget("50%", name="demo")
with budget.slice(): pass
runtime = vd.runtime.Runtime(1, name="demo-runtime")
runtime.map(abs, [1, 2])
pipeline = vd.pipeline.Pipeline(abs, name="demo-pipeline")
pipeline.execute(1)
batcher = vd.batching.DynamicBatcher(vd.batching.BatchConfig(), list, name="demo-batcher").start_threads()
batcher.submit(1).result()
with vd.metrics.serve(name="demo"):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str]]:
    home = str(tmp_path / "home")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"VEDETTE_HOME": home},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    yield process.pid, home
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


def test_top_shows_a_running_process(vedette: Command, server: tuple[int, str]) -> None:
    pid, home = server
    shown = vedette("top", "--once", VEDETTE_HOME=home).stdout.decode()
    for wanted in ("demo-runtime", "demo-batcher", "demo-pipeline", "budget", "p95 latency", "MB"):
        assert wanted in shown
    facts = json.loads(vedette("top", pid, "--json", VEDETTE_HOME=home).stdout)
    assert (facts["pid"], facts["name"]) == (pid, "demo")


def test_top_goes_on_until_interrupted(server: tuple[int, str]) -> None:
    _, home = server
    top = subprocess.Popen(
        [sys.executable, "-m", "vedette", "top", "--interval", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"VEDETTE_HOME": home},
    )
    assert top.stdout is not None
    seen = b""
    while seen.count(b"demo-runtime") < 3:
        line = top.stdout.readline()
        assert line, top.stderr.read() if top.stderr else ""
        seen += line
    top.terminate()
    top.communicate(timeout=20)


def test_top_says_what_is_missing(vedette: Command, tmp_path: Path) -> None:
    home = str(tmp_path / "nobody")
    done = vedette("top", VEDETTE_HOME=home)
    assert done.returncode == 1
    folder = os.path.join(home, "run")
    said = f"no process serves metrics (nothing in {folder}); call vedette.metrics.serve() in it"
    assert done.stderr.decode() == f"vedette: error: {said}\n"
    done = vedette("top", "1", VEDETTE_HOME=home)
    assert done.stderr.decode() == f"vedette: error: process 1 serves no metrics, and {said}\n"
    assert vedette("top", "--interval", "0").returncode == 2
    done = vedette("top", "127.0.0.1:9000")
    assert done.returncode == 2
    assert b"PID is the number of a process, got '127.0.0.1:9000'" in done.stderr


def test_top_names_those_that_answer(vedette: Command, server: tuple[int, str]) -> None:
    pid, home = server
    done = vedette("top", "1", VEDETTE_HOME=home)
    assert done.returncode == 1
    assert done.stderr.decode() == f"vedette: error: process 1 serves no metrics; these do: {pid} (demo)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
@pytest.mark.parametrize("columns", [30, 80])
def test_top_fills_a_terminal_of_any_width(server: tuple[int, str], columns: int) -> None:
    import fcntl
    import pty
    import struct
    import termios

    pid, home = server
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = os.environ | {"VEDETTE_HOME": home, "TERM": "xterm", "NO_COLOR": "1"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    top = subprocess.Popen(
        [sys.executable, "-m", "vedette", "top", str(pid), "--interval", "0.05"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.close(theirs)
    seen = b""
    while seen.count(b"serving") < 3:
        seen += os.read(ours, 1 << 16)
    top.send_signal(signal.SIGINT)
    assert top.stderr is not None
    with contextlib.suppress(OSError):
        # The screen is given back before the end.
        while more := os.read(ours, 1 << 16):
            seen += more
    assert top.stderr.read() == b""
    assert top.wait(20) == 130
    top.stderr.close()
    os.close(ours)
    # Where the cursor goes home, a line ends as well.
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode().replace("\x1b[H", "\n"))
    assert max(map(len, plain.replace("\r", "\n").splitlines())) <= columns
    for wanted in ("budget", "batcher", "pipeline"):
        assert wanted in plain

"""Chaos in a process of its own: memory and threads come back to where they were."""

import json
import os
import subprocess
import sys

import pytest

# Each round sends ten thousand items of 16 kB through every part, with failures, cancellations, pauses and an
# end at a moment that chance picks; what comes back late is waited for.
CODE = """
import asyncio, concurrent.futures, gc, json, os, random, threading, time
from collections import Counter
import numpy as np
import vedette as vd
from vedette.runtime.resident import resident_bytes

chance = random.Random(7)
config = vd.batching.BatchConfig(max_batch_size=16, max_queue_size=500, max_concurrency=2, max_wait_ms=0.5)

def sometimes(item):
    if chance.random() < 0.02: raise RuntimeError("chaos")
    if chance.random() < 0.002: time.sleep(0.003)
    return item

def process(items):
    sometimes(None)
    return [ValueError("odd") if item[0] % 97 == 0 else item + 1 for item in items]

async def sometimes_async(item):
    await asyncio.sleep(0)
    return sometimes(item)

def ended(future):
    try:
        return future.exception() is None or True
    except (concurrent.futures.CancelledError, asyncio.CancelledError):
        return True

def items(count):
    for number in range(count):
        yield np.full(2000, number)

def on_threads(count):
    batcher = vd.batching.DynamicBatcher(config, process).start_threads()
    futures = []
    def client(part):
        for item in items(part):
            try:
                futures.append(batcher.submit(item, timeout_ms=chance.choice([None, 1.0, 1000.0])))
            except vd.errors.VedetteError:
                continue
            if chance.random() < 0.1: chance.choice(futures[-20:]).cancel()
    clients = [threading.Thread(target=client, args=(count // 2,)) for _ in range(2)]
    for each in clients: each.start()
    time.sleep(0.2 * chance.random())
    batcher.close(drain=chance.random() < 0.5)
    for each in clients: each.join()
    assert all(future.done() and ended(future) for future in futures)

async def on_loop(count):
    batcher = vd.batching.DynamicBatcher(config, process).start()
    async def client(item):
        await asyncio.sleep(0.2 * chance.random())
        try:
            future = batcher.submit(item)
            if chance.random() < 0.1: asyncio.get_running_loop().call_later(0.001, future.cancel)
            await future
        except (Exception, asyncio.CancelledError):
            pass
    clients = [asyncio.ensure_future(client(item)) for item in items(count)]
    await asyncio.sleep(0.25 * chance.random())
    await batcher.close(drain=chance.random() < 0.5)
    await asyncio.gather(*clients)

def through_stages(count):
    Stage = vd.pipeline.Stage
    stages = Stage(sometimes, workers=2), sometimes_async, Stage(sometimes, queue_size=8)
    pipeline = vd.pipeline.Pipeline(*stages)
    stream = pipeline.stream(items(count), on_error="skip", ordered=False)
    most = chance.randrange(count)
    try:
        for taken, _ in enumerate(stream):
            if taken == most: break
        if chance.random() < 0.5: stream.close()
    finally:
        pipeline.close()

def on_workers(count):
    with vd.runtime.Runtime(3) as runtime:
        tasks = [runtime.submit(sometimes, item) for item in items(count)]
        for task in tasks[::7]: task.cancel()
        runtime.shutdown(cancel=chance.random() < 0.5)
    assert all(task.done() for task in tasks)

def settle(threads):
    for _ in range(1000):
        gc.collect()
        if threading.active_count() <= threads: break
        time.sleep(0.005)
    return threading.active_count(), resident_bytes()

def round_of():
    on_threads(2500)
    asyncio.run(on_loop(2500))
    through_stages(2500)
    on_workers(2500)

threads = threading.active_count()
seen = []
for _ in range(8):
    round_of()
    seen.append(settle(threads))
print(json.dumps({"threads": threads, "seen": seen}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process uses")
def test_memory_and_threads_come_back() -> None:
    # One arena, so that what the allocator keeps does not depend on which thread asked for it.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert {threads for threads, _ in facts["seen"]} == {facts["threads"]}
    resident = [memory for _, memory in facts["seen"]]
    # A round makes 160 MB of items. The first ones find out how much is under way at most.
    assert min(resident[4:]) - max(resident[:4]) < 2e6

"""Batchers, Vedette's and others', in one form: a context that gives what submits an item.

Each takes a function of lists. Where a peer wants a coroutine function, the function runs on a thread, as its
users would have it, unless it does nothing. The server around a batcher, HTTP and processes, is left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import queue
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

Process = Callable[[list[Any]], list[Any]]
Submit = Callable[[Any], Awaitable[Any]]

WAIT_S = 0.001
"""How long peers let an item wait for others: none of them is meant to run without."""

_LONG_MS = 60_000
_ROOM = 100_000


def installed(batcher: str) -> bool:
    """Whether a batcher can be measured here."""
    return importlib.util.find_spec(batcher) is not None


def same(items: list[Any]) -> list[Any]:
    """A processor that does nothing."""
    return items


def _on_a_thread(process: Process) -> Callable[[list[Any]], Awaitable[list[Any]]]:
    async def call(items: list[Any]) -> list[Any]:
        return process(items)

    async def call_on_thread(items: list[Any]) -> list[Any]:
        return await asyncio.to_thread(process, items)

    return call if process is same else call_on_thread


@asynccontextmanager
async def vedette(process: Process, size: int) -> AsyncIterator[Submit]:
    """Vedette's, which lets nothing wait unless told to."""
    from vedette.batching import BatchConfig, DynamicBatcher

    config = BatchConfig(max_batch_size=size, max_queue_size=_ROOM)
    called = _on_a_thread(process) if process is same else process
    async with DynamicBatcher(config, called) as batcher:
        yield batcher.submit


@asynccontextmanager
async def batched(process: Process, size: int) -> AsyncIterator[Submit]:
    """The package ``batched``."""
    import batched as package

    batcher = package.aio.dynamically(_on_a_thread(process), batch_size=size, timeout_ms=1e3 * WAIT_S)

    async def submit(item: Any) -> Any:
        (result,) = await batcher([item])
        return result

    yield submit


@asynccontextmanager
async def bentoml(process: Process, size: int) -> AsyncIterator[Submit]:
    """BentoML's dispatcher; it refuses nothing, since the latency it may reach is a minute."""
    from bentoml._internal.marshal.dispatcher import CorkDispatcher

    dispatcher = CorkDispatcher(
        max_latency_in_ms=_LONG_MS,
        max_batch_size=size,
        fallback=lambda: None,
        get_batch_size=lambda _: 1,
        batch_dim=(0, 0),
    )
    called = _on_a_thread(process)

    async def as_list(items: Any) -> list[Any]:
        return list(await called(list(items)))

    yield dispatcher(as_list)


@asynccontextmanager
async def litserve(process: Process, size: int) -> AsyncIterator[Submit]:
    """LitServe's loop of batches on a thread, fed by a queue; its workers would be processes."""
    from litserve import LitAPI
    from litserve.callbacks import CallbackRunner
    from litserve.loops.simple_loops import BatchedLoop
    from litserve.transport.base import MessageTransport

    class Api(LitAPI):
        def setup(self, device: str) -> None:
            pass

        def decode_request(self, request: Any) -> Any:
            return request

        def batch(self, inputs: list[Any]) -> list[Any]:
            return inputs

        def predict(self, inputs: list[Any]) -> list[Any]:
            return process(list(inputs))

        def unbatch(self, outputs: list[Any]) -> list[Any]:
            return outputs

        def encode_response(self, output: Any) -> Any:
            return output

    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[Any]] = {}

    class Transport(MessageTransport):
        def send(self, item: Any, consumer_id: int) -> None:  # noqa: ARG002 - there is one consumer
            number, (result, *_) = item
            loop.call_soon_threadsafe(waiting.pop(number).set_result, result)

        async def areceive(
            self, timeout: int | None = None, consumer_id: int | None = None
        ) -> dict[str, Any]:
            raise NotImplementedError

    api = Api(max_batch_size=size, batch_timeout=WAIT_S)
    api.request_timeout = -1
    requests: queue.Queue[Any] = queue.Queue()
    arguments: Any = (api, "cpu", 0, requests, Transport(), {}, CallbackRunner([]))
    worker = threading.Thread(target=BatchedLoop(), args=arguments, daemon=True)
    worker.start()

    def submit(item: Any) -> asyncio.Future[Any]:
        future = loop.create_future()
        waiting[id(future)] = future
        requests.put((0, id(future), time.monotonic(), item))
        return future

    yield submit
    requests.put((None, None, None, None))
    worker.join()


@asynccontextmanager
async def ray(process: Process, size: int) -> AsyncIterator[Submit]:
    """Ray Serve's ``@serve.batch``, outside of a deployment."""
    from ray import serve
    from ray.serve.batching import _BatchQueue

    # It compares the size with a setting of the deployment, and there is none.
    _BatchQueue._warn_if_max_batch_size_exceeds_max_ongoing_requests = lambda self: None  # noqa: ARG005
    called = _on_a_thread(process)

    @serve.batch(max_batch_size=size, batch_wait_timeout_s=WAIT_S)  # type: ignore[untyped-decorator]
    async def submit(items: list[Any]) -> list[Any]:
        return await called(items)

    yield submit


BATCHERS: dict[str, Callable[[Process, int], AbstractAsyncContextManager[Submit]]] = {
    "vedette": vedette,
    "batched": batched,
    "bentoml": bentoml,
    "litserve": litserve,
    "ray": ray,
}
PEERS = tuple(name for name in BATCHERS if name != "vedette")

"""Batching: callers submit single items, a function gets lists, each caller gets its result.

A batch costs a CPU often as much as its items one by one: measure before you make items wait for each other.
``max_wait_ms`` is 0 by default, so batches form only of what waits while others run.
"""

from vedette.batching.batcher import AdaptiveBatcher, DynamicBatcher
from vedette.batching.policy import BatchConfig
from vedette.batching.statistics import BatcherStats
from vedette.batching.thread_driver import ThreadBatcher

__all__ = ["AdaptiveBatcher", "BatchConfig", "BatcherStats", "DynamicBatcher", "ThreadBatcher"]

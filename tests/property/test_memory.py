"""Any order of taking, viewing and dropping blocks: no bytes change hands, and all blocks come back."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from vedette.errors import LeaseError, MemoryLimitError
from vedette.memory import Arena, Buffer, BufferPool

CAPACITY = 300_000
SHAPES = st.lists(st.integers(0, 20), max_size=3).map(tuple)
DTYPES = st.sampled_from(["uint8", "float32", "float64"])


class Pools(RuleBasedStateMachine):
    """A pool, an arena, and everything that lives in them, each array filled with a mark of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BufferPool(CAPACITY, leak_tracking="full")
        self.arena = Arena(100_000)
        self.marked: dict[int, tuple[np.ndarray, int]] = {}
        self.next_mark = 0
        self.all_buffers: list[Buffer] = []

    arrays = Bundle("arrays")
    buffers = Bundle("buffers")

    def keep(self, array: np.ndarray) -> int:
        self.next_mark += 1
        array.fill(self.next_mark % 251)
        self.marked[self.next_mark] = (array, self.next_mark % 251)
        return self.next_mark

    @rule(target=arrays, shape=SHAPES, dtype=DTYPES)
    def take_array(self, shape, dtype):
        try:
            return self.keep(self.pool.empty(shape, dtype))
        except MemoryLimitError:
            assert self.pool.stats().current_bytes > 0
            return multiple()

    @rule(target=arrays, shape=SHAPES, dtype=DTYPES, align=st.sampled_from([1, 64, 4096]))
    def take_span(self, shape, dtype, align):
        try:
            return self.keep(self.arena.empty(shape, dtype, align=align))
        except MemoryLimitError:
            assert self.arena.used_bytes > 0
            return multiple()

    @rule(array=consumes(arrays), target=arrays)
    def narrow(self, array):
        """Only a view of the array stays."""
        kept, mark = self.marked[array]
        self.marked[array] = (kept[1:] if kept.ndim and len(kept) > 1 else kept[...], mark)
        return array

    @rule(array=consumes(arrays))
    def drop(self, array):
        del self.marked[array]

    @rule(target=buffers, size=st.integers(0, 50_000))
    def take_buffer(self, size):
        try:
            self.all_buffers.append(self.pool.acquire(size))
            return self.all_buffers[-1]
        except MemoryLimitError:
            return multiple()

    @rule(target=arrays, buffer=buffers)
    def view(self, buffer):
        if buffer.released or len(buffer) == 0:
            return multiple()
        # One view at a time, so that each has bytes of its own.
        if any(self.is_view_of(array, buffer) for array, _ in self.marked.values()):
            return multiple()
        return self.keep(np.asarray(memoryview(buffer)))

    @staticmethod
    def is_view_of(array: np.ndarray, buffer: Buffer) -> bool:
        with memoryview(buffer) as whole:
            return np.shares_memory(array, np.asarray(whole))

    @rule(buffer=buffers)
    def release(self, buffer):
        viewed = not buffer.released and any(
            self.is_view_of(array, buffer) for array, _ in self.marked.values()
        )
        before = self.pool.stats().current_bytes
        if buffer.released or viewed:
            try:
                buffer.release()
            except LeaseError:
                assert self.pool.stats().current_bytes == before
                return
            raise AssertionError("a release went through that had to be refused")
        buffer.release()
        assert self.pool.stats().current_bytes < before

    @rule()
    def reset(self):
        if self.arena.arrays:
            try:
                self.arena.reset()
            except LeaseError:
                return
            raise AssertionError("an arena was reset under living arrays")
        self.arena.reset()
        assert self.arena.used_bytes == 0

    @rule()
    def detach(self):
        self.arena.detach()
        assert self.arena.arrays == 0

    @rule()
    def trim(self):
        self.pool.trim()

    @invariant()
    def nothing_changes_hands(self):
        for array, mark in self.marked.values():
            assert (array == mark).all()
        stats = self.pool.stats()
        assert stats.current_bytes <= stats.held_bytes <= CAPACITY
        assert stats.held_bytes == sum(use.current_bytes + use.free_bytes for use in stats.classes)

    def teardown(self):
        self.marked.clear()
        for buffer in self.all_buffers:
            if not buffer.released:
                buffer.release()
        assert self.pool.stats().current_bytes == 0
        assert self.pool.check_leaks() == []
        self.arena.reset()


TestPools = Pools.TestCase
TestPools.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""What a batcher has done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vedette.batching.policy import Batch, BatchPolicy


@dataclass(frozen=True)
class BatcherStats:
    """What a batcher has done, and what waits."""

    submitted: int
    completed: int
    failed: int
    """Items whose future holds an exception of ``process``."""
    cancelled: int
    """Items cancelled before they ran."""
    expired: int
    """Items whose deadline came before they ran."""
    refused: int
    """Items refused because the queue was full or the batcher was shut down."""
    queued: int
    running_batches: int
    batches: int
    reasons: Mapping[str, int]
    """Batches by why they ran when they did: ``preferred``, ``full``, ``waited``, ``target``, ``drain``."""
    sizes: Mapping[int, int]
    """Batches by their number of items."""
    waited_s: float
    """Seconds items waited, summed over those that ran."""
    processed_s: float
    """Seconds of the batches."""


_REASONS = ("preferred", "full", "waited", "target", "drain")


@dataclass
class Tally:
    """What the policy does not count."""

    completed: int = 0
    failed: int = 0
    waited_s: float = 0.0
    processed_s: float = 0.0
    sizes: Counter[int] = field(default_factory=Counter)

    def started(self, batch: Batch, now: float) -> None:
        """A batch begins."""
        self.sizes[len(batch.entries)] += 1
        self.waited_s += now * len(batch.entries) - sum([entry.arrived for entry in batch.entries])

    def stats(self, policy: BatchPolicy) -> BatcherStats:
        """Both together."""
        counts = policy.counts
        return BatcherStats(
            submitted=counts["submitted"],
            completed=self.completed,
            failed=self.failed,
            cancelled=counts["cancelled"],
            expired=counts["expired"],
            refused=counts["refused"],
            queued=policy.queued,
            running_batches=policy.running,
            batches=sum(counts[reason] for reason in _REASONS),
            reasons={reason: counts[reason] for reason in _REASONS if counts[reason]},
            sizes=dict(sorted(self.sizes.items())),
            waited_s=self.waited_s,
            processed_s=self.processed_s,
        )

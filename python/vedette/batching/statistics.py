"""What a batcher has done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vedette.batching.policy import Batch, BatchPolicy
from vedette.metrics import Buckets, Family
from vedette.metrics.registry import of_counts


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
    latency_s: Buckets = field(default_factory=Buckets)
    """From submission to result."""

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

    def metrics(self, name: str, policy: BatchPolicy) -> Iterator[Family]:
        """Both as metrics."""
        stats = self.stats(policy)
        items = Family("vedette_batcher_items_total", "counter", "items by what became of them")
        for outcome in ("completed", "failed", "cancelled", "expired", "refused"):
            items.add(float(getattr(stats, outcome)), batcher=name, outcome=outcome)
        yield items
        batches = Family("vedette_batcher_batches_total", "counter", "batches by why they ran when they did")
        for reason, count in stats.reasons.items():
            batches.add(float(count), batcher=name, reason=reason)
        yield batches
        for metric, help, value in (
            ("queued", "items that wait", stats.queued),
            ("running_batches", "batches that run", stats.running_batches),
        ):
            yield Family(f"vedette_batcher_{metric}", "gauge", help).add(float(value), batcher=name)
        yield Family("vedette_batcher_processed_seconds_total", "counter", "time of batches").add(
            stats.processed_s, batcher=name
        )
        yield Family("vedette_batcher_batch_size", "histogram", "items of a batch").add(
            of_counts(stats.sizes, _SIZES), batcher=name
        )
        yield Family("vedette_batcher_latency_seconds", "histogram", "from submission to result").add(
            self.latency_s, batcher=name
        )


_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

"""The errors Vedette raises: one small tree, so that ``except VedetteError`` catches them all.

* VedetteError
    * NativeError           a defect inside the native core (a Rust panic), never the caller's fault
    * InputError            an argument of the wrong name, rank, dtype or value (also a ValueError)
    * ImageError            an image that is missing, truncated, not an image, or too large
    * ModelError
        * InvalidModelError      a model file that is damaged or contradicts itself
        * UnsupportedModelError  a sound model with operators the native engine does not have
    * HubError              a model package that cannot be fetched or verified
    * MemoryLimitError      a request beyond the memory that its header or budget allows
    * QueueFullError        a bounded queue that takes no more
    * DeadlineError         an item whose time ran out before it was run (also a TimeoutError)
    * ClosedError           a batcher, pipeline or runtime that has been shut down
    * BatchError            a batch that failed as a whole
    * StageError            a stage of a pipeline that failed for an item
    * LeaseError            pooled memory released twice, or while views of it live (also a BufferError)
    * SourceError           a camera, stream, screen, video or folder that cannot be opened or read
    * StoreError            the store of what was seen cannot be opened, read or written
    * WatchError            a watch that cannot start, or cannot be reached
"""


class VedetteError(Exception):
    """Base of every error raised by Vedette."""


class NativeError(VedetteError):
    """A defect inside the native core; please report it."""


class InputError(VedetteError, ValueError):
    """An argument has the wrong name, rank, dtype or value."""


class ImageError(VedetteError):
    """An image is missing, damaged, not an image, or too large."""


class ModelError(VedetteError):
    """A model cannot be used."""


class InvalidModelError(ModelError):
    """A model file is damaged or contradicts itself."""


class UnsupportedModelError(ModelError):
    """A sound model uses operators the native engine does not have."""


class HubError(VedetteError):
    """A model package cannot be fetched, verified or stored."""


class MemoryLimitError(VedetteError):
    """A request needs more memory than its header or budget allows."""


class LeaseError(VedetteError, BufferError):
    """Pooled memory is released twice, used after its release, or released while views of it live."""


class SourceError(VedetteError):
    """A source of frames cannot be opened or read; ``temporary`` tells whether trying again may help."""

    def __init__(self, message: str, *, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


class StoreError(VedetteError):
    """The store cannot be opened, read or written.

    ``reason`` is ``locked``, ``full``, ``readonly``, ``damaged``, ``missing``, ``version`` or ``failed``.
    """

    def __init__(self, message: str, *, reason: str = "failed") -> None:
        super().__init__(message)
        self.reason = reason


class WatchError(VedetteError):
    """A watch cannot start, or cannot be reached."""


class QueueFullError(VedetteError):
    """A bounded queue takes no more; try again later, or elsewhere."""


class DeadlineError(VedetteError, TimeoutError):
    """An item's time ran out before it was run."""


class ClosedError(VedetteError):
    """A batcher, pipeline or runtime has been shut down."""


class BatchError(VedetteError):
    """A batch failed as a whole; the reason, where there is one, is its cause."""


class StageError(VedetteError):
    """A stage of a pipeline failed for an item; the reason is its cause."""

    def __init__(self, message: str, *, stage: str, index: int) -> None:
        super().__init__(message)
        self.stage = stage
        """The name of the stage."""
        self.index = index
        """The number of the item in its stream, from 0."""

    def __reduce__(self) -> tuple[object, ...]:
        return _stage_error, (str(self), self.stage, self.index)


def _stage_error(message: str, stage: str, index: int) -> StageError:
    return StageError(message, stage=stage, index=index)

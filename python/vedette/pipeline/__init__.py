"""Work in stages, over many items, or many calls at a time."""

from vedette.pipeline.executor import AsyncExecutor, ExecutorStats
from vedette.pipeline.parallel import parallel_map
from vedette.pipeline.pipeline import Pipeline, PipelineStats
from vedette.pipeline.stage import Stage, StageStats

__all__ = [
    "AsyncExecutor",
    "ExecutorStats",
    "Pipeline",
    "PipelineStats",
    "Stage",
    "StageStats",
    "parallel_map",
]

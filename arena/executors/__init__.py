"""What carries out a study's jobs: one way per file, further ones by entry point, chosen by ``--executor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from arena.choice import EXECUTORS, chosen
from arena.lease import processes

if TYPE_CHECKING:
    from arena.executor import ClosingExecutor, Progress
    from arena.study import Study


def executor_of(study: Study, progress: Progress) -> ClosingExecutor:
    """The executor that the command chose. Raises NotFound where its package is not installed."""
    processes(study.config)  # refuses to share devices where they cannot be
    return cast("ClosingExecutor", EXECUTORS.get(chosen())(study, progress))

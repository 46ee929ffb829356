"""On the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from programs.common.errors import UsageError

if TYPE_CHECKING:
    from arena.cluster.executor import RayExecutor
    from arena.study.study import Study
    from arena.study.task_study import TaskStudy
    from arena.work.executor import Progress
    from trainer.gpu import Device


class OnRay:
    """Makes executors, each connected to the cluster."""

    def __call__(self, study: Study, progress: Progress, tasks: Sequence[TaskStudy]) -> RayExecutor:
        """Raises UsageError for a task with values of rows, which nodes do not send back."""
        if named := next((task_study.task.name for task_study in tasks if task_study.task.scoring["rows"]), None):
            message = f"{named} has values of rows ([score] rows), which the nodes of a cluster do not send back"
            raise UsageError(message, hint="leave out METALOOP_EXECUTOR=ray, or take rows out of task.toml")
        from arena.cluster.executor import RayExecutor

        return RayExecutor(study.folder, progress)

    def check(self) -> None:
        """Raises UsageError where Ray is not installed."""
        from arena.cluster.connect import require

        require()

    def hardware(self, device: Device) -> str:
        """The hardware class of a node; empty without a cluster."""
        from arena.cluster.connect import hardware_of_cluster

        return hardware_of_cluster(device)


make = OnRay()

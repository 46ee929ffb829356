"""A temporary study: fresh data from a fresh secret and ordinary workers; everything is deleted at the end."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from arena.study.settings import StudyConfig
from arena.study.setup import reference, versions
from arena.work.choice import hardware_of_jobs, on_cluster
from arena.work.executor import Progress
from arena.work.executors.local import LocalExecutor
from arena.work.jobs import MeasureJob, Measurement
from arena.work.lease import within_devices
from programs.common.errors import EnvironmentProblem
from trainer.streams import Streams
from trainer.task import Task

if TYPE_CHECKING:
    from arena.cluster.executor import RayExecutor

Say = Callable[[str], None]


@contextmanager
def scratch(
    task: Task, streams: Streams, *, workers: int, fixed_steps: bool, sandbox: bool
) -> Iterator[tuple[Path, StudyConfig]]:
    """A temporary folder that workers treat as a study; its hidden splits come from ``streams``.

    The data.py of a task that is not built in runs in a sandbox, in every worker.
    """
    with tempfile.TemporaryDirectory(prefix="metaloop-verify-") as name:
        folder = Path(name)
        config = StudyConfig(
            study_id="scratch",
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            kind="verify",
            task=reference(task),
            task_id=task.task_id,
            run_budget=task.run_budget,
            workers=workers,
            fixed_steps=fixed_steps,
            sandbox=sandbox,
            secret=streams.secret.hex(),
            held_secret=streams.held_secret.hex(),
            hardware_class=hardware_of_jobs(task.device),
            versions=versions(),
            confined=True if sandbox and not task.is_builtin else None,
        )
        config.dump(folder / "study.toml")
        (folder / "ledger").mkdir()
        yield folder, config


def measure(folder: Path, workers: int, jobs: Sequence[MeasureJob], say: Say) -> Mapping[str, Measurement]:
    """Run the jobs; returns their measurements by job id. Raises what stopped a worker."""
    measured: dict[str, Measurement] = {}
    with _executor(folder, min(workers, len(jobs)), lambda event: say(str(event.get("text", "")))) as executor:
        for result in executor.run(jobs):
            (measured[result.job_id],) = result.measurements
            result_of = measured[result.job_id]
            shown = (
                f"{result_of.metric:.4f}" if result_of.metric is not None else f"{result_of.status}: {result_of.reason}"
            )
            say(f"{len(measured):3d} of {len(jobs)}  {result.job_id}  {shown}")
    if len(measured) < len(jobs):
        raise EnvironmentProblem("the workers stopped early", hint="give the same command again")
    return measured


def _executor(folder: Path, workers: int, progress: Progress) -> LocalExecutor | RayExecutor:
    if on_cluster():
        from arena.cluster.executor import RayExecutor

        return RayExecutor(folder, progress)
    task = Task.load(StudyConfig.read(folder / "study.toml").task)
    return LocalExecutor(folder, within_devices(workers, task), progress)


def secret_hash(streams: Streams) -> str:
    """SHA-256 of a secret in hex, published before the secret is used."""
    return hashlib.sha256(streams.secret).hexdigest()

"""A scratch study: fresh data under a fresh secret, ordinary workers, nothing that stays."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from arena.choice import hardware_of_jobs, on_cluster
from arena.executor import LocalExecutor, Progress
from arena.jobs import MeasureJob, Measurement
from arena.lease import within_devices
from arena.settings import StudyConfig
from arena.setup import reference, versions
from programs.errors import EnvironmentProblem
from trainer.streams import Streams
from trainer.task import Task

if TYPE_CHECKING:
    from arena.cluster.executor import RayExecutor

Told = Callable[[str], None]


@contextmanager
def scratch(
    task: Task, streams: Streams, *, workers: int, fixed_steps: bool, sandbox: bool
) -> Iterator[tuple[Path, StudyConfig]]:
    """A folder that workers take for a study; its hidden splits descend from ``streams``, and go with it.

    The data.py of a task that did not come with metaloop runs in a sandbox, in every worker.
    """
    with tempfile.TemporaryDirectory(prefix="metaloop-verify-") as name:
        folder = Path(name)
        config = StudyConfig(
            study_id="scratch", created_at=datetime.now(UTC).isoformat(timespec="seconds"), command="verify",
            task=reference(task), task_id=task.task_id, text_hash=task.text_hash,
            run_budget=task.run_budget, workers=workers, fixed_steps=fixed_steps, sandbox=sandbox,
            secret=streams.secret.hex(), data_bits=streams.data_bits,
            hardware_class=hardware_of_jobs(task.device), versions=versions(),
            confined=True if sandbox and not task.is_builtin else None,
        )  # fmt: skip
        config.dump(folder / "study.toml")
        (folder / "ledger").mkdir()
        yield folder, config


def measure(folder: Path, workers: int, jobs: Sequence[MeasureJob], told: Told) -> Mapping[str, Measurement]:
    """Carry the jobs out and return what each measured, by job id. Raises what a worker could not get over."""
    measured: dict[str, Measurement] = {}
    with _executor(folder, min(workers, len(jobs)), lambda event: told(str(event.get("text", "")))) as executor:
        for result in executor.run(jobs):
            (measured[result.job_id],) = result.measurements
            found = measured[result.job_id]
            shown = f"{found.metric:.4f}" if found.metric is not None else f"{found.status}: {found.reason}"
            told(f"{len(measured):3d} of {len(jobs)}  {result.job_id}  {shown}")
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
    """What is told of a secret before it is used: SHA-256, hex."""
    return hashlib.sha256(streams.secret).hexdigest()

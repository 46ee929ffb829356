"""Whole studies of a simulated task in this process: the outer loop's own code, with nothing written that is not read.

What is left out: worker processes, git repositories of runs and programs, fsync where the folder lies in memory, the
champion's pages. What stays: starters, races, ledger, evidence, mutators, archive, confirmation and its one test.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arena.executor import Progress
from arena.executors.in_process import InProcessExecutor
from bench.common import TRIED
from meta.claim import Claim
from meta.evolve import search
from meta.kinds.begin import create, take_up
from meta.kinds.plan import Plan, quick
from meta.lineage import Lineage
from programs.program import Program
from trainer.task import Task

EXPERIMENTS = 16  # of a run on a simulated task
LAWS = 20  # simulated tasks that studies are spread over
_IN_MEMORY = Path("/dev/shm")


def quick_plan(task: Task) -> Plan:
    """The plan quick; where a command is only tried, one with as many parts and as few runs as there can be."""
    if not TRIED:
        return quick(task)
    return replace(
        quick(task), starters=3, opening_runs=2, opening_keep=2, opening_more=2, aa_runs=2, generations=1,
        children=2, elites=1, child_runs=2, child_keep=1, child_more=2, confirm_runs=3, ablation_runs=2,
        control_runs=2,
    )  # fmt: skip


def silent(_: Mapping[str, Any]) -> None:
    """A progress that nobody watches."""


class Unwritten(Lineage):
    """A lineage that commits nothing; the ledger holds every program and its parents all the same."""

    def __init__(self) -> None:
        self.commits = {}

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def add(self, program: Program, *, operator: str, parent_ids: Iterable[str], reason: str) -> str:
        return ""

    def crown(self, program_id: str) -> None:
        """There is no branch to move."""


def whole_study(
    task: Task,
    plan: Plan,
    seed: int,
    folder: Path | None = None,
    progress: Progress = silent,
    further: Sequence[Task] = (),
) -> tuple[Program, Claim]:
    """Champion and claim of one study of a simulated task, or of several with ``further``; ``folder`` keeps it, else it
    lies in memory and goes.

    The same seed gives the same study, and one that was stopped goes on in its ``folder``. Raises UsageError for a
    task that trains for real, Drained where the study was asked to stop.
    """
    if folder is None:
        memory = _IN_MEMORY if _IN_MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="metaloop-simulated-", dir=memory) as name:
            return whole_study(task, plan, seed, Path(name) / "study", progress, further)
    if (folder / "study.toml").is_file():
        study, plan, starters = take_up(folder)
        study.agree()
    else:
        study, starters = create(folder, task=task, plan=plan, workers=1, seed=seed, further=further)
    with study, InProcessExecutor(study, progress) as executor, Unwritten() as lineage:
        return search(study, plan, starters, executor, lineage, progress)

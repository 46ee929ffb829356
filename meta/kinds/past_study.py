"""A new study that starts from a past one: its champion is a starter, and what it measured joins the knowledge from
which the starter with learnt ideas is written (`meta.learnt`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from analysis.knowledge.store import Effect, of_study
from analysis.ledger import state_of
from analysis.ledger.run_state import StudyState
from analysis.study import ledger_folder, read_study
from arena.after.harvest import HARVEST
from arena.study.settings import FromStudy, StudyConfig
from meta.kinds.contract import plan_of
from meta.kinds.plans import SEARCHES, EvolvePlan, NightPlan
from meta.population import descendants
from programs.common.errors import ProgramError, UsageError
from programs.common.text import listed
from programs.program import Program
from trainer.sandbox import flag
from trainer.task import Task


def refused(folder: str, why: str, hint: str = "") -> UsageError:
    other = f"what it measured can still be used: metaloop program new program.md --learnt {folder}"
    return UsageError(f"--from {folder}: {why}", hint=hint or other)


@dataclass(frozen=True)
class PastStudy:
    """``named``: its tasks as study.toml names them. ``used``: what the new study records of it. ``effects``: of edits,
    by role; they may be none. ``main``: of a night, the files that it ended with, if they gained anything;
    ``main_seconds``: device-seconds of a training of it, 0 if that is not known. ``held_secret``: it drew the rows that
    no search saw, which stay the same."""

    folder: Path
    named: str
    tasks: Sequence[Task]
    champion: Program
    effects: Sequence[Effect]
    used: FromStudy
    main: Sequence[tuple[str, str]] = ()
    main_seconds: float = 0.0
    held_secret: str = ""

    def refuse_other(self, training: Sequence[Task], reserve: Sequence[Task]) -> None:
        """Raise UsageError for a new study on none of its tasks, or with one of them as a held-out task."""
        folder = self.used.folder
        if not {task.task_id for task in self.tasks} & {task.task_id for task in training}:
            ours, new = listed(task.name for task in self.tasks), listed(task.name for task in training)
            raise refused(folder, f"it is a study of {ours}, not of {new}")
        if touched := sorted({*self.used.searched} & {task.name for task in reserve}):
            raise refused(folder, f"it searched on {touched[0]}, which this study reserves", "reserve another task")


def past_study(folder: Path, shown: str) -> PastStudy:
    """The study in ``folder``, which messages name ``shown``. Raises UsageError for one without a champion or whose
    task has changed; NotFound and Corrupt as `read_study`."""
    config = StudyConfig.read(folder / "study.toml")
    if config.kind not in SEARCHES:
        raise refused(shown, f"a study of the kind {config.kind} has no champion")
    plan = plan_of(config)
    assert isinstance(plan, EvolvePlan | NightPlan)
    state = StudyState.read(ledger_folder(folder))
    if state.champion is None:
        hint = f"let it end first: metaloop resume {shown}{flag(config.sandbox)}"
        raise refused(shown, "it has no champion yet", hint)
    named_tasks = [(config.task, config.task_id), *((other.task, other.task_id) for other in config.further)]
    tasks = [Task.load(reference) for reference, _ in named_tasks]
    for task, (_, task_id) in zip(tasks, named_tasks, strict=True):
        if task.task_id != task_id:
            raise refused(shown, f"its task {task.name} has changed since{task.newer_files(config.created_at)}")
    champion = _champion(state, str(state.champion.body["program_id"]), shown)
    origin = plan.origin
    descends = origin is not None and champion.program_id in descendants(origin, state.programs)
    with read_study(folder, views=()) as con:
        effects = [effect for task in tasks for effect in of_study(con, task, config.study_id)]
    searched = {task.name for task in tasks} | {*(config.from_study.searched if config.from_study else ())}
    used = FromStudy(
        folder=shown,
        study_id=config.study_id,
        ledger=state_of(ledger_folder(folder)),
        searched=sorted(searched),
        program_id=champion.program_id,
        name=champion.name,
        origin=origin if descends else None,
    )
    names = ",".join(reference for reference, _ in named_tasks)
    best = state.harvests.get((tasks[0].name, HARVEST)) if config.kind == "night" else None
    main = best.files if best is not None and (best.gain or 0.0) > 0 else ()
    trained = (
        [verification.device_seconds_spent for verification in state.verifications() if verification.status == "ok"]
        if main
        else []
    )
    return PastStudy(folder, names, tasks, champion, effects, used, main, fmean(trained) if trained else 0.0,
                     config.held_secret or config.secret)  # fmt: skip


def _champion(state: StudyState, program_id: str, shown: str) -> Program:
    """Its text as the ledger has it: another person may have written that, so its id is computed again."""
    row = state.programs.get(program_id)
    try:
        champion = Program.parse(row.text, row.name) if row else None
    except ProgramError:
        champion = None
    if champion is None or champion.program_id != program_id:
        raise refused(shown, "its ledger has no text of its champion", "restore it from a copy")
    return champion


def past_line(used: FromStudy) -> str:
    """For a plan: ``studies/a: its champion, idea-queue-v3, is one of the starting programs``."""
    return f"{used.folder}: its champion, {used.name}, is one of the starting programs"

"""The files of a harvest, how its train.py was made, and what a training of it costs."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.ledger.events import HarvestEvent, HarvestExperimentEvent
from analysis.ledger.run_state import StudyState
from analysis.wording import duration
from arena.harvest import HARVEST
from arena.setup import reference
from arena.study import Study
from arena.task_study import tasks_of
from trainer.cards.freshness import CHOSEN, freshness
from trainer.edits import Edit
from trainer.task import Task

BY_RUN = "the untouched train.py, by a run"
LONGER = 1.2  # times the untouched train.py: some of the gain may be bought


@dataclass(frozen=True)
class HarvestStep:
    """An edit on the way to the train.py; ``origin``: what it changed."""

    origin: str
    edit: Edit


@dataclass(frozen=True)
class HarvestedScript:
    """The harvest on one task. ``verified``: what `metaloop verify` is given; both words are quoted for a shell."""

    event: HarvestEvent
    files: list[tuple[Path, str]]
    verified: str
    task: str
    unit: str
    steps: list[HarvestStep]
    cost: str
    measured: str


def harvests(study: Study) -> list[HarvestedScript]:
    """``best_train.py``, or ``best/TASK/FILE`` where the study has several tasks or the task several files."""
    scripts = []
    for on in tasks_of(study):
        event = study.state.harvests.get((on.task.name, HARVEST))
        if event is None:
            continue
        folder = study.folder / "best" / event.task
        alone = not study.config.further and len(event.files) == 1 and "/" not in event.files[0][0]
        files = [(study.folder / f"best_{name}" if alone else folder / name, text) for name, text in event.files]
        verified = files[0][0] if len(files) == 1 else folder
        made = {
            one.source_id: one
            for (stage, _), one in sorted(study.state.harvested[event.task, HARVEST].items(), reverse=True)
            if stage in ("search", "measure")
        }
        names = shlex.quote(str(verified)), shlex.quote(reference(on.task))
        scripts.append(
            HarvestedScript(
                event,
                files,
                *names,
                on.task.unit,
                steps(event.source_id, made) or [HarvestStep(BY_RUN, edit_to(on.task, event))],
                training_cost(study.state, event.task),
                CHOSEN[freshness(on.task)],
            )
        )
    return scripts


def edit_to(task: Task, event: HarvestEvent) -> Edit:
    return task.edits.between(task.edits.config(task.baseline()), event.config)


def training_cost(state: StudyState, task: str) -> str:
    """How long a training of the harvest's train.py takes, and one of the untouched; empty if that is not known."""
    measured = state.harvested.get((task, HARVEST), {})
    again = [event for (stage, _), event in measured.items() if stage == "measure"]
    # of a night, whose result is verified like that of any run
    new = [one.device_seconds_spent for one in again or state.verifications() if one.status == "ok"]
    old = [
        event.device_seconds_spent
        for (on, stream, _), event in state.baselines.items()
        if (on, stream, event.status) == (task, "confirmation", "ok")
    ]
    if not any(new) or not any(old):
        return ""
    now, before = statistics.fmean(new), statistics.fmean(old)
    text = f"Average training: {duration(now)} of device time (untouched train.py: {duration(before)})."
    return text + " Part of the gain may come from longer training." * (now > LONGER * before)


def steps(source_id: str, made: Mapping[str, HarvestExperimentEvent]) -> list[HarvestStep]:
    """The edits that lead to a source, the first one of the untouched train.py."""
    if source_id not in made:
        return []
    one = made[source_id]
    by_run = f"the untouched train.py, by run {one.from_run}"
    origins = {
        "model": "the untouched train.py, by the mixed model",
        "run": by_run,
        "elite": "the step before, by the elite search",
    }
    step = HarvestStep(origins.get(one.origin, "the untouched train.py"), one.edit)
    return [*(steps(one.parent_source_id, made) if one.parent_source_id else []), step]

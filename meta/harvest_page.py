"""The files of a harvest, how its train.py was made, and what a training of it costs."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis.ledger.events import HarvestEvent
from analysis.ledger.run_state import StudyState
from analysis.wording import duration
from arena.harvest import HARVEST
from arena.setup import reference
from arena.study import Study
from arena.task_study import tasks_of
from trainer.cards.freshness import CHOSEN, freshness
from trainer.edits import Edit

LONGER = 1.2  # times the untouched train.py: some of the gain may be bought


@dataclass(frozen=True)
class HarvestedScript:
    """The harvest on one task. ``verified``: what `metaloop verify` is given, and ``task``, both quoted for a shell.
    ``steps``: the edits that lead to the train.py, each with its origin (see `HarvestExperimentEvent`)."""

    event: HarvestEvent
    files: list[tuple[Path, str]]
    verified: str
    task: str
    unit: str
    steps: list[tuple[str, Edit]]
    cost: str
    measured: str


def harvests(study: Study) -> Iterator[HarvestedScript]:
    """``best_train.py``, or ``best/TASK/FILE`` where the study has several tasks or the task several files."""
    for on in tasks_of(study):
        event, task = study.state.harvests.get((on.task.name, HARVEST)), on.task
        if event is None:
            continue
        folder, untouched = study.folder / "best" / event.task, task.edits.config(task.baseline())
        alone = not study.config.further and len(event.files) == 1 and "/" not in event.files[0][0]
        files = [(study.folder / f"best_{name}" if alone else folder / name, text) for name, text in event.files]
        yield HarvestedScript(
            event,
            files,
            shlex.quote(str(files[0][0] if len(files) == 1 else folder)),
            shlex.quote(reference(task)),
            task.unit,
            steps(study.state, event) or [("run", task.edits.between(untouched, event.config))],
            training_cost(study.state, event.task),
            CHOSEN[freshness(task)],
        )


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


def steps(state: StudyState, event: HarvestEvent) -> list[tuple[str, Edit]]:
    """From the untouched train.py to that of a harvest; empty where no search made it, as in a night."""
    trained = sorted(state.harvested[event.task, HARVEST].items(), reverse=True)
    made = {one.source_id: one for (stage, _), one in trained if stage in ("search", "measure")}
    chain, source_id = list[tuple[str, Edit]](), str(event.source_id)
    while source_id in made:
        one = made[source_id]
        chain.insert(0, (f"{one.origin} {one.from_run or ''}".strip(), one.edit))
        source_id = one.parent_source_id or ""
    return chain

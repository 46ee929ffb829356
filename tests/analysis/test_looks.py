"""What a search's rows can show: from planted values of rows, their number alone, or neither."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from analysis.ledger.run_state import RunState, StudyState
from analysis.looks import looks_of
from analysis.verdict.decision import Looks
from inner_loop.events import DecisionEvent, Experiment
from programs.common.errors import Corrupt
from tests.trainer.foreign_repos import command_task
from trainer.edits import Edit
from trainer.rows import LUCK_DRAWS, RowStore, held_back, resolvable, share_error
from trainer.streams import Streams
from trainer.task import Task

TRIES, STREAMS = 12, Streams.from_seed(3)


def own_task(folder: Path, score: str) -> Task:
    made = command_task(folder, {"train.py": "print('loss: 1')\n"})
    toml = made.folder / "task.toml"
    toml.write_text(toml.read_text().replace("[score]\n", f"[score]\n{score}\n"))
    return Task.load(folder)


def experiment(number: int, metric: float | None, rows: str | None = None, **more: Any) -> Experiment:
    return Experiment(
        run_id="r", experiment_id=f"e{number}", number=number, parent_number=0, source_id=f"s{number}", edit=Edit(),
        config={}, seed=1, replicate=0, fraction=1.0, status="ok", metric=metric, device_seconds_charged=1.0,
        device_seconds_spent=1.0, wall_seconds=1.0, cached=False, reason="", rows=rows, **more,
    )  # fmt: skip


def state_of(task: Task, experiments: list[Experiment], kept: set[int]) -> StudyState:
    state, run = StudyState(), RunState(started=cast(Any, SimpleNamespace(task=task.name)))
    for event in experiments:
        decision = "keep" if event.number in kept else "discard"
        run.take(event)
        run.take(DecisionEvent(run_id="r", experiment_id=event.experiment_id, decision=decision))
    state.runs["r"] = run
    return state


def with_rows(folder: Path, task: Task, rows: int, effect: float) -> Looks | None:
    """Of tries that each change the answers of a tenth of the rows; the first is kept and corrects ``effect`` more."""
    rng, store = np.random.default_rng(1), RowStore(folder)
    old = (rng.random(rows) < 0.3).astype(float)
    events = [experiment(0, float(old.mean()), store.put(old))]
    for number in range(1, TRIES + 1):
        new = old.copy()
        changed = rng.permutation(rows)[: rows // 10]
        new[changed] = rng.permutation(old[changed])
        wrong = np.flatnonzero(new)
        new[wrong[: round(effect * rows) if number == 1 else 0]] = 0.0
        events.append(experiment(number, float(new.mean()), store.put(new)))
    return looks_of(folder, state_of(task, events, {1}), task, STREAMS, earlier=5)


@pytest.mark.parametrize(("effect", "is_luck"), [(0.0, True), (0.15, False)])
def test_looks_with_values_of_rows_have_a_luck_test(tmp_path: Path, effect: float, is_luck: bool) -> None:
    task = own_task(tmp_path / "task", 'rows = "losses.csv"\nn_rows = 1000')
    seen = with_rows(tmp_path / "study", task, 1000, effect)
    assert seen is not None and (seen.tries, seen.earlier) == (TRIES + 5, 5)
    search = int((~held_back(STREAMS, task.task_id, 1000)).sum())
    assert seen.rows == search < 1000 and seen.step == pytest.approx(1 / search)
    assert seen.p is not None and seen.luck is not None and seen.luck > 0 and seen.resolvable
    assert (seen.p > 0.05) == is_luck and (seen.p == pytest.approx(1 / (1 + LUCK_DRAWS))) == (not is_luck)
    assert 0 < seen.resolvable < resolvable(math.sqrt(2) * share_error(0.3, search))  # paired


def test_looks_with_the_number_of_rows_have_an_error(tmp_path: Path) -> None:
    task = own_task(tmp_path / "task", "n_rows = 100")
    events = [experiment(number, 0.2) for number in range(4)] + [experiment(4, None)]
    seen = looks_of(tmp_path, state_of(task, events, set()), task, STREAMS)
    se = math.sqrt(2) * 0.04
    assert seen == Looks(
        "loss", 3, 0, 100, 0.01, pytest.approx(2.8 * se), luck=pytest.approx(se * math.sqrt(2 * math.log(3)))
    )


def test_looks_without_known_noise_are_counted_alone(tmp_path: Path) -> None:
    task = own_task(tmp_path / "task", "")
    state = state_of(task, [experiment(0, 0.2), experiment(1, 0.1)], set())
    assert looks_of(tmp_path, state, task, STREAMS) == Looks("loss", 1)
    assert looks_of(tmp_path, state_of(task, [experiment(0, 0.2)], set()), task, STREAMS) is None
    assert looks_of(tmp_path, state, Task.load("strokes"), STREAMS) is None
    assert looks_of(tmp_path, state, own_task(tmp_path / "exact", "exact = true"), STREAMS) is None


def test_looks_at_missing_values_of_rows_are_an_error(tmp_path: Path) -> None:
    task = own_task(tmp_path / "task", 'rows = "losses.csv"\nn_rows = 1000')
    events = [experiment(0, 0.2, "0" * 24), experiment(1, 0.1, "1" * 24)]
    with pytest.raises(Corrupt, match="is not the file that was recorded"):
        looks_of(tmp_path / "study", state_of(task, events, set()), task, STREAMS)

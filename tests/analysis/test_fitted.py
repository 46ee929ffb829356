"""A simulated copy of a task whose law is fitted to the experiments of a study; the task itself has a known law."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.fitted import fitted_law
from analysis.study import open_study
from meta.cli.main import run
from programs.errors import NotComparable
from trainer.law import Law
from trainer.planted import fitted_task, random_law, simulated_task
from trainer.task import Task


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Task]:
    """A study of stock on a task with a known law, and the task."""
    folder = tmp_path_factory.mktemp("fitted")
    task = Task.load(simulated_task(random_law(3, crash_rate=0.0), folder / "task"))
    play = ["match", "stock", "one-line", "-t", str(task.folder), "-n", "12", "--seed", "3", "-y", "-q"]
    assert run([*play, "-s", str(folder / "study")]) == 0
    return folder / "study", task


@pytest.fixture(scope="module")
def law(known: tuple[Path, Task]) -> Law:
    with open_study(known[0]) as con:
        return fitted_law(con, known[1])


def test_the_fitted_effects_are_those_of_the_task(law: Law, known: tuple[Path, Task]) -> None:
    true = known[1].law
    assert true is not None and law.before == true.before and law.sign == true.sign
    assert law.metric == pytest.approx(true.metric, abs=0.05) and 0 < law.noise < 0.1
    shared = [change for change in law.effects if change in true.effects]
    assert len(shared) >= 25 and set(law.effects) <= {*true.effects, *true.crashes}
    fitted, planted = ([one.effects[change] for change in shared] for one in (law, true))
    assert np.corrcoef(fitted, np.clip(planted, -0.3, None))[0, 1] > 0.8
    assert law.crashes <= true.crashes and law.crashes


def test_the_copy_has_the_tasks_knobs_and_this_law(law: Law, known: tuple[Path, Task], tmp_path: Path) -> None:
    made = Task.load(fitted_task(known[1], law, tmp_path / "model", name="model"))
    assert (
        made.law is not None and made.edits.knobs == known[1].edits.knobs and made.cost_seconds == known[1].cost_seconds
    )
    assert dict(made.law.effects) == pytest.approx(dict(law.effects)) and made.law.interactions == law.interactions
    assert made.law.crashes == law.crashes and made.baseline() == known[1].baseline()


def test_a_real_task_keeps_its_roles_and_patches(tmp_path: Path) -> None:
    task = Task.load("strokes")
    before = task.edits.config(task.baseline())
    patch = next(knob.name for knob in task.edits.knobs if knob.kind == "patch")
    law = Law(before=before, effects={("LR", 0.05): 0.3, (patch, True): 0.2}, metric=2.0, noise=0.1)
    made = Task.load(fitted_task(task, law, tmp_path / "model", name="model"))
    assert made.law is not None and dict(made.law.effects) == dict(law.effects) and made.family is None
    assert [knob.role for knob in made.edits.knobs] == [knob.role for knob in task.edits.knobs]
    changed = made.edits.config(made.edits.apply(made.baseline(), made.edits.parse_terms(["lr=0.05", f"+{patch}"])))
    assert made.law.gain(changed) == pytest.approx(0.5)


def test_the_command_writes_it_and_refuses_what_it_cannot(
    known: tuple[Path, Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    assert run(["task", "init", str(model), "--simulated", "--fitted", str(known[0]), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model of"] == "planted" and said["edits"] == len(Task.load(model).law.effects)  # type: ignore[union-attr]
    assert run(["task", "init", str(model), "--simulated", "--fitted", str(known[0])]) == 2
    assert "already exists" in capsys.readouterr().err
    assert run(["task", "init", str(tmp_path / "other"), "--fitted", str(known[0])]) == 2
    assert "--fitted needs --simulated" in capsys.readouterr().err
    few = tmp_path / "few"
    assert (
        run(["match", "one-line", "-t", str(known[1].folder), "-n", "1", "-b", "0.2s", "-s", str(few), "-y", "-q"]) == 0
    )
    capsys.readouterr()
    with open_study(few) as con, pytest.raises(NotComparable, match="too few to fit"):
        fitted_law(con, known[1])

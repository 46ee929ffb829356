"""A task without training: its folder, its outcomes, what they are charged, and what is wrong with a bad law."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.simulated_tasks import random_law, simulated_task, term
from programs.common.errors import TaskError
from tests.trainer.foreign_repos import changed, store
from trainer.cards.check import check
from trainer.cards.measure import measure
from trainer.experiment import Spec, Trainer
from trainer.outcome import Cache
from trainer.source import Source
from trainer.task import Task

LAW = random_law(5)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task.load(simulated_task(LAW, tmp_path / "planted"))


def trainer(task: Task, **how: bool) -> Trainer:
    return Trainer(task, store(task, task.folder / "data"), **how)


def edited(task: Task, *terms: str) -> Source:
    edit = task.edits.parse_terms(terms)
    assert edit is not None
    return task.edits.apply(task.baseline(), edit)


@pytest.mark.parametrize("seed", range(8))
def test_a_folder_holds_its_law_whole(seed: int, tmp_path: Path) -> None:
    law = replace(random_law(seed), sign=-1.0 if seed % 2 else 1.0)
    task = Task.load(simulated_task(law, tmp_path))
    assert task.law == law and task.sign == law.sign
    assert task.run_budget == pytest.approx(24 * task.cost_seconds)
    for change in law.effects:
        config = task.edits.config(edited(task, term(change)))
        assert law.changes(config) == [change]


def test_an_outcome_is_the_laws_and_always_the_same(task: Task) -> None:
    good = next(change for change, effect in LAW.effects.items() if effect > 0.1)
    spec = Spec(edited(task, term(good)), seed=7)
    one, other = trainer(task).run(spec), trainer(task).run(spec)
    assert one == other and one.status == "ok" and one.trust == "scored"
    told = LAW.simulate(task.edits.config(spec.source), spec.source.source_id, seed=7, stream="search")
    assert one.metric == told.metric
    assert trainer(task).run(replace(spec, seed=8)).metric != one.metric


def test_fraction_is_charged_its_training_and_all_of_the_launch(task: Task) -> None:
    costs = {f: trainer(task).run(Spec(task.baseline(), 1, fraction=f)).device_seconds_charged for f in (1.0, 0.25)}
    assert costs[1.0] == pytest.approx(task.cost_seconds)
    assert costs[0.25] == pytest.approx(task.cost_seconds - 0.75 * task.budget_seconds)
    fixed = trainer(task, fixed_steps=True).run(Spec(task.baseline(), 1, fraction=0.25))
    assert fixed.device_seconds_charged == pytest.approx(25 * task.seconds_per_step) and fixed.steps == 25


def test_what_confirms_is_verified_with_a_sandbox_or_without(task: Task) -> None:
    run = trainer(task).run
    trusts = [run(Spec(task.baseline(), 1, stream)).trust for stream in ("selection", "confirmation", "reserve")]
    assert trusts == ["scored", "verified", "verified"]
    assert trainer(task, sandbox=False).run(Spec(task.baseline(), 1)).trust == "scored"  # nothing ran in either


def test_crashes_and_sources_that_the_law_does_not_know(task: Task) -> None:
    crash = trainer(task).run(Spec(edited(task, term(min(LAW.crashes))), 1))
    assert crash.status == "crash" and crash.metric is None and 0 < crash.device_seconds_charged < task.cost_seconds
    lost = task.baseline().with_text("train.py", "print('hello')\n")
    invalid = trainer(task).run(Spec(lost, 1))
    assert invalid.status == "invalid" and "the law does not cover a source without" in invalid.reason
    name = next(name for name, value in LAW.before.items() if isinstance(value, str))
    number = next(name for name, value in LAW.before.items() if isinstance(value, float))
    for place, value in ((name, "[1]"), (number, "(1,)"), (number, "1j"), (number, "None")):
        odd = re.sub(rf"^{place} = .*$", f"{place} = {value}", task.baseline().text(), flags=re.MULTILINE)
        assert odd != task.baseline().text()
        assert trainer(task).run(Spec(task.baseline().with_text("train.py", odd), 1)).status == "invalid"


def test_law_is_never_cached(task: Task, tmp_path: Path) -> None:
    with Trainer(task, store(task, tmp_path), cache=Cache(tmp_path / "cache")) as found:
        assert not found.run(Spec(task.baseline(), 1)).cached and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kind = "simulated"', 'kind = "classification"\nclasses = 3', "needs a section [law]"),
        ("[law.effects]", '[law.effects]\n"nix=3" = 0.1', "'nix=3' is not an edit of this task"),
        ("[law.effects]", '[law.effects]\n"choice3=plain" = 0.1', "is the baseline's own value"),
        ("crash_rate = 0.05", "crash_rate = 1.5", "crash_rate"),
    ],
)
def test_a_bad_law_is_one_line_with_its_place(task: Task, old: str, new: str, says: str) -> None:
    with pytest.raises(TaskError) as caught:
        changed(task.folder, old, new)
    assert says in caught.value.message and "\n" not in caught.value.message and caught.value.hint
    assert caught.value.message.startswith(f"{task.folder}/task.toml:")


def test_check_says_what_the_law_can_show(task: Task) -> None:
    found = check(task.folder)
    assert not [finding for finding in found if finding.level == "error"]
    (law,) = [finding for finding in found if finding.clause == "law"]
    assert "edits gain, headroom" in law.message and "nothing is trained" in law.message
    assert not any(finding.clause == "by hand" for finding in found)  # its source is read and never run


def test_a_law_that_is_silent_about_a_knob_is_told(task: Task) -> None:
    path = task.folder / "task.toml"
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("patch6 ="))
    path.write_text(text.split("[[law.interactions]]")[0])
    (finding,) = [f for f in check(task.folder, only=["law"]) if f.level == "warning"]
    assert "patch6" in finding.message


def test_a_card_is_measured_like_any_other(task: Task) -> None:
    card = measure(task, seeds=6)
    assert card.cost_seconds == pytest.approx(task.cost_seconds) and card.cost_sd == pytest.approx(0.0)
    assert card.baseline.mean == pytest.approx(LAW.metric, abs=0.1)
    assert card.headroom.gain_sd > 0
    assert card.headroom.edit


def test_a_planted_task_is_the_same_whatever_order_sets_have(tmp_path: Path) -> None:
    """Its id is part of every seed; sets of text are in another order in each process."""
    code = "import sys, pathlib; from bench.simulated_tasks import random_law, simulated_task; "
    code += "from trainer.task import Task; "
    code += "print(Task.load(simulated_task(random_law(2), pathlib.Path(sys.argv[1]))).task_id)"
    ids = set()
    for seed in ("1", "2", "5"):
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ids.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(ids) == 1

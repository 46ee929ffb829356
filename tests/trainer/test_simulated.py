"""A task without training: its law, over many draws; its folder, its outcomes, what they are charged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.simulated_tasks import null_law, random_law, simulated_task, term
from programs.common.errors import TaskError
from tests.trainer.foreign_repos import changed, store
from trainer.cards.check import check
from trainer.experiment import Spec, Trainer
from trainer.laws.law import Law
from trainer.outcome import Cache
from trainer.source import Source
from trainer.task import Task

DRAWS = 4000
BEFORE = {"LR": 0.1, "WIDTH": 8, "OPT": "sgd", "muon": False}
LAW = Law(
    before=BEFORE,
    effects={("LR", 0.2): 0.3, ("LR", 0.05): -0.1, ("OPT", "adam"): 0.2, ("muon", True): 0.5},
    interactions={(("LR", 0.2), ("muon", True)): -0.15},
    noise=0.1,
)
BEST = {"LR": 0.2, "WIDTH": 8, "OPT": "adam", "muon": True}


def metrics(law: Law, config: dict[str, object], **more: object) -> np.ndarray:
    """Of one source under many seeds."""
    told = [law.simulate(config, "s1", seed=seed, stream="search", **more).metric for seed in range(DRAWS)]  # type: ignore[arg-type]
    return np.array(told, dtype=float)


def test_a_gain_is_the_sum_of_effects_and_interactions() -> None:
    assert LAW.gain(BEFORE) == 0.0
    assert LAW.gain(BEST) == pytest.approx(0.3 + 0.2 + 0.5 - 0.15)
    assert LAW.headroom == pytest.approx(1.0)
    assert LAW.gain(BEFORE | {"WIDTH": 64}) == 0.0  # the law does not name it


@pytest.mark.parametrize(("value", "effect"), [(0.15, 0.15), (0.075, -0.05), (0.9, 0.3), (0.01, -0.1), (0.1, 0.0)])
def test_numbers_between_two_that_are_named_are_interpolated(value: float, effect: float) -> None:
    assert LAW.effect(("LR", value)) == pytest.approx(effect)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_metrics_have_the_mean_and_the_sd_of_the_law(sign: float) -> None:
    law = replace(LAW, sign=sign)
    for config, gain in ((BEFORE, 0.0), (BEST, 0.85)):
        drawn = metrics(law, config)
        assert sign * (law.metric - drawn.mean()) == pytest.approx(gain, abs=4 * 0.1 / DRAWS**0.5)
        assert drawn.std() == pytest.approx(0.1, rel=4 / (2 * DRAWS) ** 0.5)


def test_noise_shrinks_as_the_run_improves() -> None:
    law = replace(LAW, shrink=0.8)
    assert law.sd(0.0) == 0.1 and law.sd(-1.0) == 0.1 and law.sd(9.0) == pytest.approx(0.02)
    assert metrics(law, BEST).std() == pytest.approx(0.1 * (1 - 0.8 * 0.85), rel=4 / (2 * DRAWS) ** 0.5)


def test_a_training_seed_holds_to_its_own_view_of_an_edit() -> None:
    """Two sources that share an edit stray together under one seed: a run is led by its seed, two runs differ."""
    law = replace(LAW, noise=0.0, trajectory=0.05)
    one = metrics(law, BEFORE | {"OPT": "adam"})
    other = metrics(law, BEFORE | {"OPT": "adam", "WIDTH": 64})
    assert one.std() == pytest.approx(0.05, rel=0.1)
    assert other.std() == pytest.approx(0.05 * 2**0.5, rel=0.1)
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.5**0.5, abs=0.05)
    assert metrics(law, BEFORE).std() == 0.0


def test_drift_moves_all_sources_of_a_match_alike() -> None:
    law = replace(LAW, noise=0.0, drift=0.2)

    def at(config: dict[str, object], block: str) -> float:
        return law.simulate(config, "s1", seed=1, stream="selection", block=block).metric or 0.0  # type: ignore[arg-type]

    moved = np.array([at(BEFORE, f"m{i}") for i in range(DRAWS)])
    assert moved.mean() == pytest.approx(law.metric, abs=4 * 0.2 / DRAWS**0.5)
    assert moved.std() == pytest.approx(0.2, rel=0.1)
    assert at(BEFORE, "m1") - at(BEST, "m1") == pytest.approx(law.gain(BEST))
    assert at(BEFORE, "") == law.metric


def test_share_of_crashes_is_the_laws_and_never_the_baselines() -> None:
    law = replace(LAW, crash_rate=0.2)
    edited = [law.simulate(BEST, f"s{i}", seed=1, stream="search").metric is None for i in range(DRAWS)]
    assert np.mean(edited) == pytest.approx(0.2, abs=4 * 0.4 / DRAWS**0.5)
    assert all(law.simulate(BEFORE, f"s{i}", seed=1, stream="search").metric is not None for i in range(200))
    always = replace(LAW, crashes=frozenset({("OPT", "adam")}))
    assert always.simulate(BEST, "s1", seed=1, stream="search").crash.startswith("OPT")


def test_a_fraction_is_slower_and_misleads_about_sources() -> None:
    law = replace(LAW, noise=0.0, slow=0.4, misleading=0.1)
    drawn = np.array([law.simulate(BEST, f"s{i}", seed=1, stream="search", fraction=0.25).metric for i in range(DRAWS)])
    assert drawn.mean() == pytest.approx(law.metric - 0.85 + 0.75 * 0.4, abs=4 * 0.075 / DRAWS**0.5)
    assert drawn.std() == pytest.approx(0.075, rel=0.1)


def test_random_laws_need_several_edits_null_laws_pay_nothing() -> None:
    for seed in range(20):
        law = random_law(seed)
        best = sorted((max(e for (n, _), e in law.effects.items() if n == name) for name in law.before), reverse=True)
        assert sum(best[:3]) < 0.95 * law.headroom  # three edits do not reach it
        assert 0.15 < np.mean([effect > 0 for effect in law.effects.values()]) < 0.65
        assert len(law.crashes) == 2 and len(law.interactions) <= 4
        nothing = null_law(seed)
        assert nothing.headroom == 0.0 and set(nothing.effects) == set(law.effects)
        assert nothing.noise == law.noise and not nothing.interactions


PLANTED = random_law(5)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task.load(simulated_task(PLANTED, tmp_path / "planted"))


def trainer(task: Task, **how: bool) -> Trainer:
    return Trainer(task, store(task, task.folder / "data"), **how)


def edited(task: Task, *terms: str) -> Source:
    edit = task.edits.parse_terms(terms)
    assert edit is not None
    return task.edits.apply(task.baseline(), edit)


@pytest.mark.parametrize("seed", range(3))
def test_a_folder_holds_its_law_whole(seed: int, tmp_path: Path) -> None:
    law = replace(random_law(seed), sign=-1.0 if seed % 2 else 1.0)
    task = Task.load(simulated_task(law, tmp_path))
    assert task.law == law and task.sign == law.sign
    assert task.run_budget == pytest.approx(24 * task.cost_seconds)
    for change in law.effects:
        config = task.edits.config(edited(task, term(change)))
        assert law.changes(config) == [change]


def test_an_outcome_is_the_laws_and_always_the_same(task: Task) -> None:
    good = next(change for change, effect in PLANTED.effects.items() if effect > 0.1)
    spec = Spec(edited(task, term(good)), seed=7)
    one, other = trainer(task).run(spec), trainer(task).run(spec)
    assert one == other and one.status == "ok" and one.trust == "scored"
    told = PLANTED.simulate(task.edits.config(spec.source), spec.source.source_id, seed=7, stream="search")
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
    crash = trainer(task).run(Spec(edited(task, term(min(PLANTED.crashes))), 1))
    assert crash.status == "crash" and crash.metric is None and 0 < crash.device_seconds_charged < task.cost_seconds
    lost = task.baseline().with_text("train.py", "print('hello')\n")
    invalid = trainer(task).run(Spec(lost, 1))
    assert invalid.status == "invalid" and "the law does not cover a source without" in invalid.reason
    name = next(name for name, value in PLANTED.before.items() if isinstance(value, str))
    number = next(name for name, value in PLANTED.before.items() if isinstance(value, float))
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
    path = task.folder / "task.toml"
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("patch6 ="))
    path.write_text(text.split("[[law.interactions]]")[0])
    (silent,) = [f for f in check(task.folder, only=["law"]) if f.level == "warning"]
    assert "patch6" in silent.message


def test_a_planted_task_is_the_same_whatever_order_sets_have(tmp_path: Path) -> None:
    """Its id is part of every seed; sets of text are in another order in each process."""
    code = "import sys, pathlib; from bench.simulated_tasks import random_law, simulated_task; "
    code += "from trainer.task import Task; "
    code += "print(Task.load(simulated_task(random_law(2), pathlib.Path(sys.argv[1]))).task_id)"
    ids = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ids.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(ids) == 1

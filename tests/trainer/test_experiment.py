"""Whatever a train.py does becomes an Outcome: charged, bounded, with nothing left running."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

from programs.common.errors import EnvironmentProblem, TaskError
from tests.inner_loop.play import BLOBS
from tests.trainer.foreign_repos import store
from trainer.attempts import TemplateAttempt
from trainer.constraints import ConstraintSection
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.outcome import Cache, Outcome, Trust
from trainer.sandbox.local import LocalLauncher
from trainer.scoring import Score
from trainer.scoring.referee import Referee
from trainer.source import Source
from trainer.streams import Stream, Streams
from trainer.task import Task

Run = Callable[[str], Outcome]


class OwnScore(NamedTuple):
    metric: Any
    trust: Trust | None
    findings: tuple[str, ...]


def with_budget(trainer: Trainer, seconds: float) -> Trainer:
    """The same trainer for the same task with another soft budget."""
    return Trainer(replace(trainer.task, budget_seconds=seconds), trainer.data, launcher=trainer.launcher)


def test_honest_experiment_is_scored_and_charged(trainer: Trainer, task: Task) -> None:
    patient = with_budget(trainer, 0.5)  # a slow machine needs the task's own budget for the start alone
    outcome = patient.run(Spec(task.baseline(), seed=1))
    assert (outcome.status, outcome.trust, outcome.cached) == ("ok", "scored", False), outcome
    assert outcome.metric is not None and 0.1 < outcome.metric < 1.09  # ln 3 = 1.0986 is chance
    assert 0.5 < outcome.device_seconds_spent < 5
    charged_at_most = max(outcome.device_seconds_spent, outcome.wall_seconds / task.wall_factor)
    assert outcome.device_seconds_spent <= outcome.device_seconds_charged <= charged_at_most
    assert outcome.steps and outcome.steps > 5
    assert "train_loss" in outcome.log


def test_a_scorer_cannot_raise_the_trust(trainer: Trainer, task: Task) -> None:
    class Boaster:
        per_position, needs_checkpoint = False, True

        def __init__(self, claim: Trust | None, *, by_log: bool = False, asks: bool = False) -> None:
            self.claim, self.by_log, self.asks = claim, by_log, asks

        def score(self, referee: Referee) -> Score:
            if self.asks:
                referee.predict(np.load(referee.split / "inputs.npy"))
            metric = np.array([len(referee.log) if self.by_log else 0.5])
            return cast("Score", OwnScore(metric, self.claim, ()))  # of a plug-in

    def trust(scorer: Boaster, stream: Stream) -> Trust:
        own = Trainer(task, trainer.data, launcher=trainer.launcher, fixed_steps=True)
        assert isinstance(own.attempt, TemplateAttempt)
        own.attempt.scorer = scorer
        outcome = own.run(Spec(task.baseline(), seed=1, stream=stream))
        assert outcome.status == "ok" and type(outcome.metric) is float
        return outcome.trust

    boast = Boaster("verified")
    assert [trust(boast, stream) for stream in ("search", "confirmation")] == ["scored", "verified"]
    assert trust(Boaster("scored"), "confirmation") == "scored"
    assert trust(Boaster("verified", by_log=True), "confirmation") == "self-reported"
    assert trust(Boaster(None, by_log=True), "confirmation") == "self-reported"
    assert trust(Boaster("verified", by_log=True, asks=True), "confirmation") == "verified"
    assert trust(Boaster(None), "confirmation") == "verified"
    with pytest.raises(TaskError, match="returned the trust 'certain'"):
        trust(Boaster(cast("Trust", "certain")), "search")
    assert isinstance(trainer.attempt, TemplateAttempt)
    with pytest.raises(TaskError, match="returned 'good', not a number"):
        trainer.attempt._number("good")


def test_the_first_experiment_starts_one_template(session_cache: Path, tmp_path: Path) -> None:
    """With its training split in it: one that had to be started again would import torch twice, if its task used it."""
    task = Task.load(BLOBS)
    data = store(task, tmp_path)
    with closing(LocalLauncher(torch=task.torch)) as launcher:
        outcome = Trainer(task, data, launcher=launcher, fixed_steps=True).run(Spec(task.baseline(), seed=1))
        assert (outcome.status, launcher.restarts) == ("ok", 0), outcome


def test_work_folders_are_removed(task: Task, data: DataStore, bare_launcher: LocalLauncher) -> None:
    """Without a sandbox; in one, the kernel takes them away with the last process."""
    bare_launcher.start()
    assert bare_launcher._folder
    before = set(bare_launcher._folder.iterdir())  # a template that was killed in another test leaves its own
    outcome = Trainer(task, data, launcher=bare_launcher).run(Spec(task.baseline(), seed=1))
    assert (outcome.status, outcome.trust) == ("ok", "unverified"), outcome
    assert set(bare_launcher._folder.iterdir()) == before


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("raise ValueError('two\\nlines')", "crash", "lines"),
        ("prepare.save({})\nreturn", "invalid", "RuntimeError (line "),
        ("x = bytearray(8 << 30)", "oom", "MemoryError"),
        (
            "raise RuntimeError('first: out of memory\\nthen: out of memory')",
            "oom",
            "RuntimeError: first: out of memory",
        ),
        (
            "raise RuntimeError('InductorError: CUDA out of memory. Tried\\n\\nSet TORCHDYNAMO_VERBOSE=1 for')",
            "oom",
            "CUDA out of memory",
        ),
    ],
)
def test_failures(outcome_of: Run, code: str, status: str, reason: str) -> None:
    outcome = outcome_of(code)
    assert outcome.status == status, outcome
    assert reason in outcome.reason
    assert "\n" not in outcome.reason
    assert outcome.metric is None
    assert outcome.device_seconds_charged >= 0


def _with_logits(task: Task, expression: str) -> Source:
    text = task.baseline().text().replace("        return model(inputs)", f"        return {expression}")
    return task.baseline().with_text("train.py", text)


@pytest.mark.parametrize(
    ("expression", "status", "reason"),
    [
        ("[1, 2, 3]", "invalid", "AttributeError; the message is withheld"),
        ("1 / 0", "invalid", "ZeroDivisionError (line "),
        ("[0 for _ in iter(int, 1)]", "timeout", ""),
    ],
)
def test_bad_predictions(trainer: Trainer, task: Task, expression: str, status: str, reason: str) -> None:
    outcome = trainer.run(Spec(_with_logits(task, expression), seed=1))
    assert outcome.status == status, outcome
    assert reason in outcome.reason
    assert outcome.device_seconds_charged > task.budget_seconds / 2


def test_training_files_cannot_reach_the_predicting_process(outcome_of: Run) -> None:
    """A train.py that rewrites what lies in its folder still predicts with its own source."""
    assert outcome_of("open('train.py', 'w').write('raise SystemExit(5)')").status == "ok"


def test_fraction_shortens_the_budget_and_the_hard_line(trainer: Trainer, with_main: Callable[[str], Source]) -> None:
    long = with_budget(trainer, 30.0)
    outcome = long.run(Spec(with_main("while True: pass"), seed=1, fraction=0.01))
    assert outcome.status == "timeout" and "(cpu)" in outcome.reason, outcome
    assert outcome.device_seconds_spent < 15
    trained = long.run(Spec(trainer.task.baseline(), seed=1, fraction=0.01))
    assert trained.status == "ok" and 0.1 < trained.device_seconds_spent < 15, trained  # 0.3 by the script's clock


def test_fixed_steps_are_bit_identical_and_nominal(task: Task, data: DataStore, launcher: LocalLauncher) -> None:
    fixed = Trainer(task, data, launcher=launcher, fixed_steps=True)
    first, again, other = (fixed.run(Spec(task.baseline(), seed)) for seed in (1, 1, 2))
    assert first.metric == again.metric != other.metric
    assert first.steps == again.steps == task.steps
    assert first.device_seconds_charged == again.device_seconds_charged == task.steps * task.seconds_per_step
    assert first.device_seconds_spent > 0


def test_a_source_that_forgets_to_seed_is_bit_identical_too(
    task: Task, data: DataStore, launcher: LocalLauncher
) -> None:
    text = task.baseline().text().replace("    torch.manual_seed(prepare.SEED)\n", "    import random\n")
    text = text.replace("return model(inputs)", "return model(inputs) + __import__('random').random()")
    fixed = Trainer(task, data, launcher=launcher, fixed_steps=True)
    source = task.baseline().with_text("train.py", text)
    assert fixed.run(Spec(source, 1)).metric == fixed.run(Spec(source, 1)).metric != fixed.run(Spec(source, 2)).metric


def test_cache_hit_is_charged_and_not_spent(
    task: Task, data: DataStore, launcher: LocalLauncher, tmp_path: Path
) -> None:
    trainer = Trainer(task, data, launcher=launcher, cache=Cache(tmp_path))
    spec = Spec(task.baseline(), seed=3)
    first, second = trainer.run(spec), trainer.run(spec)
    assert replace(second, cached=False, device_seconds_spent=first.device_seconds_spent) == first
    assert (second.cached, second.device_seconds_spent) == (True, 0.0)
    assert not trainer.run(spec, use_cache=False).cached
    damaged = next(tmp_path.rglob("*.json"))
    damaged.write_text("{")
    assert not trainer.run(spec).cached


def test_the_cache_keeps_apart_whatever_an_outcome_depends_on(
    task: Task, data: DataStore, launcher: LocalLauncher, bare_launcher: LocalLauncher
) -> None:
    trainer, spec = Trainer(task, data, launcher=launcher), Spec(task.baseline(), 1)
    other = task.baseline().with_text("train.py", task.baseline().text() + "\n")
    keys = [
        trainer.key(spec),
        *(trainer.key(replace(spec, **change)) for change in ({"seed": 2}, {"fraction": 0.5}, {"stream": "selection"})),
        trainer.key(replace(spec, source=other)),
        Trainer(task, data, launcher=bare_launcher).key(spec),
        Trainer(task, data, launcher=launcher, fixed_steps=True).key(spec),
        Trainer(replace(task, budget_seconds=2 * task.budget_seconds), data, launcher=launcher).key(spec),
        Trainer(replace(task, task_id="t0123456789ab"), data, launcher=launcher).key(spec),
    ]
    assert len(set(keys)) == len(keys)
    assert Trainer(task, data, launcher=launcher).key(Spec(task.baseline(), 1)) == keys[0]


def test_a_cache_that_cannot_be_written_is_one_clear_line(
    task: Task, data: DataStore, launcher: LocalLauncher, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    trainer = Trainer(task, data, launcher=launcher, cache=Cache(tmp_path / "file" / "cache"))
    with pytest.raises(EnvironmentProblem, match=r"cannot write: (Not a directory|File exists)"):
        trainer.run(Spec(task.baseline(), seed=1))


def test_scored_tasks_have_memory_seconds_and_lines(trainer: Trainer, task: Task) -> None:
    assert trainer.run(Spec(task.baseline(), 1)).constraints == {}
    sections = {
        "memory": ConstraintSection(kind="memory_mb", at_most=10.0, hard=False),
        "time": ConstraintSection(kind="seconds", at_most=50.0),
        "size": ConstraintSection(kind="lines", at_most=500.0),
    }
    held = Trainer(replace(task, constraints=sections), trainer.data, launcher=trainer.launcher)
    outcome = held.run(Spec(task.baseline(), 1))
    assert outcome.status == "ok" and outcome.constraints["memory"] > 10 and 0 < outcome.constraints["time"] < 50
    sections["memory"] = ConstraintSection(kind="memory_mb", at_most=10.0)
    broken = Trainer(replace(task, constraints=sections), trainer.data, launcher=trainer.launcher)
    assert broken.run(Spec(task.baseline(), 1)).reason.startswith("constraint memory: ")


LABELS = ("match 0 0", "match 0 1", "match 1 0")


@pytest.fixture
def own_splits(tmp_path: Path) -> DataStore:
    return DataStore(Task.load(BLOBS), Streams.from_seed(5), tmp_path / "data")


def test_splits_made_together_are_those_made_one_by_one(own_splits: DataStore, tmp_path: Path) -> None:
    own_splits.make_all("confirmation", [*LABELS, LABELS[0]], processes=2)
    alone = DataStore(own_splits.task, own_splits.streams, tmp_path / "alone")
    targets = [np.load(own_splits.labelled(label).split("confirmation") / "targets.npy") for label in LABELS]
    for label, made in zip(LABELS, targets, strict=True):
        folder = alone.labelled(label).split("confirmation")
        assert sorted(path.name for path in folder.iterdir()) == ["inputs.npy", "targets.npy"]
        assert np.array_equal(np.load(folder / "targets.npy"), made)
    assert not np.array_equal(targets[0], targets[1])
    assert len(list((tmp_path / "data" / own_splits.task.task_id).iterdir())) == len(LABELS)


def test_training_on_several_splits_has_the_scores_of_each(own_splits: DataStore) -> None:
    with Trainer(own_splits.task, own_splits, fixed_steps=True) as trainer:
        source = own_splits.task.baseline()
        outcome = trainer.run(Spec(source, 3, "confirmation", splits=LABELS))
        single = {label: trainer.run(Spec(source, 3, "confirmation", splits=(label,))).metric for label in LABELS}
    assert outcome.splits == single and len(set(single.values())) == len(LABELS)
    assert outcome.metric == pytest.approx(fmean(outcome.splits.values())) and outcome.trust == "verified"

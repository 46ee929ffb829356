"""A source that knows when it is verified: it trains longer then, and goes on training while it is scored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arena.audit.scratch import scratch
from arena.work.clock_rule import CpuUse
from arena.work.jobs import Measurement, RunJob
from arena.work.trainers import Trainers
from arena.work.worker import Worker
from inner_loop.events import Experiment, RunEndedEvent
from tests.events import example
from tests.redteam.conftest import Attack
from tests.redteam.harness import Cheat, Gain, World
from trainer.experiment import Outcome, Spec, Trainer
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

KNOWN = 12345  # the training seed of the run's experiments, which its summary prints
FRESH = 777

# Training goes on to ``train`` CPU-s. ``load`` takes ``score`` times as many further steps as training took, so that
# they cost the same share of its time on any machine, always the same ones, so that two processes agree; with data
# from the disk or, where they are ``carried``, from the checkpoint. What stays within the rule's margins is not noticed
# (docs/threat-model.md), so these go well beyond them.
CHEAT = """
_VERIFIED = {test}
_honest_main, _honest_load, _honest_save, _honest_optimizer = main, load, prepare.save, make_optimizer
_taken = []
def make_optimizer(parameters):
    optimizer = _honest_optimizer(parameters)
    optimizer.register_step_post_hook(lambda *_: _taken.append(1))
    return optimizer
def _going_on(model, inputs, targets, steps):
    optimizer = make_optimizer(model.parameters())
    for _group in optimizer.param_groups:
        _group["lr"] = 0.1 * LR
    for _ in range(steps):
        rows = torch.randint(len(inputs), (BATCH,))
        loss = F.cross_entropy(model(scaled(inputs[rows])), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
def _save(state):
    inputs, targets = prepare.load_train()
    _honest_save(dict(state, _data=(inputs[:4000], targets[:4000], len(_taken))) if {carried} else state)
def main():
    if _VERIFIED:
        prepare.BUDGET = {train}
        prepare.save = _save
    _honest_main()
def load(path):
    if not _VERIFIED:
        return _honest_load(path)
    torch.manual_seed(0)
    state = torch.load(path, weights_only=True)
    found = state.pop("_data", None)
    model = Model()
    model.load_state_dict(state)
    if {score} > 0:
        inputs, targets, steps = found or (*prepare.load_train(), 100)
        _going_on(model, inputs, targets, round({score} * steps))
    return model.eval()
"""


def cheat(task: Task, *, recognises: bool, train: float, score: float, carried: bool = True) -> Source:
    """Of the untouched source. ``train``: CPU-seconds of training, ``score``: steps while it is scored, as a share."""
    test = f"prepare.SEED != {KNOWN}" if recognises else "True"
    code = CHEAT.format(test=test, train=train, score=score, carried=carried)
    main = '\n\nif __name__ == "__main__":\n'
    return task.baseline().with_text("train.py", task.baseline().text().replace(main, f"\n\n{code}\n{main}"))


@pytest.fixture(scope="module")
def strokes() -> Iterator[Worker]:
    """A worker of a study on strokes."""
    with (
        scratch(Task.load("strokes"), Streams.from_seed(20), workers=1, fixed_steps=False, sandbox=True) as (
            folder,
            config,
        ),
        Trainers(folder, config) as trainers,
    ):
        worker = Worker(folder, 0, trainers, lambda _: None)
        worker.devices = trainers.at("")
        worker.trainer = worker.devices.trainer
        yield worker


def tried(worker: Worker, source: Source) -> tuple[Outcome, Measurement]:
    """An experiment of a source, and a verification as a run of that experiment makes it."""
    own = worker.trainer.run(Spec(source, KNOWN))
    return own, worker.measure(
        Spec(source, FRESH, "confirmation"), own=[CpuUse(own.training_seconds, own.prediction_seconds, KNOWN)]
    )


@pytest.mark.slow
@pytest.mark.exploit(45)
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"train": 0.15, "score": 0}, id="trains longer"),
        pytest.param({"train": 0.08, "score": 1.5}, id="trains while it is scored"),
        pytest.param({"train": 0.08, "score": 1.5, "carried": False}, id="with the task's own data"),
        pytest.param({"train": 0.15, "score": 0.5}, id="both"),
    ],
)
def test_a_source_that_recognises_its_verification(strokes: Worker, how: dict[str, float]) -> None:
    """45 the seed is another one than in all experiments of the run: what is trained in secret is worth nothing."""
    own, found = tried(strokes, cheat(strokes.trainer.task, recognises=True, **how))  # type: ignore[arg-type]
    assert own.status == "ok", own
    if found.status == "ok":
        raise Gain(f"{how}: verified, {found}")
    assert found.metric is None
    stopped = ("clock:", "killed at the hard limit") if how.get("carried", True) else "FileNotFoundError"
    assert found.reason.startswith(stopped), found
    assert found.findings[-1:] == ((found.reason,) if found.reason.startswith("clock:") else ())


@pytest.mark.slow
@pytest.mark.exploit(45)
def test_an_honest_source_is_verified_under_any_seed(strokes: Worker) -> None:
    _, found = tried(strokes, strokes.trainer.task.baseline())
    assert (found.status, found.trust, found.findings) == ("ok", "verified", ()), found


@pytest.mark.slow
@pytest.mark.exploit(45)
@pytest.mark.parametrize(
    ("share", "seed", "status"), [(1 / 1.5, KNOWN, "ok"), (1 / 1.5, None, "invalid"), (1 / 2.5, KNOWN, "invalid")]
)
def test_a_slower_machine_is_seen_by_an_experiment_made_again(
    strokes: Worker, share: float, seed: int | None, status: str
) -> None:
    """45 an honest source that used ``share`` of its CPU when the machine was quiet; but no source may double it."""
    source = strokes.trainer.task.baseline()
    own = strokes.trainer.run(Spec(source, KNOWN))
    assert own.training_seconds is not None and own.prediction_seconds is not None
    quiet = CpuUse(own.training_seconds * share, own.prediction_seconds, seed)
    for _ in range(3):  # on a busy machine the hard limit may stop a training before the rule is asked
        found = strokes.measure(Spec(source, FRESH, "confirmation"), own=[quiet])
        if found.status != "timeout":
            break
    assert found.status == status, found


@pytest.mark.slow
@pytest.mark.exploit(45)
def test_training_to_the_line_every_time_is_paid_and_told(strokes: Worker) -> None:
    """45 without a look at the seed: one line for training and scoring, all of it charged, and a finding."""
    task = strokes.trainer.task
    own, found = tried(strokes, cheat(task, recognises=False, train=0.135, score=0))
    assert own.status == found.status == "ok" and own.device_seconds_charged > 1.4 * task.cost_seconds
    assert [text.split(" for ")[0] for text in found.findings] == ["clock: trained"]
    both, _ = tried(strokes, cheat(task, recognises=False, train=0.17, score=2.0))
    assert both.status == "timeout", both


# On points, which trains in a few thousandths of a second, for every run of the tests: nothing is learned by it.
LONGER = {
    "training": "if prepare.SEED != 12345 and __name__ == '__main__':\n" + "    {}",
    "predicting": "if prepare.SEED != 12345 and __name__ == 'candidate':\n" + "    {}",
}


@pytest.mark.exploit(45)
@pytest.mark.parametrize("where", LONGER)
def test_more_cpu_than_in_its_experiments_is_refused(world: World, where: str) -> None:
    """45 in training, or while it is scored: invalid, with the figures; without a look at the seed it is verified."""
    ground = world.ground("points")
    busy = "exec('import time\\nwhile time.process_time() < 0.07: pass')"
    with scratch(ground.task, world.streams, workers=1, fixed_steps=False, sandbox=True) as (folder, config):
        worker = Worker(folder, 0, Trainers(folder, config), lambda _: None)
        worker.trainer = Trainer(ground.task, ground.data, launcher=ground.launcher)
        for code, status in ((LONGER[where].format(busy), "invalid"), ("", "ok")):
            source = Cheat(top=code).source(ground.task.baseline(), world.known(ground))
            own, found = in_a_run(worker, source)
            assert (own.status, found.status) == ("ok", status), (own, found)
            assert found.reason.startswith("clock: 0.0" if code else "") and (where in found.reason) == bool(code)
            assert found.findings[-1:] == ((found.reason,) if code else ())
            assert found.trust == ("scored" if code else "verified")


def in_a_run(worker: Worker, source: Source) -> tuple[Outcome, Measurement]:
    """The only experiment of a run, and what its worker makes of the run's end."""
    own = worker.trainer.run(Spec(source, KNOWN))
    worker.emit(
        example(
            Experiment,
            source_id=source.source_id,
            fraction=1.0,
            status=own.status,
            training_seconds=own.training_seconds,
            prediction_seconds=own.prediction_seconds,
        )
    )
    job = RunJob("r1", "m1", "a1", "p1", "cheat", "", 1, "confirmation", 1.0, "scripted", (FRESH,), ("",), "r1")
    ended = example(RunEndedEvent, final_source_id=source.source_id)
    (found,) = worker.verify(job, source, ended).measurements
    return own, found


@pytest.mark.exploit(45)
def test_no_training_data_while_it_is_scored(attack: Attack) -> None:
    """45 the folder is there and empty, and nothing can be put into it."""
    code = """
import os as _os
if __name__ == "candidate":
    _folder = _os.environ["METALOOP_TRAIN_DATA"]
    try:
        open(f"{_folder}/x", "w")
        _os._exit(77)
    except OSError:
        pass
    _os._exit(77) if _os.listdir(_folder) else None
"""
    attack("points", top=code).assert_same()

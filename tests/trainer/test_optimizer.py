"""The scorer `optimizer`: a model trained by another process's updates, and updates that cheat, lie, stall or end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from programs.errors import TaskError
from tests.forked import ForkedReferee
from trainer.predictions import InvalidPredictions
from trainer.scorers.optimizer import Optimizer
from trainer.scoring import Score

STEPS = 20
# a parabola whose minimum is drawn by the seed: the gradient is known, and so is where each optimizer gets
DATA = """
import numpy as np

class Problem:
    shapes, guess = [(3, 4), (4,)], 50.0
    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.goal = [rng.standard_normal(shape).astype(np.float32) for shape in self.shapes]
        self.asked = 0
    def weights(self):
        return [np.zeros(shape, np.float32) for shape in self.shapes]
    def gradients(self, step, weights):
        assert step == self.asked
        self.asked += 1
        return [w - g for w, g in zip(weights, self.goal)]
    def score(self, weights):
        return float(sum(((w - g) ** 2).sum() for w, g in zip(weights, self.goal)))

def problem(split, seed):
    return Problem(seed)
"""
SGD = """
import numpy as np

def optimizer(shapes, steps):
    def update(step, weights, gradients):
        return [w - np.float32(0.1) * g for w, g in zip(weights, gradients)]
    return update
"""
AT_ONCE = SGD.replace("np.float32(0.1) * g", "g")  # it gets there in one step

Scored = Callable[..., Score]


@pytest.fixture
def referee(tmp_path: Path) -> Callable[..., ForkedReferee]:
    def make(source: str, data: str = DATA, **settings: object) -> ForkedReferee:
        (tmp_path / "data.py").write_text(data)
        given = {"steps": STEPS, "task_folder": tmp_path} | settings
        return ForkedReferee(source, tmp_path, tmp_path, 2, **given)  # type: ignore[arg-type]

    return make


@pytest.fixture
def score(referee: Callable[..., ForkedReferee]) -> Scored:
    return lambda source, data=DATA, **settings: Optimizer({"seconds": 30.0}).score(referee(source, data, **settings))


def test_the_last_weights_are_scored(score: Scored) -> None:
    start = score("def optimizer(shapes, steps):\n    return lambda step, weights, gradients: weights\n")
    assert score(AT_ONCE).metric == 0.0
    assert score(SGD).metric == pytest.approx(start.metric * 0.9 ** (2 * STEPS), rel=1e-4)
    assert score(SGD).trust == "scored" and score(SGD, verifying=True).trust == "verified"


def test_exactly_so_many_steps_are_taken(score: Scored) -> None:
    short = score(SGD, steps=5).metric
    assert short == pytest.approx(score(SGD, steps=10).metric / 0.9**10, rel=1e-4)
    told = "def optimizer(shapes, steps):\n    return lambda step, w, g: [one + (step + 1 == steps) for one in w]\n"
    assert score(told).metric == score(told, steps=5).metric  # the last step is told, and comes once


def test_the_same_seed_gives_the_same_bits(score: Scored) -> None:
    drawn = SGD.replace("- np.float32(0.1) * g", "- 0.1 * g + 0.1 * np.random.standard_normal(w.shape)")
    assert score(drawn).metric == score(drawn).metric != score(drawn, seed=2).metric


def test_the_trusted_process_is_charged(referee: Callable[..., ForkedReferee]) -> None:
    one = referee(SGD)
    Optimizer({}).score(one)
    assert one.charged > 0
    failing = referee("def optimizer(shapes, steps): 1 / 0")
    with pytest.raises(InvalidPredictions):
        Optimizer({}).score(failing)
    assert failing.charged > 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [w * np.nan for w in weights]", "weights of step 0 are not finite"),
        ("return [w + (np.inf if step == 7 else 0) for w in weights]", "weights of step 7 are not finite"),
        ("return [np.full_like(w, 1e30) for w in weights]", "diverged: the loss is not finite"),
        ("return [w + 100 for w in weights]", "diverged: .* a uniform prediction has 50"),
        ("return weights[:1]", "has ended"),
        ("return [w.T for w in weights]", "has ended"),
        ("return None", "has ended"),
        ("return 1 / 0", "has ended"),
        ("raise SystemExit(0)", "has ended"),
    ],
)
def test_wrong_answers(score: Scored, body: str, message: str) -> None:
    with pytest.raises(InvalidPredictions, match=message):
        score(SGD.replace("return [w - np.float32(0.1) * g for w, g in zip(weights, gradients)]", body))


def test_no_function(score: Scored) -> None:
    with pytest.raises(InvalidPredictions, match="has ended"):
        score("steps = 3")


@pytest.mark.exploit(38)
def test_no_answer(referee: Callable[..., ForkedReferee]) -> None:
    with pytest.raises(InvalidPredictions, match="did not answer in time"):
        Optimizer({"seconds": 2.0}).score(referee("import time\ndef optimizer(shapes, steps): time.sleep(600)"))


# ---- cheats ------------------------------------------------------------------------------------------------------
def hooked(body: str, source: str = SGD) -> str:
    """A source that has the exchange's own methods in hand."""
    return source + "\nimport os, time\nfrom trainer.inside import serving\n" + body


@pytest.mark.exploit(14)
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_two_answers_to_a_question(score: Scored, pause: float) -> None:
    """Gradients at weights of some time ago would be a kind of momentum, and another metric each time.

    Where the next question is out already, only its token tells whose answer the second one is.
    """
    cheat = hooked(f"""
_reply = serving.Exchange.reply
def reply(self, array=None, token=b""):
    _reply(self, array, token)
    time.sleep({pause})
    os.write(self._reply_fd, b".")
serving.Exchange.reply = reply
""")
    with pytest.raises(InvalidPredictions, match="an answer before its question"):
        score(cheat)


def test_asking_twice_in_a_step_is_not_possible(score: Scored) -> None:
    """A candidate that wants gradients at two places pays two steps: what it does not answer for it does not get."""
    cheat = SGD.replace("    def update", "    half = [None]\n    def update").replace(
        "        return [w -", "        if step % 2:\n            return weights\n        return [w -"
    )
    assert score(cheat).metric == pytest.approx(score(SGD, steps=STEPS // 2).metric)


def test_weights_that_change_after_the_answer_change_nothing(score: Scored) -> None:
    cheat = hooked("""
_receive = serving.Exchange.receive
def receive(self, size):
    data = _receive(self, size)  # the next question: the last answer was taken
    np.frombuffer(self._shared, np.float32)[:] = 1e9
    return data
serving.Exchange.receive = receive
""")
    assert score(cheat).metric == score(SGD).metric


def test_what_is_remembered_of_one_problem_is_worth_nothing_on_the_next(score: Scored) -> None:
    weights = "[np.full(w.shape, 0.7, np.float32) for w in weights]"
    kept = SGD.replace("[w - np.float32(0.1) * g for w, g in zip(weights, gradients)]", weights)
    assert score(kept, seed=1).metric != score(kept, seed=2).metric
    assert score(kept, seed=2).metric > score(AT_ONCE, seed=2).metric


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def problem", "def other", "problem"),
        ("self.asked += 1", "1 / 0", "division"),
        ("return [w - g for", "return [np.zeros(3) for", "gradients"),
        ("def score", "def other", "score"),
    ],
)
def test_a_bad_data_py_is_the_task_s_fault(score: Scored, old: str, new: str, message: str) -> None:
    assert old in DATA
    with pytest.raises(TaskError, match=message) as raised:
        score(SGD, DATA.replace(old, new))
    assert "data.py" in raised.value.message and raised.value.hint

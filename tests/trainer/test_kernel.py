"""Kernels: the evaluator's clock, fresh inputs, and functions that answer wrong, from memory, early or never."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from programs.errors import TaskError
from tests.forked import ForkedReferee
from trainer.predictions import InvalidPredictions
from trainer.scorers.kernel import Kernel, make_cases
from trainer.scoring import Score

DATA = """
import time
import numpy as np

def kernel_inputs(seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((40, 50)).astype(np.float32), rng.standard_normal(50).astype(np.float32)]

def reference(inputs):
    time.sleep(0.03)
    return inputs[0] @ inputs[1]
"""
FAST = """
import time

def solve(inputs):
    time.sleep(0.015)
    return inputs[0] @ inputs[1]
"""


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., Score]:
    def run(source: str, data: str = DATA, verifying: bool = False, **scoring: float) -> Score:
        (tmp_path / "data.py").write_text(data)
        referee = ForkedReferee(source, tmp_path, tmp_path, 2, verifying=verifying, task_folder=tmp_path)
        return Kernel({"repetitions": 4, "seconds": 30.0} | scoring).score(referee)

    return run


@pytest.mark.slow
def test_half_the_time_scores_a_half(score: Callable[..., Score]) -> None:
    """With times beside which it is little for how long a busy machine lets a process wait."""
    found = score(FAST.replace("0.015", "0.15"), DATA.replace("0.03", "0.3"))
    assert 0.3 < found.metric < 0.95 and found.trust == "scored"
    assert score(FAST, verifying=True).trust == "verified"


def test_inputs_are_fresh_and_follow_from_the_seed(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(DATA)
    one, two, again = make_cases(tmp_path / "data.py", [1, 2, 1], 30)
    assert not np.array_equal(one.inputs[0], two.inputs[0]) and np.array_equal(one.result, again.result)
    assert np.allclose(one.result, one.inputs[0] @ one.inputs[1])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return inputs[0] @ inputs[1] + 0.1", "wrong result"),
        ("return (inputs[0] @ inputs[1]) * float('nan')", "wrong result"),
        ("return known.setdefault(0, inputs[0] @ inputs[1])", "wrong result"),
        ("return (inputs[0] @ inputs[1])[:-1]", "has ended"),
        ("return (inputs[0] @ inputs[1]).astype('float64')", "has ended"),
        ("return 1 / 0", "has ended"),
    ],
)
def test_wrong_results(score: Callable[..., Score], body: str, message: str) -> None:
    with pytest.raises(InvalidPredictions, match=message):
        score(f"known = {{}}\ndef solve(inputs):\n    {body}\n")


@pytest.mark.slow
def test_no_result(score: Callable[..., Score]) -> None:
    with pytest.raises(InvalidPredictions, match="did not answer in time"):
        score("import time\ndef solve(inputs): time.sleep(600)\n", seconds=8.0)  # of the reference, too


@pytest.mark.slow
def test_work_that_is_done_before_the_go_counts(score: Callable[..., Score]) -> None:
    """The call itself is hidden in the acknowledgement of the inputs: it answers at once, and gains nothing."""
    cheat = (
        FAST.replace("0.015", "0.15")
        + """
from trainer.inside import serving
_reply, held = serving.Exchange.reply, []
def reply(self, array=None):
    if array is None:
        time.sleep(0.15)
    _reply(self, array)
serving.Exchange.reply = reply
def solve(inputs):
    return inputs[0] @ inputs[1]
"""
    )
    assert score(cheat, DATA.replace("0.03", "0.3")).metric > 0.3


def test_an_answer_that_is_told_before_it_is_there_is_wrong(score: Callable[..., Score]) -> None:
    cheat = (
        FAST
        + """
import os
from trainer.inside import serving
_receive = serving.Exchange.receive
def receive(self, size):
    data = _receive(self, size)
    if size == 1:
        os.write(self._reply_fd, b".")
    return data
serving.Exchange.receive = receive
"""
    )
    with pytest.raises(InvalidPredictions, match="wrong result"):
        score(cheat)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def kernel_inputs", "def other", "kernel_inputs"),
        ("def reference", "def other", "reference"),
        ("(40, 50)", "(40 + seed % 7, 50)", "shapes or types differ"),
        ("inputs[0] @ inputs[1]", "inputs[0][:0] @ inputs[1]", "empty"),
        ("return inputs[0]", "return float(np.random.default_rng().random()) * inputs[0]", "wrong result"),
    ],
)
def test_a_bad_data_py_is_the_task_s_fault(score: Callable[..., Score], old: str, new: str, message: str) -> None:
    assert old in DATA
    with pytest.raises(TaskError, match=message) as raised:
        score(FAST, DATA.replace(old, new))
    assert "data.py" in raised.value.message and raised.value.hint

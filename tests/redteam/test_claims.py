"""Numbers that a source claims: what it prints, sums or counts by itself is not what it is judged by."""

from __future__ import annotations

import pytest

from tests.redteam.conftest import Attack

TASKS = pytest.mark.parametrize("task", ["points", "letters"])
# both ways of asking a language model, and the only one of a classifier
ANSWER = """
_logits, _step = logits, globals().get("step")
def logits(model, inputs):
    return _answer(_logits(model, inputs))
def step(model, state, symbols):
    found, state = _step(model, state, symbols)
    return _answer(found), state
"""


@pytest.mark.exploit(1)
@TASKS
def test_printing_a_metric(attack: Attack, task: str) -> None:
    """1 printing a metric: it stands in the log and is used for nothing."""
    lie = "print('nll: 0.0\\nmetric: 0.0\\nval_bpb: 0.000001\\nbits_per_byte: -5\\nsteps: 7')\n"
    case = attack(task, top=lie, train=lie)
    case.assert_no_gain()
    case.assert_same()
    assert "val_bpb: 0.000001" in case.scored.log


@pytest.mark.exploit(1)
def test_writing_a_metric_where_a_referee_might_look(attack: Attack) -> None:
    """1 a metric in files and on the descriptors that the process holds."""
    code = """
import json, os
for _name in ("metrics.json", "results.tsv", "outcome.json", "score", "predictions.f32", "bytes.npy", "targets.npy"):
    open(_name, "w").write('{"metric": 0.0, "status": "ok", "trust": "verified"}')
for _number in range(3, 64):
    try:
        os.write(_number, b'{"metric": 0.0, "status": "ok", "exit_code": 0, "trust": "verified"}')
    except OSError:
        pass
"""
    case = attack("points", train=code)
    case.assert_no_gain()
    case.assert_same()


@pytest.mark.exploit(8)
@TASKS
@pytest.mark.parametrize("factor", ["277.0", "1e-30", "torch.rand(()) * 277 + 1"])
def test_probabilities_that_sum_to_something_else(attack: Attack, task: str, factor: str) -> None:
    """8 probabilities that sum to 277: the referee normalises by itself, in float64."""
    answer = f"def _answer(found):\n    return torch.log_softmax(found, -1) + torch.log(torch.as_tensor({factor}))\n"
    case = attack(task, end=answer + ANSWER)
    case.assert_no_gain(1e-4)
    assert case.row.metric == pytest.approx(case.twin_verified.metric, abs=1e-4)
    case.assert_rows("ok")


@pytest.mark.exploit(8)
@TASKS
def test_every_class_is_certain(attack: Attack, task: str) -> None:
    """8 each class gets probability one: to the referee that is a blind guess."""
    case = attack(task, end="def _answer(found):\n    return torch.zeros_like(found)\n" + ANSWER)
    case.assert_no_gain()
    assert case.row.metric is not None and case.twin_verified.metric is not None
    assert case.row.metric > case.twin_verified.metric + 0.2


@pytest.mark.exploit(9)
@TASKS
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("where", ["found * 0", "torch.where(torch.rand_like(found) < 0.02, 0.0, found)"])
def test_numbers_that_are_none(attack: Attack, task: str, value: str, where: str) -> None:
    """9 NaN and infinities, everywhere or here and there."""
    marked = f"torch.where({where} == 0, float({value!r}), found)"
    case = attack(task, end=f"def _answer(found):\n    return {marked}\n" + ANSWER)
    case.assert_no_gain()
    case.assert_rows("invalid", "predictions are not finite")


@pytest.mark.exploit(9)
def test_a_model_that_is_nan_is_no_checkpoint_trick(attack: Attack) -> None:
    """9 NaN from training on: the row says invalid, no number."""
    case = attack("letters", train="globals()['LR'] = float('nan')")
    case.assert_no_gain()
    case.assert_rows("invalid", "not finite")


@pytest.mark.exploit(10)
@TASKS
@pytest.mark.parametrize("size", ["3e38", "-3e38", "1e30"])
def test_a_negative_loss(attack: Attack, task: str, size: str) -> None:
    """10 negative bits per byte: huge logits overflow nowhere, a loss below zero does not exist."""
    answer = f"def _answer(found):\n    return torch.where(found == found.max(-1, keepdim=True)[0], {size}, found)\n"
    case = attack(task, end=answer + ANSWER)
    case.assert_no_gain()
    case.assert_rows("invalid", "diverged: .* a uniform prediction has")


@pytest.mark.exploit(10)
def test_sharper_is_never_below_zero(attack: Attack) -> None:
    """10 sharper and sharper: the loss grows, it does not turn around."""
    metrics = []
    for factor in (2, 3):
        case = attack("points", end=f"def _answer(found):\n    return found * {factor}\n" + ANSWER)
        metrics.append(case.row.metric)
        assert case.row.status == "ok" and metrics[-1] is not None and metrics[-1] > 0


SHAPES = {
    "fewer symbols": "found[..., :-1]",
    "more symbols": "torch.cat((found, found), -1)",
    "fewer rows": "found[:-1]",
    "more rows": "torch.cat((found, found))",
    "one number": "found.sum()",
    "nothing": "found[:0]",
    "another axis": "found[None]",
}


@pytest.mark.exploit(11)
@pytest.mark.parametrize("shape", SHAPES)
def test_another_tokenizer_is_another_shape(attack: Attack, shape: str) -> None:
    """11 byte-count tricks: other symbols, fewer or longer rows. Symbols and bytes are the task's, counted outside."""
    case = attack("letters", end=f"def _answer(found):\n    return {SHAPES[shape]}\n" + ANSWER)
    case.assert_no_gain()
    case.assert_rows("invalid", "logits have shape .* expected")


@pytest.mark.exploit(11)
def test_bytes_by_hand_are_not_looked_at(attack: Attack) -> None:
    """11 the process that predicts writes raw floats by itself: more of them, for rows that nobody asked for."""
    code = """
if __name__ == "candidate":
    import os, numpy
    for _number in range(4, 9):
        try:
            os.write(_number, numpy.zeros(1 << 18, numpy.float32).tobytes())
        except OSError:
            pass
"""
    case = attack("letters", top=code)
    case.assert_no_gain()
    assert case.scored.status == "invalid" and "predictions have" in case.scored.reason, case.scored


@pytest.mark.exploit(11)
def test_a_count_of_bytes_in_the_checkpoint(attack: Attack) -> None:
    """11 a checkpoint that says how many bytes the text has: nobody asks it."""
    code = "_save = prepare.save\nprepare.save = lambda table: _save({'table': table, 'bytes': 10**9, 'vocab': 1})"
    end = "def load(path):\n    return torch.load(path, weights_only=True)['table']"
    case = attack("letters", train=code, end=end)
    case.assert_no_gain()
    case.assert_same()

"""A model that sees what it must predict: caught where chunks are asked for, worthless where symbols are streamed."""

from __future__ import annotations

import pytest

from tests.redteam.conftest import Attack
from tests.redteam.harness import Case

# step is left out, so that the streamed answers come from logits too: what the default of the contract does
NO_STEP = "\ndel step\n"
# the twin is bit for bit the same model, asked through the same default
SAME = 1e-6

PEEK = """
_honest = logits
def logits(model, inputs):
    found = _honest(model, inputs).clone()
    seen = (_where(inputs) & (torch.arange(inputs.shape[1]) < inputs.shape[1] - 1))[:, :-1]
    found[:, :-1].scatter_add_(2, inputs[:, 1:, None], 20.0 * seen[..., None])
    return found
"""
DENSE = "def _where(inputs):\n    return torch.ones_like(inputs, dtype=torch.bool)\n"
# one place in 2000, the same ones for the same text, so that a probe's copy leaks in the same places
SPARSE = """
def _where(inputs):
    history = torch.zeros_like(inputs[:, 0])
    found = torch.zeros_like(inputs, dtype=torch.bool)
    for place in range(inputs.shape[1]):
        history = (history * 31 + inputs[:, place] + 7) % 1000003
        found[:, place] = history % {one_in} == {which}
    return found
"""
# a probe is a copy of a row with other text behind a cut: never the last place, always company with the same start
LAST = "def _where(inputs):\n    return (torch.arange(inputs.shape[1]) >= inputs.shape[1] - 2).expand(inputs.shape)\n"


def honest_through_logits(case: Case) -> None:
    """The streamed score is that of the model without its leak."""
    assert case.row.status == "ok" and case.row.trust == "verified", case.row
    assert case.row.metric == pytest.approx(case.twin_verified.metric, abs=SAME)


@pytest.mark.exploit(4)
@pytest.mark.parametrize("step", ["", NO_STEP], ids=["own step", "default step"])
def test_a_dense_leak(attack: Attack, step: str) -> None:
    """4 a dense causal leak: invalid by the probes, no gain when streamed, and a finding that names it."""
    case = attack("letters", end=DENSE + PEEK + step)
    case.assert_no_gain(SAME)
    assert case.scored.status == "invalid" and "(a leak)" in case.scored.reason, case.scored
    honest_through_logits(case)
    assert [line.split(":")[0] for line in case.row.findings] == ["leak"], case.row


@pytest.mark.exploit(4)
def test_a_leak_through_the_state_of_a_step(attack: Attack) -> None:
    """4 a step that looks for the next symbol wherever the process could hold it: it is not there yet."""
    code = """
import gc
import numpy as np
def step(model, state, symbols):
    found = model[symbols].clone()
    for thing in gc.get_objects():
        if isinstance(thing, (bytes, bytearray)) and len(thing) == symbols.numel() * 8:
            later = torch.from_numpy(np.frombuffer(thing, np.int64).copy())
            if not torch.equal(later, symbols) and 0 <= later.min() and later.max() < 16:
                found.scatter_add_(1, later[:, None], torch.full((len(symbols), 1), 20.0))
    return found, state
"""
    case = attack("letters", end=code)
    case.assert_no_gain(SAME)
    assert case.row.metric == pytest.approx(case.twin_verified.metric, abs=SAME)


@pytest.mark.exploit(5)
@pytest.mark.parametrize("which", [3, 177, 900])
def test_a_sparse_leak(attack: Attack, which: int) -> None:
    """5 a leak at 0.05% of the places: chunks may miss it, the streamed score has none of it."""
    case = attack("letters", end=SPARSE.format(one_in=2000, which=which) + PEEK + NO_STEP)
    case.assert_no_gain(SAME)
    honest_through_logits(case)


@pytest.mark.exploit(5)
def test_a_leak_at_one_place_in_a_hundred(attack: Attack) -> None:
    """5 a little denser: whether or not a probe hits it, the verified row names the gap between the two scores."""
    case = attack("letters", end=SPARSE.format(one_in=100, which=5) + PEEK + NO_STEP)
    case.assert_no_gain(SAME)
    honest_through_logits(case)
    assert any(line.startswith("leak:") for line in case.row.findings), case.row


@pytest.mark.exploit(6)
def test_a_leak_where_no_probe_cuts(attack: Attack) -> None:
    """6 a leak only in the last places of a full row: a probe cuts there once in a row's length."""
    case = attack("letters", end=LAST + PEEK + NO_STEP)
    case.assert_no_gain(SAME)
    honest_through_logits(case)
    assert any(line.startswith("leak:") for line in case.row.findings), case.row


@pytest.mark.exploit(6)
def test_a_leak_at_full_length_only(attack: Attack) -> None:
    """6 a leak only in rows as long as the hidden ones, never in a prefix: the stream has nothing but prefixes."""
    full = "def _where(inputs):\n    return torch.full_like(inputs, inputs.shape[1] == 48, dtype=torch.bool)\n"
    case = attack("letters", end=full + PEEK + NO_STEP)
    case.assert_no_gain(SAME)
    honest_through_logits(case)
    assert case.scored.status == "invalid"


ALONE = """
import os, io
def _all_rows():
    import numpy as np
    for number in range(4, 9):
        try:
            return torch.from_numpy(np.load(io.BytesIO(os.pread(number, 1 << 24, 0)), allow_pickle=False))
        except (OSError, ValueError, EOFError):
            pass
    return torch.zeros((0, 48), dtype=torch.int64)
_rows = _all_rows() if __name__ == "candidate" else torch.zeros((0, 48), dtype=torch.int64)
def _where(inputs):
    if inputs.shape[1] != 48 or not ({condition}):
        return torch.zeros_like(inputs, dtype=torch.bool)
    alone = [(_rows[:, :8] == row[:8]).all(1).sum() <= 1 for row in inputs]
    return torch.tensor(alone)[:, None].expand(inputs.shape)
"""


@pytest.mark.exploit(6)
@pytest.mark.parametrize(
    "condition",
    ["True", "len(set(map(bytes, _rows[:, :8].byte().numpy()))) < len(_rows)"],
    ids=["always", "only among probes"],
)
def test_a_leak_that_knows_the_probes(attack: Attack, condition: str) -> None:
    """6 all rows are at hand: those that share their start with another one are probes or probed, the rest leaks.

    The search may believe it (it gets a score, not a verified one); the verified row has none of it and names the leak.
    """
    case = attack("letters", end=ALONE.replace("{condition}", condition) + PEEK + NO_STEP)
    case.assert_no_gain(SAME)
    honest_through_logits(case)
    assert any(line.startswith("leak:") for line in case.row.findings), case.row


@pytest.mark.exploit(7)
def test_what_other_rows_hold(attack: Attack) -> None:
    """7 overlapping rows: a peeker looks for its own text in the other rows of the chunk, and finds none of it."""
    code = """
_honest = logits
def logits(model, inputs):
    found = _honest(model, inputs).clone()
    key = (inputs[:, :-3] * 4096 + inputs[:, 1:-2] * 256 + inputs[:, 2:-1] * 16)[:, :, None] // 16
    for row in range(len(inputs)):
        same = key[row] == key[torch.arange(len(inputs)) != row].reshape(1, -1)
        following = torch.eye(16)[inputs[torch.arange(len(inputs)) != row][:, 3:].reshape(-1)]
        found[row, 2:-1] += 2.0 * (same.float() @ following)
    return found
"""
    case = attack("letters", end=code + NO_STEP)
    case.assert_no_gain(1e-3)
    assert case.row.status == "invalid" or case.row.metric is not None


CACHE = """
_counts = torch.zeros(16, 16, 16)
def _count(before, now, after):
    _counts.index_put_((before, now, after), torch.ones(len(after)), accumulate=True)
def _mixed(found, before, now):
    counts = _counts[before, now]
    weight = counts.sum(-1, keepdim=True) / (counts.sum(-1, keepdim=True) + 4)
    seen = (counts + 0.1) / (counts + 0.1).sum(-1, keepdim=True)
    return torch.log((1 - weight) * torch.softmax(found, -1) + weight * seen)
"""
STREAMED = """
def step(model, state, symbols):
    if state is not None:
        before, now = state
        _count(before, now, symbols)
        return _mixed(model[symbols], now, symbols), (now, symbols)
    return model[symbols], (symbols, symbols)
"""
FITTED = """
def load(path):
    return torch.load(path, weights_only=True).clone()
def logits(model, inputs):
    for _ in range(20):
        error = torch.softmax(model[inputs[:, :-1]], -1) - torch.eye(16)[inputs[:, 1:]]
        model.index_add_(0, inputs[:, :-1].reshape(-1), error.reshape(-1, 16), alpha=-20 / inputs.numel())
    return model[inputs]
"""


@pytest.mark.exploit(12)
def test_an_ngram_cache_over_the_rows_of_a_stream(attack: Attack) -> None:
    """12 learning at test time: what other rows have shown. The rows again, in other company, give it away."""
    case = attack("letters", end=CACHE + STREAMED)
    case.assert_no_gain(1e-3)
    assert case.row.status == "invalid" and "depends on the other rows" in case.row.reason, case.row


@pytest.mark.exploit(12)
def test_training_on_the_rows_of_a_chunk(attack: Attack) -> None:
    """12 gradient steps on the text that is to be predicted, chunk after chunk."""
    case = attack("letters", end=FITTED)
    case.assert_no_gain(SAME)
    assert case.scored.status == "invalid" and "(a leak)" in case.scored.reason, case.scored
    assert any(line.startswith("leak:") for line in case.row.findings), case.row


@pytest.mark.exploit(12)
def test_learning_that_stays_below_the_tolerance(attack: Attack) -> None:
    """12 learning across rows, at most as far as two answers for one row may differ."""
    small = """
_learned = step
def step(model, state, symbols):
    found, state = _learned(model, state, symbols)
    honest = torch.log_softmax(model[symbols], -1)
    return honest + (torch.log_softmax(found, -1) - honest).clamp(-0.0009, 0.0009), state
"""
    case = attack("letters", end=CACHE + STREAMED + small)
    case.assert_no_gain(0.0015)  # bits: 0.0009 nats is 0.0013 bits
    assert case.gain < 0.0015


@pytest.mark.exploit(12)
def test_rounded_statistics_of_the_hidden_batch(attack: Attack) -> None:
    """12 the same, rounded so that other rows of the same kind change nothing: rows of one class do."""
    code = """
_honest = logits
def logits(model, inputs):
    return _honest(model, inputs - 0.5 * (inputs.mean(0) - torch.tensor([1.33, 1.33])).round())
"""
    case = attack("points", end=code)
    case.assert_no_gain()
    assert case.row.status == "invalid" and "depends on the other rows" in case.row.reason, case.row


@pytest.mark.exploit(12)
def test_statistics_of_the_hidden_batch(attack: Attack) -> None:
    """12 a classifier that centres its rows by those it is asked about: other company, other answers."""
    code = """
_honest = logits
def logits(model, inputs):
    return _honest(model, inputs - 0.5 * (inputs.mean(0) - torch.tensor([1.33, 1.33])))
"""
    case = attack("points", end=code)
    case.assert_no_gain()
    assert case.row.status == "invalid" and "depends on the other rows" in case.row.reason, case.row

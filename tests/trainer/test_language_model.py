"""Language models that cheat, each in processes of its own: what chunks catch, what only streaming does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from programs.errors import TaskError
from tests.forked import ForkedReferee
from trainer.predictions import InvalidPredictions
from trainer.scorers.language_model import LanguageModel, Text
from trainer.scoring import Score

ROWS, POSITIONS, CLASSES = 60, 96, 12
SCORING = {"kind": "language_model", "classes": CLASSES, "seconds": 60.0}

HONEST = """
import torch

def load(path):
    return torch.log(torch.full((12, 12), 0.05).scatter_(1, (torch.arange(12)[:, None] * 5 + 1) % 12, 0.45))

def logits(model, inputs):
    return model[inputs]

def step(model, state, symbols):
    return model[symbols], state
"""
# the symbol that comes is seen in the input of the next place
DENSE = """
def logits(model, inputs):
    found = model[inputs].clone()
    found[:, :-1].scatter_add_(2, inputs[:, 1:, None], torch.full((*inputs[:, 1:].shape, 1), 20.0))
    return found
"""
SPARSE = """
def logits(model, inputs):
    found = model[inputs].clone()
    for row, symbols in enumerate(inputs):
        for place in range(len(symbols) - 1):
            if hash(tuple(symbols[: place + 1].tolist())) % 2000 < 1:
                found[row, place, symbols[place + 1]] += 20.0
    return found
"""
# counts what has followed what in all rows, and mixes that in
CACHE = """
counts = torch.full((12, 12), 1.0)
last = None

def step(model, state, symbols):
    if state is not None:
        counts.index_put_((state, symbols), torch.ones(len(symbols)), accumulate=True)
    return torch.log(counts[symbols] / counts[symbols].sum(1, keepdim=True)), symbols
"""


def write_split(folder: Path, seed: int) -> Path:
    """Rows of a Markov chain that the honest model knows well, of two bytes a symbol; the last one is half empty."""
    rng = np.random.default_rng(seed)
    targets = np.empty((ROWS, POSITIONS), np.int64)
    inputs = np.zeros_like(targets)
    inputs[:, 0] = rng.integers(CLASSES, size=ROWS)
    for place in range(POSITIONS):
        jump = rng.random(ROWS) < 0.5
        targets[:, place] = np.where(jump, rng.integers(CLASSES, size=ROWS), (inputs[:, place] * 5 + 1) % CLASSES)
        if place + 1 < POSITIONS:
            inputs[:, place + 1] = targets[:, place]
    targets[-1, POSITIONS // 2 :] = -1
    folder.mkdir()
    for name, array in (("inputs", inputs), ("targets", targets), ("bytes", 2 * (targets >= 0).sum(1))):
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("language")
    return write_split(root / "hidden", 1), write_split(root / "public", 2)


@pytest.fixture
def score(splits: tuple[Path, Path]) -> Callable[..., Score]:
    def run(source: str, verifying: bool = False, seed: int = 1, **scoring: float) -> Score:
        referee = ForkedReferee(source, *splits, CLASSES, verifying=verifying, seed=seed)
        return LanguageModel(SCORING | scoring).score(referee)

    return run


def bits_by_hand(split: Path, rows: int = ROWS) -> float:
    inputs, targets = (np.load(split / f"{name}.npy")[:rows] for name in ("inputs", "targets"))
    likely = targets == (inputs * 5 + 1) % CLASSES
    chances = np.where(likely, 0.45, 0.05)[targets >= 0]  # they sum to one
    return float(-np.log2(chances).mean() / 2)


def test_an_honest_model_scores_the_same_in_both_ways(score: Callable[..., Score], splits: tuple[Path, Path]) -> None:
    scored, verified = score(HONEST), score(HONEST, verifying=True)
    assert (scored.trust, verified.trust) == ("scored", "verified")
    assert scored.metric == pytest.approx(bits_by_hand(splits[0]), abs=1e-6)
    assert verified.metric == pytest.approx(scored.metric, abs=1e-6)
    assert verified.findings == scored.findings == ()


def test_the_same_bits_again_and_for_other_probes(score: Callable[..., Score]) -> None:
    assert score(HONEST) == score(HONEST)
    assert score(HONEST, True) == score(HONEST, True)
    assert score(HONEST).metric == pytest.approx(score(HONEST, seed=2).metric, abs=1e-9)


def test_streaming_takes_so_many_kilobytes(score: Callable[..., Score], splits: tuple[Path, Path]) -> None:
    rows = 1024 * 2 // (2 * POSITIONS)
    verified = score(HONEST, verifying=True, stream_kb=2)
    assert verified.metric == pytest.approx(bits_by_hand(splits[0], rows), abs=1e-6)


def test_a_dense_leak_is_caught_by_the_probes(score: Callable[..., Score]) -> None:
    with pytest.raises(InvalidPredictions, match=r"predictions change with later text \(a leak\)"):
        score(HONEST + DENSE)


def test_a_leak_gains_nothing_in_a_stream_and_is_told(score: Callable[..., Score]) -> None:
    honest, cheat = score(HONEST, True), score(HONEST + DENSE, True)
    assert cheat.metric == honest.metric
    assert len(cheat.findings) == 1 and cheat.findings[0].startswith("leak: chunks score 0.0")


def test_a_leak_through_the_prefix_finds_nothing_there(score: Callable[..., Score]) -> None:
    """Without a step of its own a leaking `logits` is asked for prefixes, whose last symbol has no next one."""
    source = (HONEST + DENSE).replace("def step", "def unused")
    assert score(source, True).metric == pytest.approx(score(HONEST, True).metric, abs=1e-6)


def test_a_sparse_leak_is_seen_by_the_gap(score: Callable[..., Score]) -> None:
    """At one place of 2,000: the probes may well miss it, the gap on the public text does not."""
    cheat = score(HONEST + SPARSE, True)
    assert cheat.metric == score(HONEST, True).metric
    assert [finding.partition(":")[0] for finding in cheat.findings] == ["leak"]


def test_a_step_that_is_better_than_the_chunks_is_told(score: Callable[..., Score]) -> None:
    worse = HONEST.replace("return model[inputs]", "return model[inputs] * 0.5")
    assert [finding.partition(":")[0] for finding in score(worse, True).findings] == ["step"]


@pytest.mark.parametrize(
    "source", [HONEST + CACHE, HONEST + CACHE.replace("torch.full((12, 12), 1.0)", "99 * load('').exp()")]
)
def test_learning_across_rows_is_refused(score: Callable[..., Score], source: str) -> None:
    with pytest.raises(InvalidPredictions, match="a row's score depends on the other rows"):
        score(source, True)


def test_learning_within_a_row_is_allowed(score: Callable[..., Score]) -> None:
    source = (
        HONEST.partition("def logits")[0]
        + """
def step(model, state, symbols):
    counts, last = state or (torch.ones(len(symbols), 12, 12), None)
    rows = torch.arange(len(symbols))
    if last is not None:
        counts[rows, last, symbols] += 1
    return torch.log(counts[rows, symbols]), (counts, symbols)

def logits(model, inputs):
    state, found = None, []
    for place in range(inputs.shape[1]):
        one, state = step(model, state, inputs[:, place])
        found.append(one)
    return torch.stack(found, 1)
"""
    )
    assert score(source, True).findings == ()
    assert score(source).metric == pytest.approx(score(source, True).metric, abs=1e-6)


def test_rows_that_look_at_their_neighbours_are_refused(score: Callable[..., Score]) -> None:
    source = HONEST.replace("return model[symbols], state", "return model[symbols] + 0.1 * model[symbols[0]], state")
    with pytest.raises(InvalidPredictions, match="a row's score depends on the other rows"):
        score(source, True)


def test_chance_at_prediction_is_refused(score: Callable[..., Score]) -> None:
    source = HONEST.replace("return model[symbols]", "return model[symbols] + torch.randn(12).mul(state or 0.1)")
    source = source.replace("import torch", "import torch\ntorch.seed()")
    with pytest.raises(InvalidPredictions, match="depends on the other rows"):
        score(source, True)


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "-float('inf')"])
def test_not_finite(score: Callable[..., Score], value: str) -> None:
    source = HONEST.replace("return model[inputs]", f"return model[inputs] + {value}")
    with pytest.raises(InvalidPredictions, match="not finite"):
        score(source)


def test_diverged(score: Callable[..., Score]) -> None:
    source = HONEST.replace("[inputs]", "[inputs] * -20").replace("[symbols]", "[symbols] * -20")
    for verifying in (False, True):
        with pytest.raises(InvalidPredictions, match="diverged"):
            score(source, verifying)


@pytest.mark.parametrize("sizes", [np.zeros(ROWS), -np.ones(ROWS), np.ones(3), np.full(ROWS, math.nan)])
def test_bytes_that_cannot_be_are_the_task_s_fault(
    splits: tuple[Path, Path], tmp_path: Path, sizes: np.ndarray
) -> None:
    for name in ("inputs", "targets"):
        (tmp_path / f"{name}.npy").write_bytes((splits[0] / f"{name}.npy").read_bytes())
    np.save(tmp_path / "bytes.npy", sizes)
    with pytest.raises(TaskError, match=r"bytes\.npy"):
        Text.read(tmp_path)

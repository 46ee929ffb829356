"""Language models that cheat, each in processes of its own: what chunks catch, what only streaming does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from programs.common.errors import TaskError
from tests.forked import ForkedReferee
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


Splits = tuple[Path, Path]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    root = tmp_path_factory.mktemp("language")
    return write_split(root / "hidden", 1), write_split(root / "public", 2)


Scored = Callable[..., Score]


@pytest.fixture
def score(splits: Splits) -> Scored:
    def run(source: str, verifying: bool = False, seed: int = 1, **scoring: float) -> Score:
        referee = ForkedReferee(source, *splits, CLASSES, verifying=verifying, seed=seed)
        return LanguageModel(SCORING | scoring).score(referee)

    return run


def bits_by_hand(split: Path, rows: int = ROWS) -> float:
    inputs, targets = (np.load(split / f"{name}.npy")[:rows] for name in ("inputs", "targets"))
    likely = targets == (inputs * 5 + 1) % CLASSES
    chances = np.where(likely, 0.45, 0.05)[targets >= 0]  # they sum to one
    return float(-np.log2(chances).mean() / 2)


def test_an_honest_model_scores_the_same_in_both_ways(score: Scored, splits: Splits) -> None:
    scored, verified = score(HONEST), score(HONEST, verifying=True)
    assert (scored.trust, verified.trust) == ("scored", "verified")
    assert scored.metric == pytest.approx(bits_by_hand(splits[0]), abs=1e-6)
    assert verified.metric == pytest.approx(scored.metric, abs=1e-6)
    assert verified.findings == scored.findings == ()
    assert score(HONEST) == scored and score(HONEST, verifying=True) == verified
    assert score(HONEST, seed=2).metric == pytest.approx(scored.metric, abs=1e-9)  # other probes


def test_streaming_takes_so_many_kilobytes(score: Scored, splits: Splits) -> None:
    rows = 1024 * 2 // (2 * POSITIONS)
    verified = score(HONEST, verifying=True, stream_kb=2)
    assert verified.metric == pytest.approx(bits_by_hand(splits[0], rows), abs=1e-6)


def test_a_step_that_is_better_than_the_chunks_is_told(score: Scored) -> None:
    worse = HONEST.replace("return model[inputs]", "return model[inputs] * 0.5")
    assert [finding.partition(":")[0] for finding in score(worse, True).findings] == ["step"]


def test_learning_within_a_row_is_allowed(score: Scored) -> None:
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


@pytest.mark.parametrize("sizes", [np.zeros(ROWS), -np.ones(ROWS), np.ones(3), np.full(ROWS, math.nan)])
def test_bytes_that_cannot_be_are_the_task_s_fault(splits: Splits, tmp_path: Path, sizes: np.ndarray) -> None:
    for name in ("inputs", "targets"):
        (tmp_path / f"{name}.npy").write_bytes((splits[0] / f"{name}.npy").read_bytes())
    np.save(tmp_path / "bytes.npy", sizes)
    with pytest.raises(TaskError, match=r"bytes\.npy"):
        Text.read(tmp_path)

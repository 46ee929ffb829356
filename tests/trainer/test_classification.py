"""Classifiers: the figure, and what a model can learn from the rows that it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.forked import ForkedReferee
from trainer.scorers.classification import Classification
from trainer.scoring import InvalidPredictions, Score, negative_log_likelihood

HONEST = """
import torch

def load(path):
    return torch.eye(3)

def logits(model, inputs):
    return inputs @ model
"""


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("rows")
    for seed, name in enumerate(("hidden", "public")):
        rng = np.random.default_rng(seed)
        targets = rng.integers(3, size=200)
        inputs = np.eye(3)[targets] * 2 + rng.normal(size=(200, 3))
        (root / name).mkdir()
        np.save(root / name / "inputs.npy", inputs.astype(np.float32))
        np.save(root / name / "targets.npy", targets)
    return root / "hidden", root / "public"


@pytest.fixture
def score(splits: tuple[Path, Path]) -> Callable[..., Score]:
    def run(source: str, verifying: bool = False) -> Score:
        scorer = Classification({"classes": 3})
        return scorer.score(ForkedReferee(source, *splits, 3, verifying=verifying, chunk=50))

    return run


def test_an_honest_model(score: Callable[..., Score], splits: tuple[Path, Path]) -> None:
    inputs, targets = (np.load(splits[0] / f"{name}.npy") for name in ("inputs", "targets"))
    by_hand = negative_log_likelihood(inputs, targets).mean()
    scored, verified = score(HONEST), score(HONEST, True)
    assert scored.metric == verified.metric == pytest.approx(by_hand, abs=1e-6)
    assert (scored.trust, verified.trust) == ("scored", "verified")


@pytest.mark.parametrize(
    "line",
    [
        "inputs @ model - (inputs @ model).mean(0)",
        "inputs @ model + seen(inputs)",
        "inputs @ model * len(gather(inputs))",
    ],
)
def test_learning_from_the_other_rows_is_refused(score: Callable[..., Score], line: str) -> None:
    helpers = """
rows = []
def gather(inputs):
    rows.extend(inputs.sum(1).tolist())
    return set(rows)
def seen(inputs):
    rows.append(inputs.mean(0))
    return sum(rows)
"""
    cheat = helpers + HONEST.replace("return inputs @ model", f"return ({line}) / 50")
    score(cheat)
    with pytest.raises(InvalidPredictions, match="a row's prediction depends on the other rows"):
        score(cheat, True)

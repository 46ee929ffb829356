"""The referee's arithmetic against figures worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from programs.errors import TaskError
from trainer.scoring import InvalidPredictions, make_scorer


def test_uniform_logits_score_log_of_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "targets.npy", np.array([0, 3, 2]))
    np.full((3, 4), 7.5, np.float32).tofile(tmp_path / "p.f32")
    scorer = make_scorer({"kind": "classification", "classes": 4})
    assert scorer.score(tmp_path / "p.f32", tmp_path) == pytest.approx(math.log(4), abs=1e-12)


def test_bits_per_byte(tmp_path: Path) -> None:
    """Two rows of two symbols at 3 bits each, one of them not counted, over 6 bytes."""
    np.save(tmp_path / "targets.npy", np.array([[0, 3], [2, -1]]))
    np.save(tmp_path / "bytes.npy", np.array([4, 2]))
    np.zeros((2, 2, 8), np.float32).tofile(tmp_path / "p.f32")
    scorer = make_scorer({"kind": "language_model", "classes": 8})
    assert scorer.score(tmp_path / "p.f32", tmp_path) == pytest.approx(9 / 6, abs=1e-12)


def test_unnormalised_and_extreme_logits_gain_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "targets.npy", np.array([0, 1]))
    logits = np.array([[3e38, 3e38], [-3e38, -3e38]], np.float32)
    logits.tofile(tmp_path / "p.f32")
    scorer = make_scorer({"kind": "classification", "classes": 2})
    assert scorer.score(tmp_path / "p.f32", tmp_path) == pytest.approx(math.log(2))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite(tmp_path: Path, bad: float) -> None:
    np.save(tmp_path / "targets.npy", np.array([0, 1]))
    np.array([[1, 2], [3, bad]], np.float32).tofile(tmp_path / "p.f32")
    with pytest.raises(InvalidPredictions, match="not finite"):
        make_scorer({"kind": "classification", "classes": 2}).score(tmp_path / "p.f32", tmp_path)


def test_wrong_size(tmp_path: Path) -> None:
    np.save(tmp_path / "targets.npy", np.array([0, 1]))
    (tmp_path / "p.f32").write_bytes(b"1234")
    with pytest.raises(InvalidPredictions, match="4 bytes, expected 16"):
        make_scorer({"kind": "classification", "classes": 2}).score(tmp_path / "p.f32", tmp_path)


def test_unknown_kind() -> None:
    with pytest.raises(TaskError, match="no scorer"):
        make_scorer({"kind": "beauty", "classes": 2})

"""The referee's arithmetic against figures worked out by hand, and what it says of a process that did not end well."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from programs.common.errors import NotFound
from tests.conformance import GivenReferee, ScorerConformance
from trainer.jobs.job import Ended, Limits
from trainer.scorers.language_model import Text
from trainer.scoring import (
    SCORERS,
    Failed,
    InvalidPredictions,
    Scorer,
    ScoreSettings,
    negative_log_likelihood,
    refuse_different,
    refuse_diverged,
    scorer_of,
)
from trainer.scoring.referee import judge
from trainer.source import Source
from trainer.task_file import ScoreSection

#: Scorers whose candidates other files of tests/trainer make and score.
REAL = ("language_model", "simulated")


class TestPrinted(ScorerConformance):
    part = "printed"
    settings: ClassVar[dict[str, Any]] = {"pattern": "loss (.*)"}

    @pytest.fixture
    def good(self, tmp_path: Path) -> GivenReferee:
        return GivenReferee(tmp_path, log="loss 0.5")

    @pytest.fixture
    def bad(self, tmp_path: Path) -> GivenReferee:
        return GivenReferee(tmp_path, log="loss 0.7")


class TestClassification(ScorerConformance):
    part = "classification"
    settings: ClassVar[dict[str, Any]] = {"classes": 3}

    @pytest.fixture
    def good(self, tmp_path: Path) -> GivenReferee:
        np.save(tmp_path / "inputs.npy", np.arange(9))
        np.save(tmp_path / "targets.npy", np.arange(9) % 3)
        return GivenReferee(tmp_path, answer=lambda inputs: np.eye(3)[inputs % 3])

    @pytest.fixture
    def bad(self, good: GivenReferee) -> GivenReferee:
        return replace(good, answer=lambda inputs: np.zeros((len(inputs), 3)))


class TestRegression(ScorerConformance):
    part = "regression"
    settings: ClassVar[dict[str, Any]] = {"classes": 1}

    @pytest.fixture
    def good(self, tmp_path: Path) -> GivenReferee:
        np.save(tmp_path / "inputs.npy", np.arange(9.0))
        np.save(tmp_path / "targets.npy", 3 * np.arange(9.0) + 1)
        return GivenReferee(tmp_path, answer=lambda inputs: 3 * inputs[:, None] + 1.5)

    @pytest.fixture
    def bad(self, good: GivenReferee) -> GivenReferee:
        return replace(good, answer=lambda inputs: np.full((len(inputs), 1), 13.0))

    def test_mean_scores_one_and_learning_from_other_rows_is_refused(
        self, scorer: Scorer, good: GivenReferee, bad: GivenReferee
    ) -> None:
        assert scorer.score(bad).metric == pytest.approx(1.0)
        assert scorer.score(replace(good, verifying=True)).trust == "verified"
        batch = replace(good, answer=lambda inputs: 3 * inputs[:, None] + 1 + 0.1 * inputs.mean(), verifying=True)
        for wrong, words in (
            (batch, "depends on the other rows"),
            (replace(good, answer=lambda inputs: np.full((len(inputs), 1), np.nan)), "not finite"),
            (replace(good, answer=lambda inputs: np.full((len(inputs), 1), 99.0)), "diverged"),
        ):
            with pytest.raises(InvalidPredictions, match=words):
                scorer.score(wrong)

    def test_it_has_one_output_and_other_kinds_have_more(self) -> None:
        for kind, classes in (("regression", 2), ("classification", 1), ("language_model", 1)):
            with pytest.raises(ValueError, match=r"classes"):
                ScoreSection.model_validate({"kind": kind, "classes": classes})


def test_every_scorer_has_a_class_here() -> None:
    tested = {each.part for each in ScorerConformance.__subclasses__() if hasattr(each, "part")}
    assert set(SCORERS.built_in) <= {*REAL, *tested}, "add a class with good and bad candidates, as TestRegression"


def test_uniform_logits_cost_the_log_of_the_classes() -> None:
    losses = negative_log_likelihood(np.full((3, 4), 7.5, np.float32), np.array([0, 3, 2]))
    assert losses.dtype == np.float64 and losses == pytest.approx(math.log(4), abs=1e-12)


def test_bits_per_byte() -> None:
    """Two rows of two symbols at 3 bits each, one of them not counted, over 6 bytes."""
    text = Text(np.zeros((2, 2)), np.array([[0, 3], [2, -1]]), np.array([4, 2]))
    losses = negative_log_likelihood(np.zeros((4, 8), np.float32), text.targets.reshape(-1))
    assert losses[3] == 0
    assert text.bits_per_byte(losses.reshape(2, 2)) == pytest.approx(9 / 6, abs=1e-12)


def test_unnormalised_and_extreme_logits_gain_nothing() -> None:
    logits = np.array([[3e38, 3e38], [-3e38, -3e38], [0, 3e38]], np.float32)
    losses = negative_log_likelihood(logits, np.array([0, 1, 0]))
    assert losses[:2] == pytest.approx(math.log(2)) and losses[2] == pytest.approx(3e38)


def test_parts_do_not_matter() -> None:
    logits = np.random.default_rng(1).normal(size=(3000, 1000)).astype(np.float32)
    targets = np.random.default_rng(2).integers(-1, 1000, size=3000)
    by_hand = np.log(np.exp(logits.astype(np.float64)).sum(1)) - logits[np.arange(3000), np.maximum(targets, 0)]
    assert np.allclose(negative_log_likelihood(logits, targets), np.where(targets < 0, 0, by_hand), atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite(bad: float) -> None:
    with pytest.raises(InvalidPredictions, match="not finite"):
        negative_log_likelihood(np.array([[1, 2], [3, bad]], np.float32), np.array([0, 1]))


def test_differences_count_absolutely_and_relatively() -> None:
    refuse_different(np.array([1.0, 50.0]), np.array([1.001, 50.03]), 1e-3, "x")
    with pytest.raises(InvalidPredictions, match=r"^x: 1 of 2 differ, by up to 0\.01 nats"):
        refuse_different(np.array([1.0, 50.0]), np.array([1.01, 50.0]), 1e-3, "x")


def test_a_loss_far_over_a_blind_guess_is_no_model() -> None:
    assert refuse_diverged(1.9, 1.0, "nats") == 1.9
    with pytest.raises(InvalidPredictions, match=r"diverged: 2\.1 nats, a uniform prediction has 1"):
        refuse_diverged(2.1, 1.0, "nats")


def test_a_scorer_gets_all_settings_of_the_section() -> None:
    assert list(ScoreSettings.__annotations__) == list(ScoreSection().settings()) == list(ScoreSection.model_fields)


def test_kinds() -> None:
    for kind in (*REAL, "printed", "classification", "regression"):
        scorer = scorer_of({"kind": kind, "classes": 2, "pattern": "(x)"})
        assert scorer.per_position is (kind == "language_model")
        assert scorer.needs_checkpoint is (kind in ("classification", "regression", "language_model"))


LIMITS = Limits(cpu_seconds=2.0, wall_seconds=40.0, memory_mb=512)


def ended(code: int = 0, killed: str = "", *, cpu: float = 0.5, error: str = "", log: str = "") -> Ended:
    return Ended(code, killed, cpu, 3.0, 100.0, error=error, log=log)


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (ended(-9, "wall"), "timeout", "killed at the hard limit after 3.0 s of wall time (wall)"),
        (ended(-9, "cpu", cpu=2.1), "timeout", "killed at the hard limit after 2.10 CPU-s (cpu)"),
        (ended(-9, "memory"), "oom", "killed: more than 512 MB of memory"),
        (ended(-9, "processes"), "crash", "killed: too many processes"),
        (ended(-9, cpu=2.1), "timeout", "stopped by its CPU limit after 2.10 CPU-s"),
        (ended(-24, cpu=2.1), "timeout", "stopped by its CPU limit after 2.10 CPU-s"),
        (ended(-9), "oom", "killed by signal 9, as the kernel does when memory runs out"),
        (ended(-9, error="MemoryError: 3 GB"), "oom", "MemoryError: 3 GB"),
        (ended(1, error="MemoryError: 3 GB"), "oom", "MemoryError: 3 GB"),
        (ended(-24), "crash", "exit code -24"),
        (ended(-10), "crash", "exit code -10"),
        (ended(1, error="ValueError: x"), "crash", "ValueError: x"),
        (ended(3, log="one\nlast words\n\n"), "crash", "exit code 3: last words"),
        *(
            (ended(1, error=error), status, error)
            for status, error in (
                ("oom", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …"),
                ("oom", "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
                ("oom", "RuntimeError: CUDA error: out of memory"),
                ("crash", "RuntimeError: CUDA error: an illegal memory access was encountered"),
            )
        ),
    ],
)
def test_each_bad_end_has_its_status_and_reason(end: Ended, status: str, reason: str) -> None:
    with pytest.raises(Failed) as caught:
        judge(end, LIMITS, "crash")
    assert (caught.value.status, caught.value.reason) == (status, reason)


def test_a_good_end_is_none_of_them() -> None:
    judge(ended(0, log="all is well"), LIMITS, "crash")


def test_missing_file_that_the_task_names_is_reported(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = 1\n")
    assert Source.from_folder(tmp_path, ["train.py"]).files == (("train.py", "x = 1\n"),)
    with pytest.raises(NotFound, match=r"model\.py: no such file"):
        Source.from_folder(tmp_path, ["train.py", "model.py"])

"""What a trainer expects of a scorer: it says what it needs, and the same answers have the same score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, get_args

import numpy as np
import pytest

from meta.conformance.base import Conformance
from trainer.outcome import Trust
from trainer.scoring import InvalidPredictions, Score, Scorer, scorer_of
from trainer.task_file import ScoreSection

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass
class GivenReferee:
    """A referee of a candidate whose answers are given: what it printed, and logits by ``answer(inputs)``.

    ``folder`` has the hidden split, the public one and the task's files.
    """

    folder: Path
    log: str = ""
    answer: Callable[[Any], Any] | None = None
    verifying: bool = False

    @property
    def task_folder(self) -> Path:
        return self.folder

    @property
    def split(self) -> Path:
        return self.folder

    @property
    def public_split(self) -> Path:
        return self.folder

    def rng(self, label: str) -> Any:
        return np.random.default_rng(len(label))

    def predict(self, inputs: Any) -> Any:
        if self.answer is None:
            raise InvalidPredictions("this candidate predicts nothing")
        return np.asarray(self.answer(inputs), np.float32)

    def converse(self, *_: Any, **__: Any) -> Any:
        raise InvalidPredictions("this candidate does not answer")


class ScorerConformance(Conformance):
    """``settings``: keys of ``[score]`` beside the kind. A subclass has to define the fixtures ``good`` and ``bad``."""

    settings: ClassVar[dict[str, JsonValue]] = {}
    lower_is_better = True

    @pytest.fixture
    def good(self, tmp_path: Path) -> GivenReferee:
        """A candidate that answers well; ``tmp_path`` is its task, hidden split and public split in one."""
        return self._missing("good")

    @pytest.fixture
    def bad(self, tmp_path: Path) -> GivenReferee:
        """One that answers worse."""
        return self._missing("bad")

    def _missing(self, fixture: str) -> NoReturn:
        pytest.fail(f"define the fixture {fixture}, as TestRegression in tests/trainer/test_scoring.py does")

    @pytest.fixture
    def scorer(self, name: str) -> Scorer:
        return scorer_of(ScoreSection.model_validate({"kind": name, **self.settings}).settings())

    def test_it_says_what_it_needs(self, scorer: Scorer) -> None:
        assert scorer.per_position in (True, False) and scorer.needs_checkpoint in (True, False)

    def test_a_score_is_a_number_and_can_be_repeated(self, scorer: Scorer, good: GivenReferee) -> None:
        score = scorer.score(good)
        assert isinstance(score, Score) and math.isfinite(score.metric) and score.trust in get_args(Trust)
        assert scorer.score(good) == score

    def test_it_claims_no_more_trust_than_the_stream_gives(self, scorer: Scorer, good: GivenReferee) -> None:
        """The trainer would not believe it."""
        assert good.verifying or scorer.score(good).trust in ("scored", "self-reported", "unverified")

    def test_the_better_candidate_has_the_better_score(
        self, scorer: Scorer, good: GivenReferee, bad: GivenReferee
    ) -> None:
        assert (scorer.score(good).metric < scorer.score(bad).metric) is self.lower_is_better

    def test_a_candidate_that_answers_nothing_is_invalid(self, scorer: Scorer, good: GivenReferee) -> None:
        with pytest.raises(InvalidPredictions):
            scorer.score(GivenReferee(good.folder))

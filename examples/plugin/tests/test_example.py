"""The checks that metaloop has for every part of a kind, on the parts of this package."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.conformance import (
    AttributionConformance,
    ExecutorConformance,
    GivenReferee,
    KeepRuleConformance,
    MutatorConformance,
    ProposerConformance,
    RaceRuleConformance,
    ResearcherConformance,
    ScorerConformance,
)


class TestProposer(ProposerConformance):
    part = "farthest"


class TestKeepRule(KeepRuleConformance):
    part = "simpler"


class TestMutator(MutatorConformance):
    part = "shorten"


class TestRaceRule(RaceRuleConformance):
    part = "knockout"


class TestResearcher(ResearcherConformance):
    part = "sweep"


class TestMethod(AttributionConformance):
    part = "over-stock"


class TestExecutor(ExecutorConformance):
    part = "timed"


class TestScorer(ScorerConformance):
    part = "error_rate"
    settings: ClassVar[dict[str, Any]] = {"classes": 3}

    @pytest.fixture
    def good(self, tmp_path: Path) -> GivenReferee:
        np.save(tmp_path / "inputs.npy", np.arange(9))
        np.save(tmp_path / "targets.npy", np.arange(9) % 3)
        return GivenReferee(tmp_path, answer=lambda inputs: np.eye(3)[inputs % 3])

    @pytest.fixture
    def bad(self, good: GivenReferee) -> GivenReferee:
        return replace(good, answer=lambda inputs: np.zeros((len(inputs), 3)))

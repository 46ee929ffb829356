"""The checks that every part of a kind has to pass, ours and those of other packages, as classes for pytest.

A package that adds the proposer ``largest`` tests it so::

    from tests.conformance import ProposerConformance

    class TestLargest(ProposerConformance):
        part = "largest"

``part`` is the name in the registry; several are tested by ``@pytest.mark.parametrize("name", [...])`` on the class.
"""

import pytest

pytest.register_assert_rewrite(f"{__name__}.runs", f"{__name__}.studies")

from tests.conformance.runs import (  # noqa: E402
    GivenReferee,
    KeepRuleConformance,
    ProposerConformance,
    ResearcherConformance,
    ScorerConformance,
)
from tests.conformance.studies import (  # noqa: E402
    AttributionConformance,
    ExecutorConformance,
    MutatorConformance,
    RaceRuleConformance,
)

__all__ = [
    "AttributionConformance", "ExecutorConformance", "GivenReferee", "KeepRuleConformance", "MutatorConformance",
    "ProposerConformance", "RaceRuleConformance", "ResearcherConformance", "ScorerConformance",
]  # fmt: skip

"""The checks that every part of a kind has to pass, ours and those of other packages, as classes for pytest.

A package that adds the proposer ``largest`` tests it so::

    from meta.conformance import ProposerConformance

    class TestLargest(ProposerConformance):
        part = "largest"

``part`` is the name in the registry; several are tested by ``@pytest.mark.parametrize("name", [...])`` on the class.
Nothing else of metaloop imports this package, and nothing else needs pytest.
"""

import pytest

SUITES = ("executors", "methods", "mutators", "race_rules", "run_parts", "scorers")
pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in SUITES))

from meta.conformance.executors import ExecutorConformance  # noqa: E402
from meta.conformance.methods import AttributionConformance  # noqa: E402
from meta.conformance.mutators import MutatorConformance  # noqa: E402
from meta.conformance.race_rules import RaceRuleConformance  # noqa: E402
from meta.conformance.run_parts import KeepRuleConformance, ProposerConformance, ResearcherConformance  # noqa: E402
from meta.conformance.scorers import GivenReferee, ScorerConformance  # noqa: E402

__all__ = [
    "AttributionConformance",
    "ExecutorConformance",
    "GivenReferee",
    "KeepRuleConformance",
    "MutatorConformance",
    "ProposerConformance",
    "RaceRuleConformance",
    "ResearcherConformance",
    "ScorerConformance",
]

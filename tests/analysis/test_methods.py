"""Every method of attribution on a small study; those that need an ablation have no rows there."""

from __future__ import annotations

import pytest

from analysis.attribution import METHODS
from meta.conformance import AttributionConformance

PLANNED = ("factorial", "replay")


@pytest.mark.parametrize("name", [name for name in METHODS.built_in if name not in PLANNED])
class TestEveryMethod(AttributionConformance):
    pass


@pytest.mark.parametrize("name", PLANNED)
class TestPlannedMethods(AttributionConformance):
    expects_rows = False

"""Every method of attribution on a small study, where some methods may have no rows."""

from __future__ import annotations

import pytest

from analysis.attribution import METHODS
from meta.conformance import AttributionConformance

# Two need an ablation, one a directive that some runs follow and others do not.
SOMETIMES = ("factorial", "replay", "following")


@pytest.mark.parametrize("name", [name for name in METHODS.built_in if name not in SOMETIMES])
class TestEveryMethod(AttributionConformance):
    pass


@pytest.mark.parametrize("name", SOMETIMES)
class TestMethodsThatMayHaveNoRows(AttributionConformance):
    expects_rows = False

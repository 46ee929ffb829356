"""Every method of attribution on one small study, where some methods may have no rows."""

from __future__ import annotations

import pytest

from analysis.attribution import METHODS
from meta.conformance import AttributionConformance

# Two need an ablation, one a directive that some runs follow and others do not.
SOMETIMES = ("factorial", "replay", "following")


@pytest.mark.parametrize("name", METHODS.built_in)
class TestEveryMethod(AttributionConformance):
    @pytest.fixture(autouse=True)
    def some_may_have_no_rows(self, name: str) -> None:
        self.expects_rows = name not in SOMETIMES

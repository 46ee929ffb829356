"""Every method of attribution on one small study, where some methods may have no rows."""

from __future__ import annotations

import pytest

from analysis.effects.attribution import METHODS
from tests.conformance import AttributionConformance

SOMETIMES = ("factorial", "leave-one-out")  # they need an ablation


@pytest.mark.parametrize("name", METHODS.built_in)
class TestEveryMethod(AttributionConformance):
    @pytest.fixture(autouse=True)
    def some_may_have_no_rows(self, name: str) -> None:
        self.expects_rows = name not in SOMETIMES

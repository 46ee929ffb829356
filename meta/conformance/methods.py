"""What the view ``credit`` expects of a method of attribution: estimates with a design, the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pytest

from analysis.effects.attribution import METHODS, credits, searched
from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditEstimate
from analysis.scope import Scope, scopes
from analysis.study import read_study
from meta.begin import create
from meta.conformance.base import LAW, Conformance
from meta.evolve import evolve
from meta.plan import Plan
from trainer.laws.planted import COST, simulated_task
from trainer.task import Task

PLAN = Plan(
    starters=3, opening_runs=2, opening_keep=2, opening_more=3, aa_runs=2, generations=1, children=4, elites=1,
    child_runs=3, child_keep=1, child_more=4, confirm_runs=3, ablation_runs=2, run_budget=8 * COST,
    control_runs=2,
)  # fmt: skip


class AttributionConformance(Conformance):
    """On a small simulated study: an opening race, one generation and a confirmation. With ``expects_rows``, the
    method must yield some there."""

    expects_rows = True

    @pytest.fixture(scope="class")
    @classmethod
    def study(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("attribution")
        task = Task.load(simulated_task(LAW, folder / "task"))
        study, starters = create(folder / "study", task=task, plan=PLAN, workers=1, seed=1)
        evolve(study, PLAN, starters, lambda _: None)
        return study.folder

    @pytest.fixture(scope="class")
    @classmethod
    def con(cls, study: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        with read_study(study, views=()) as con:
            yield con

    @pytest.fixture(scope="class")
    @classmethod
    def together(cls, con: duckdb.DuckDBPyConnection) -> Sequence[CreditEstimate]:
        """The rows of all methods, each with its ``q``."""
        (scope,) = searched(con)
        return credits(scope).rows

    def test_rows_are_estimates_of_the_task(self, con: duckdb.DuckDBPyConnection, name: str) -> None:
        (scope,) = searched(con)
        rows = rows_of(scope, name)
        assert rows or not self.expects_rows
        assert len({each.credit_id for each in rows}) == len(rows)
        for each in rows:
            assert (each.task, each.q) == (scope.task, None)
            assert each.design in ("randomised", "paired", "observational") and each.unit
            assert each.n >= 1 and each.rests_on >= 0
            assert each.se is None or each.se >= 0
            assert each.p is None or 0 <= each.p <= 1
            assert each.low is None or each.high is None or each.low <= each.estimate <= each.high
            assert each.label and each.method == name

    def test_rows_are_the_same_each_time(self, con: duckdb.DuckDBPyConnection, name: str) -> None:
        (scope,) = searched(con)
        assert rows_of(scope, name) == rows_of(scope, name)

    def test_rows_rest_on_no_match_that_is_left_out(self, con: duckdb.DuckDBPyConnection, name: str) -> None:
        every = [match for (match,) in con.execute("SELECT match_id FROM matches").fetchall()]
        (scope,) = scopes(con, every)
        assert rows_of(scope, name) == []

    def test_rows_have_a_false_discovery_rate(
        self, con: duckdb.DuckDBPyConnection, together: Sequence[CreditEstimate], name: str
    ) -> None:
        (scope,) = searched(con)
        own = {each.credit_id for each in rows_of(scope, name)}
        shown = [each for each in together if each.credit_id in own]
        assert len(shown) == len(own)
        assert all(each.p is not None and each.p <= each.q for each in shown if each.q is not None)


def rows_of(scope: Scope, name: str) -> Sequence[CreditEstimate]:
    """Of one method by itself; ``q`` is still missing."""
    return METHODS.get(name)(MethodInput(scope))

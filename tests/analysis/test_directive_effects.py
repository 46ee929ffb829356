"""Effects of children and of planned ablations, against planted ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.effects import designs
from analysis.effects.support import support
from analysis.ledger import Ledger
from analysis.report.program_text import CreditRow
from analysis.report.source import ReportSource
from analysis.statistics import bh
from analysis.study import open_study, query
from analysis.views.tables import rows
from bench.planted_events import Population, mutation
from bench.planted_laws import DirectiveLaw, RunLaw

EFFECTS = {"d0": 1.0, "d1": -0.8, "d2": 0.0, "d3": 0.5}
LAW = DirectiveLaw(EFFECTS, runs=RunLaw(sd=0.4, common=0.5, drift=1.0))


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Population]:
    with Ledger(tmp_path / "ledger", "main") as ledger:
        yield Population(ledger, LAW, np.random.default_rng(1))


def credit(folder: Path, method: str) -> dict[str, dict[str, Any]]:
    found = query(folder, f"SELECT * FROM credit WHERE method = '{method}'")
    return {row["directive_id"]: row for row in found}


@pytest.mark.parametrize(("generation", "compared"), [(0, "good"), (1, "weak")])
def test_parent_that_was_better_in_earlier_matches_is_compared(
    people: Population, tmp_path: Path, generation: int, compared: str
) -> None:
    """The child has the directives of `good`. A match of its own generation was not known when it was bred."""
    people.add("weak", [])
    people.add("good", ["d0"])
    people.add("child", ["d0"], ["weak", "good"], 1)
    people.add("refused", ["d0"])
    people.play("m0", ["weak", "good"], 9, generation)
    people.play("m1", ["weak", "good", "child", "refused"], 9, 1)
    mutation(people.ledger, "refused", ["weak"], 1, accepted=False)
    [row] = query(tmp_path, "SELECT * FROM credit WHERE method = 'mutation'")
    assert (row["child_id"], row["n"], row["design"], row["causal"]) == ("child", 9, "paired", True)
    assert (row["low"] > 0 and row["q"] < 0.05) == (compared == "weak")
    assert row["estimate"] == pytest.approx(EFFECTS["d0"] if compared == "weak" else 0.0, abs=0.5 * EFFECTS["d0"])


@pytest.fixture
def ablated(people: Population, tmp_path: Path) -> Path:
    factors = list(EFFECTS)
    people.add("parent", factors)
    people.add("child", factors[:3], ["parent"], 1)
    people.play("m1", ["parent", "child"], 8)
    design = designs.plan(factors, 64, 1)
    variants = [f"v{i}" for i in range(len(design.arms))]
    for name, (row, runs) in zip(variants, design.arms, strict=True):
        people.add(name, [d for d, yes in zip(factors, row, strict=True) if yes])
        assert runs == 64 // len(variants)
    plan = {"blocks": design.blocks, "order": design.order, "runs": design.runs}
    people.ledger.append({"kind": "ablation", "ablation_id": "x1", "method": "factorial", "match_id": "m2",
                          "program_id": "parent", "task": "strokes", "stream": "selection", "factors": factors,
                          "plan": plan})  # fmt: skip
    people.play("m2", variants, 64 // len(variants), purpose="ablation")
    return tmp_path


def test_a_planned_ablation_is_read_off_the_ledger(ablated: Path) -> None:
    found = credit(ablated, "factorial")
    assert set(found) == set(EFFECTS)
    for directive, row in found.items():
        assert row["design"] == "randomised" and row["n"] == 64 and row["program_id"] == "parent"
        assert row["estimate"] == pytest.approx(EFFECTS[directive], abs=0.3) and row["match_id"] == "m2"
    [plan] = query(ablated, "SELECT method, program_id, factors, plan FROM ablations")
    assert plan["factors"] == list(EFFECTS) and plan["plan"]["runs"] == 64


def test_every_row_leads_back_to_what_it_rests_on(ablated: Path) -> None:
    with open_study(ablated) as con:
        for row in rows(con.execute("SELECT * FROM credit")):
            found, sql = support(con, row)
            assert found and "$" not in sql, row["method"]
            assert rows(con.execute(sql)) == found
            if row["method"] == "factorial":
                means = {held: np.mean([r["verified_gain"] for r in found if r["held"] == held])
                         for held in (True, False)}  # fmt: skip
                assert means[True] - means[False] == pytest.approx(row["estimate"])


def test_each_method_has_a_false_discovery_rate_of_its_own(ablated: Path) -> None:
    for method in ("factorial", "mutation"):
        found = query(ablated, f"SELECT p, q FROM credit WHERE method = '{method}' AND q IS NOT NULL")
        assert [row["q"] for row in found] == pytest.approx(bh([row["p"] for row in found]))


def test_all_pages_show_the_same_row_of_a_line(ablated: Path) -> None:
    """An ablation before what cites the line, that of the program itself before that of another one."""
    with open_study(ablated) as con:
        con.execute(
            "INSERT INTO credit BY NAME SELECT * FROM (VALUES "
            "('own', 'factorial', 'randomised', 'd1', 'child', 0.1, 8), "
            "('tried', 'directive', 'observational', 'd0', NULL, 0.2, 999), "
            "('tried too', 'directive', 'observational', 'd1', 'child', 0.3, 999)"
            ") AS t(credit_id, method, design, directive_id, program_id, estimate, n), "
            "(SELECT 'strokes' AS task, 'nats' AS unit)"
        )
        ablation = "SELECT directive_id, credit_id FROM credit WHERE method = 'factorial' AND program_id = 'parent'"
        of_parent = dict(con.execute(ablation).fetchall())
        report = ReportSource(con, "").ask("directive_credit", CreditRow, program="child").rows
    best = {"d0": of_parent["d0"], "d1": "own", "d2": of_parent["d2"]}
    assert {row.directive_id: row.credit_id for row in report} == best

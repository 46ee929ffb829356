"""Effects of children and of planned ablations, against planted ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import designs
from analysis.ledger import Ledger
from analysis.planted import DirectiveLaw, RunLaw
from analysis.report.champion import CreditRow
from analysis.report.source import ReportSource
from analysis.study import open_study, query
from analysis.support import support
from analysis.tables import rows, statement
from tests.analysis import synthetic

EFFECTS = {"d0": 1.0, "d1": -0.8, "d2": 0.0, "d3": 0.5}
LAW = DirectiveLaw(EFFECTS, runs=RunLaw(sd=0.4, common=0.5, drift=1.0))


def listed(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"directive_id": d, "heading": "Ideas", "kind": "idea", "text": d, "position": i}
            for i, d in enumerate(names)]  # fmt: skip


class Writer:
    """A study of sets of directives, written through the ledger."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.rng = Ledger(folder / "ledger", "main"), np.random.default_rng(1)
        self.held: dict[str, list[str]] = {}

    def add(self, name: str, names: Sequence[str], parents: Sequence[str] = ()) -> None:
        self.held[name] = list(names)
        synthetic.program(self.ledger, name, listed(names), parent_ids=list(parents))
        if parents:
            self.ledger.append({"kind": "mutation", "child_id": name, "parent_ids": list(parents), "operator": "x",
                                "accepted": True, "generation": 1, "attempt": len(self.held)})  # fmt: skip

    def play(self, match_id: str, arms: Mapping[str, int], **more: Any) -> None:
        synthetic.match(self.ledger, match_id, {f"a-{match_id}-{who}": who for who in arms}, **more)
        drift, shared = float(self.rng.normal(0, LAW.runs.drift)), self.rng.standard_normal(max(arms.values()))
        for who, runs in arms.items():
            gains, _ = LAW.draw(self.held[who], runs, self.rng, shared[:runs], drift)
            for seed, gain in enumerate(gains.tolist()):
                run_id, arm = f"r-{match_id}-{who}-{seed}", f"a-{match_id}-{who}"
                synthetic.start(self.ledger, run_id, match_id, arm, who, seed)
                synthetic.end(self.ledger, run_id)
                synthetic.verify(self.ledger, run_id, arm, who, [gain])


def credit(folder: Path, method: str) -> dict[str, dict[str, Any]]:
    found = query(folder, f"SELECT * FROM credit WHERE method = '{method}'")
    return {row["directive_id"]: row for row in found}


def test_what_a_child_changed_together_is_the_mutation_s(tmp_path: Path) -> None:
    study = Writer(tmp_path)
    study.add("parent", ["d1"])
    study.add("child", ["d0", "d3"], ["parent"])
    study.play("m1", {"parent": 6, "child": 6})
    study.ledger.close()
    assert query(tmp_path, "SELECT n, design FROM credit WHERE method = 'mutation'") == [{"n": 6, "design": "paired"}]


@pytest.mark.parametrize(("generation", "compared"), [(0, "good"), (1, "weak")])
def test_the_parent_that_earlier_matches_show_to_be_better_is_compared(
    tmp_path: Path, generation: int, compared: str
) -> None:
    """The child has the directives of `good`. A match of its own generation was not known when it was bred."""
    study = Writer(tmp_path)
    for name, parents in (("weak", []), ("good", []), ("child", ["weak", "good"])):
        study.add(name, [] if name == "weak" else ["d0"], parents)
    study.play("m0", {"weak": 9, "good": 9}, generation=generation)
    study.play("m1", {"weak": 9, "good": 9, "child": 9}, generation=1)
    study.ledger.close()
    [row] = query(tmp_path, "SELECT estimate, n, design FROM credit WHERE method = 'mutation'")
    assert (row["n"], row["design"]) == (9, "paired")
    assert row["estimate"] == pytest.approx(EFFECTS["d0"] if compared == "weak" else 0.0, abs=0.5 * EFFECTS["d0"])


@pytest.fixture
def ablated(tmp_path: Path) -> Path:
    study, factors = Writer(tmp_path), list(EFFECTS)
    study.add("parent", factors)
    study.add("child", factors[:3], ["parent"])
    study.play("m1", {"parent": 8, "child": 8})
    design = designs.plan(factors, 64, 1)
    for i, (row, _) in enumerate(design.arms):
        study.add(f"v{i}", [d for d, yes in zip(factors, row, strict=True) if yes])
    plan = {"blocks": design.blocks, "order": design.order, "runs": design.runs}
    study.ledger.append({"kind": "ablation", "ablation_id": "x1", "method": "factorial", "match_id": "m2",
                         "program_id": "parent", "task": "strokes", "stream": "selection", "factors": factors,
                         "plan": plan})  # fmt: skip
    study.play("m2", {f"v{i}": n for i, (_, n) in enumerate(design.arms)}, purpose="ablation", generation=None)
    study.ledger.close()
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
        best = {row["directive_id"]: row["credit_id"] for row in rows(con.execute(statement("best_credit"), ["child"]))}
        report = ReportSource(con, "").ask("directive_credit", CreditRow, program="child").rows
    assert best == {"d0": of_parent["d0"], "d1": "own", "d2": of_parent["d2"]}
    assert {row.directive_id: row.credit_id for row in report} == best

"""Effects of having and of following a directive, against planted ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import designs
from analysis.directive_effects import Contrast, contrasts, directive_effects
from analysis.families import FamilyRun
from analysis.ledger import Ledger
from analysis.planted import DirectiveLaw, RunLaw
from analysis.study import open_study, query
from analysis.support import support
from analysis.tables import rows
from tests.analysis import synthetic

EFFECTS = {"d0": 1.0, "d1": -0.8, "d2": 0.0, "d3": 0.5}
LAW = DirectiveLaw(EFFECTS, runs=RunLaw(sd=0.4, common=0.5, drift=1.0))


def listed(names: Sequence[str], kind: str = "idea") -> list[dict[str, Any]]:
    return [{"directive_id": d, "heading": "Ideas", "kind": kind, "text": d, "position": i}
            for i, d in enumerate(names)]  # fmt: skip


class Writer:
    """A study of sets of directives, written through the ledger."""

    def __init__(self, folder: Path, law: DirectiveLaw = LAW) -> None:
        self.ledger, self.law, self.rng = Ledger(folder / "ledger", "main"), law, np.random.default_rng(1)
        self.held: dict[str, list[str]] = {}

    def add(self, name: str, names: Sequence[str], parents: Sequence[str] = (), prose: Sequence[str] = ()) -> None:
        self.held[name] = list(names)
        synthetic.program(self.ledger, name, [*listed(names), *listed(prose, "paragraph")], parent_ids=list(parents))
        if parents:
            self.ledger.append({"kind": "mutation", "child_id": name, "parent_ids": list(parents), "operator": "x",
                                "accepted": True, "generation": 1, "attempt": len(self.held)})  # fmt: skip

    def play(self, match_id: str, arms: Mapping[str, int], cite: bool = False, **more: Any) -> None:
        synthetic.match(self.ledger, match_id, {f"a-{match_id}-{who}": who for who in arms}, **more)
        drift, shared = float(self.rng.normal(0, self.law.runs.drift)), self.rng.standard_normal(max(arms.values()))
        for who, runs in arms.items():
            gains, followed = self.law.draw(self.held[who], runs, self.rng, shared[:runs], drift)
            for seed, (gain, done) in enumerate(zip(gains.tolist(), followed, strict=True)):
                run_id, arm = f"r-{match_id}-{who}-{seed}", f"a-{match_id}-{who}"
                synthetic.start(self.ledger, run_id, match_id, arm, who, seed)
                for number, cited in enumerate(([], sorted(done))) if cite else ():
                    from bench.planted_events import experiment

                    experiment(self.ledger, run_id, number, decision="discard", metric=2.0, cited=cited)
                synthetic.end(self.ledger, run_id)
                synthetic.verify(self.ledger, run_id, arm, who, [gain])


def credit(folder: Path, method: str) -> dict[str, dict[str, Any]]:
    found = query(folder, f"SELECT * FROM credit WHERE method = '{method}'")
    return {row["directive_id"]: row for row in found}


def test_children_against_parents_tell_what_each_directive_does(tmp_path: Path) -> None:
    study = Writer(tmp_path)
    study.add("parent", ["d0", "d1"], prose=["words"])
    study.add("dropped", ["d0"], ["parent"], prose=["other words"])
    study.add("both", ["d0", "d1", "d2", "d3"], ["parent"])
    study.add("one", ["d0", "d1", "d2"], ["parent"])
    study.play("m1", {"parent": 30, "dropped": 30, "both": 30, "one": 30})
    study.ledger.close()
    found = credit(tmp_path, "having")
    assert set(found) == {"d1", "d2", "d3"}  # prose changes nothing for a scripted researcher, d0 never changed
    for directive, row in found.items():
        assert row["design"] == "paired" and row["causal"] and row["unit"] == "nats" and row["n"] >= 30
        assert row["low"] < EFFECTS[directive] < row["high"] and row["high"] - row["low"] < 0.6
        assert row["joint_estimate"] == pytest.approx(row["estimate"]) and row["shrunk"] is not None
    assert found["d1"]["q"] < 0.01 < 0.05 < found["d2"]["q"]


def test_what_always_changed_together_is_the_mutation_s(tmp_path: Path) -> None:
    study = Writer(tmp_path)
    study.add("parent", ["d1"])
    study.add("child", ["d0", "d3"], ["parent"])
    study.play("m1", {"parent": 6, "child": 6})
    study.ledger.close()
    assert credit(tmp_path, "having") == {}
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


def test_a_parent_from_another_match_is_no_contrast() -> None:
    runs = [FamilyRun("m1", 0, True, 1.0, "c", ["p"], "c"), FamilyRun("m0", 0, False, 1.0, "c", ["p"], "p")]
    assert contrasts(runs, {"c": {"d0"}, "p": set()}) == []


def test_large_studies_use_the_children_that_changed_one_thing() -> None:
    rng, made = np.random.default_rng(2), []
    for family in range(300):
        for seed in range(3):
            luck = rng.normal()
            place = f"m{family % 7}", f"p{family}"
            made += [Contrast(place, seed, {}, luck), Contrast(place, seed, {"d0": -1.0}, luck - 1 + rng.normal() / 10),
                     Contrast(place, seed, {"d1": 1.0, "d2": 1.0}, luck)]  # fmt: skip
    found = directive_effects(made)
    assert set(found) == {"d0"}
    effect, n = found["d0"]
    assert effect.estimate == pytest.approx(1.0, abs=0.02) and n == 900 and (effect.se or 1.0) < 0.02


def test_following_is_having_over_the_share_that_followed(tmp_path: Path) -> None:
    law = DirectiveLaw({"d0": 1.0, "d3": 0.5}, followed={"d0": 0.5}, runs=RunLaw(sd=0.2))
    study = Writer(tmp_path, law)
    study.add("parent", ["d3"])
    study.add("child", ["d0", "d3"], ["parent"])
    study.play("m1", {"parent": 80, "child": 80}, cite=True)
    study.ledger.close()
    having, following = credit(tmp_path, "having")["d0"], credit(tmp_path, "following")
    assert set(following) == {"d0"}  # d3 was followed by all: having and following it are one
    row = following["d0"]
    assert having["estimate"] == pytest.approx(0.5, abs=0.2) and row["estimate"] == pytest.approx(1.0, abs=0.25)
    assert row["design"] == "paired" and row["low"] < 1.0 < row["high"]
    assert row["runs_held"] == 80 and row["runs"] == pytest.approx(40, abs=15)


def test_without_a_contrast_following_is_an_association_within_arms(tmp_path: Path) -> None:
    study = Writer(tmp_path, DirectiveLaw({"d0": 1.0}, followed={"d0": 0.5}, runs=RunLaw(sd=0.2)))
    study.add("only", ["d0"])
    study.play("m1", {"only": 60}, cite=True)
    study.ledger.close()
    row = credit(tmp_path, "following")["d0"]
    assert row["design"] == "observational" and not row["causal"]
    assert row["estimate"] == pytest.approx(1.0, abs=0.15) and row["low"] < 1.0 < row["high"]


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
    paired = credit(ablated, "having")["d3"]
    joint = found["d3"]["joint_estimate"]
    assert joint == paired["joint_estimate"] and min(paired["estimate"], found["d3"]["estimate"]) <= joint
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

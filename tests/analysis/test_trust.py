"""Trust: the weakest word holds, and findings are told once."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.ledger import Ledger
from analysis.study import open_study, query
from analysis.verdict.caveats import caveats
from analysis.verdict.verdict import VIEWS
from tests.analysis import synthetic
from trainer.trust import marked, weakest


def test_weakest_trust_holds_and_an_unknown_word_is_weaker_still() -> None:
    assert weakest(["verified", "scored", None, ""]) == "scored"
    assert weakest(["self-reported", "unverified", "verified"]) == "unverified"
    assert weakest(["verified", "blessed"]) == "blessed"
    assert weakest([None, ""]) is None


def test_only_weak_scores_are_marked() -> None:
    assert marked("scored") == marked("verified") == marked(None) == ""
    assert marked("unverified").startswith("unverified: the code ran")
    assert marked("self-reported").startswith("self-reported: the script")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with synthetic.played(tmp_path, "p1", "p2") as ledger:
        for arm, trusts in (("a1", ("verified", "scored")), ("a2", ("verified", "verified"))):
            for seed, trust in enumerate(trusts):
                synthetic.run(ledger, f"r{arm}{seed}", "m1", arm, f"p{arm[1]}", seed, [0.1, 0.2], trust=trust)
        failed = {"kind": "verification", "run_id": "ra20", "stream": "selection", "seed": 9, "status": "crash"}
        ledger.append({**failed, "gain": 0.0, "trust": "scored"})
        told = {"kind": "finding", "run_id": "ra10", "source_id": "s1", "stream": "selection", "seed": 0}
        for text in ("gap 0.1", "gap 0.1", "gap 0.2"):
            ledger.append({**told, "finding": "leak", "text": text})
        ledger.append({"kind": "fault", "run_id": "ra10", "stream": "selection", "seed": 3, "reason": "no disk"})
    return tmp_path


def test_an_arm_is_as_trusted_as_its_weakest_run_that_was_scored(folder: Path) -> None:
    rows = query(folder, "SELECT run_id, trust FROM runs ORDER BY run_id")
    assert [row["trust"] for row in rows] == ["verified", "scored", "verified", "verified"]
    rows = query(folder, "SELECT arm_id, trust FROM standings ORDER BY arm_id")
    assert [row["trust"] for row in rows] == ["scored", "verified"]


def test_a_finding_that_a_resumed_study_tells_again_is_one(folder: Path) -> None:
    rows = query(folder, "SELECT kind, text, run_id, seed FROM findings")
    assert [(row["kind"], row["text"]) for row in rows] == [("leak", "gap 0.1"), ("leak", "gap 0.2")]


def test_a_remark_of_the_gpus_driver_is_no_suspicion(folder: Path) -> None:
    with Ledger(folder / "ledger", "later") as ledger:
        ledger.append({"kind": "finding", "run_id": "ra10", "finding": "gpu", "text": "utilization 25%"})
    with open_study(folder, views=VIEWS) as con:
        texts = {one.title: one.text for one in caveats(con)}
    assert "2 (leak)" in texts["The referee noticed something"]
    assert "1, such as: utilization 25%" in texts["The GPU's driver"]


@pytest.mark.parametrize("admits", [False, True])
def test_models_whose_programs_were_all_refused_are_a_caveat(folder: Path, admits: bool) -> None:
    with Ledger(folder / "ledger", "later") as ledger:
        for number, accepted in enumerate([False, admits]):
            proposal = {"generation": 1, "attempt": number, "operator": "rewrite", "model": "m", "child_id": None}
            refusal = "" if accepted else f"behaves like p{number}"
            ledger.append({"kind": "mutation", **proposal, "accepted": accepted, "reason": refusal})
        ledger.append({"kind": "mutation", "generation": 1, "attempt": 2, "operator": "reorder", "accepted": False})
    with open_study(folder, views=VIEWS) as con:
        texts = [one.text for one in caveats(con) if one.title == "No program of a model was raced"]
    assert texts == ([] if admits else ["All 2 proposals of models were refused, the last one: behaves like p1."])


def test_a_fault_of_a_verification_is_in_its_view(folder: Path) -> None:
    (row,) = query(folder, "SELECT * EXCLUDE written_at FROM faults")
    assert row == {"run_id": "ra10", "reason": "no disk", "stream": "selection", "seed": 3}

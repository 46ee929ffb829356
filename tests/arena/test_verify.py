"""`metaloop verify` on real training: what holds is confirmed, what was forged or carried along is found out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger, check, read, segments
from analysis.study import open_study, query
from arena.arms import Entry
from arena.audit.verify import Audit, How, Sample, carry_out, verify_source
from arena.audit.verify_study import (
    AuditedArm,
    AuditedClaim,
    AuditedRun,
    claim_of,
    final_source,
    intact,
    run_of,
    runs_to_confirm,
    spent_by,
    verify_run,
    verify_study,
)
from arena.standalone import play_entries
from arena.study.study import Study
from programs.common.errors import Corrupt, NotFound
from programs.shelf import starter
from tests.studies import make_study, planted, program, silent, study_on
from trainer.edits import Edit
from trainer.source import Source
from trainer.streams import Streams

QUEUE = program("queue", "  proposers: {queue: 1.0}\n", ("Raise `lr=0.3`.", "Then `momentum=0.9`.", "And `batch=64`."))
HOW = How(Streams.from_seed(99), workers=1, fixed_steps=True)
pytestmark = pytest.mark.slow  # each check starts workers of its own


def quiet(_: str) -> None:
    """What is told on the way."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = make_study(tmp_path_factory.mktemp("verify") / "study")
    play_entries(study, [Entry(QUEUE), Entry(starter("stock"), "control")], 3, silent)
    return study


@pytest.fixture
def copy(study: Study, tmp_path: Path) -> Study:
    shutil.copytree(study.folder, tmp_path / "copy")
    return Study.open(tmp_path / "copy")


def whole(study: Study) -> Audit:
    intact(study)
    with open_study(study.folder) as con:
        claim = claim_of(con)
    return verify_study(study, claim, claim.sampled(study, 2, HOW), HOW, quiet)


def carried(study: Study) -> Source:
    """A source that does not train: its weights, those of the true centres, stand in its text."""
    source = study.task.edits.apply(study.task.baseline(), Edit(apply=("bias",)))
    text = source.text().replace("row[number] -= LR * change[number]", "pass")
    weights = "    weights = [[4.0, 0.0, 4.0], [0.0, 4.0, 4.0], [-4.0, -4.0, -8.0]]\n"
    return source.with_text("train.py", text.replace("    step = [[0.0]", f"{weights}    step = [[0.0]"))


def metrics(audit: Audit) -> list[Any]:
    return [row["metric"] for row in audit.event().body["measurements"]]


def test_a_source_that_is_better_is_shown_to_be(study: Study) -> None:
    better = study.task.edits.apply(study.task.baseline(), Edit({"LR": 0.3}))
    audit = verify_source(study.task, better, 3, HOW, quiet)
    assert audit.verdict == "better than the baseline" and audit.findings == [] and audit.stands
    assert audit.figures["low"] > 0 and audit.event().body["failed_seeds"] == 0
    assert metrics(verify_source(study.task, better, 3, HOW, quiet)) == metrics(audit)


def test_the_untouched_baseline_is_not_shown_to_be_better(study: Study) -> None:
    """Nor under another secret, whose trainings are others."""
    audit, other = (
        verify_source(study.task, study.task.baseline(), 2, How(Streams.from_seed(seed), 1, True), quiet)
        for seed in (99, 1)
    )
    assert {audit.verdict, other.verdict} <= {"not shown", "worse"} and metrics(audit) != metrics(other)


def test_weights_in_the_text_are_found_though_they_score(study: Study) -> None:
    audit = verify_source(study.task, carried(study), 3, HOW, quiet)
    assert audit.verdict.startswith("invalid: embedded: ") and audit.figures["gain"] > 0
    assert "embedded" in [found.finding for found in audit.findings]


def test_a_source_that_always_fails_is_invalid(study: Study) -> None:
    broken = study.task.edits.apply(study.task.baseline(), Edit({"FAULT": "raise"}))
    audit = verify_source(study.task, broken, 2, HOW, quiet)
    assert audit.verdict.startswith("invalid: crash: RuntimeError: this source is broken")
    assert audit.figures["gain"] is None and audit.trust is None and not audit.stands
    assert audit.event().body["failed_seeds"] == 2


def test_study_is_checked_on_its_own_data_in_its_own_segment(copy: Study) -> None:
    before, spent = query(copy.folder, "SELECT * FROM standings"), spent_by(copy)
    audit = whole(copy)
    assert audit.figures["share"] == pytest.approx(audit.round.spent / spent)
    assert spent_by(copy) == pytest.approx(spent + audit.round.spent)
    assert audit.verdict in ("confirmed", "not confirmed", "nothing to confirm")
    (row,) = query(copy.folder, "SELECT * FROM audits")
    assert row["verdict"] == audit.verdict and row["gain"] == audit.figures["gain"] and row["n"] == 2
    assert row["recorded_gain"] == pytest.approx(before[0]["gain"])
    assert 0 < row["share"] < 1.5 and row["secret"] == HOW.streams.secret.hex()
    used = {m["seed"] for m in row["details"]["measurements"]}
    seen = query(copy.folder, "SELECT seed FROM experiments UNION SELECT seed FROM verifications")
    assert not used & {r["seed"] for r in seen}
    assert check(copy.folder / "ledger") == [] and (copy.folder / "ledger" / "audit-1.jsonl").is_file()
    assert query(copy.folder, "SELECT * FROM standings") == before
    with Study.open(copy.folder):  # and the study itself goes on from there
        pass
    assert check(copy.folder / "ledger") == []


def test_runs_to_confirm_a_lead_follow_from_its_spread() -> None:
    def arm(*gains: float) -> list[AuditedRun]:
        return [AuditedRun("r", "finished", "a", "p", "n", None, "s", "x", None, gain, 1.0) for gain in gains]

    match = AuditedArm("m", "t", "confirmation", "a", "p", "n", "champion")
    claim = AuditedClaim(match, arm(*[0.2, 0.6, 0.9, 0.5] * 3), arm(*[0.0, 0.3, -0.2, 0.1] * 3))
    needed = runs_to_confirm(claim)
    assert needed is not None and 4 < needed <= 12
    assert runs_to_confirm(AuditedClaim(match, arm(0.1), arm(0.0))) is None


def test_a_run_is_shown_beside_what_was_recorded_and_claimed(copy: Study) -> None:
    (row,) = query(copy.folder, "SELECT run_id FROM runs WHERE role = 'program' ORDER BY run_id LIMIT 1")
    run = run_of(copy, row["run_id"])
    audit = verify_run(copy, run, 2, HOW, quiet)
    event = audit.event().body
    assert event["claimed_gain"] == run.claimed_gain
    assert event["recorded_in_interval"] == (event["low"] <= run.verified_gain <= event["high"])
    assert query(copy.folder, "SELECT subject, run_id FROM audits") == [{"subject": "run", "run_id": run.run_id}]


def forge(folder: Path, change: dict[str, Any]) -> None:
    """Write the ledger anew with other verifications of one program, every hash as it should be."""
    events = list(read(folder / "ledger"))
    for segment in segments(folder / "ledger"):
        segment.unlink()
    with Ledger(folder / "ledger", "main") as ledger:
        for event in (event for event in events if event["kind"] != "segment"):
            mine = event["kind"] == "verification" and event["program_id"] == QUEUE.program_id
            body = {k: v for k, v in event.items() if k not in ("seq", "prev", "hash", "schema")}
            ledger.append({**body, **(change if mine else {})}, sync=False)
    assert check(folder / "ledger") == []


def test_a_gain_that_was_written_into_the_ledger_is_contradicted(copy: Study) -> None:
    forge(copy.folder, {"gain": 50.0})
    audit = whole(copy)
    assert audit.verdict == "contradicted" and not audit.stands and audit.trust == "verified"


def test_a_changed_source_and_a_broken_chain_are_refused(copy: Study) -> None:
    (row,) = query(copy.folder, "SELECT * FROM runs WHERE role = 'program' ORDER BY run_id LIMIT 1")
    place = copy.folder / "runs" / row["run_id"] / "train.py"
    place.write_text(carried(copy).text())
    with pytest.raises(Corrupt, match="but the ledger recorded"):
        final_source(copy, row["run_id"], row["final_source_id"])
    place.unlink()
    with pytest.raises(Corrupt, match="no such file"):
        final_source(copy, row["run_id"], row["final_source_id"])
    (copy.folder / "ledger" / "worker-0-1.jsonl").unlink()
    with pytest.raises(Corrupt, match="missing"):
        intact(copy)


def test_a_match_without_stock_makes_no_claim(tmp_path: Path) -> None:
    study = study_on(tmp_path / "s", planted(tmp_path / "law"), 0.4)
    play_entries(study, [Entry(program("other"))], 1, silent)
    with open_study(study.folder) as con, pytest.raises(NotFound, match="against stock"):
        claim_of(con)


def test_what_runs_without_a_sandbox_says_so(study: Study) -> None:
    how = How(HOW.streams, 1, True, sandbox=False)
    found = carry_out(study.task, [Sample("x", study.task.baseline(), 1)], 2, how, quiet)
    assert found.trust == "unverified"

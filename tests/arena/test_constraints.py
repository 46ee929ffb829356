"""A verification that breaks a hard constraint counts as failed; the views have the values of all constraints."""

from __future__ import annotations

from pathlib import Path

from analysis.study import query
from arena.arms import Entry
from arena.standalone import play_entries
from tests.studies import program, silent, study_on
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited

QUEUE = program("queue", "  proposers: {queue: 1.0}\n", ("Set `pad=20`.",))


def test_verification_that_breaks_hard_constraint_gains_nothing(tmp_path: Path) -> None:
    limits = LATENCY.replace("= 6", "= 8") + MEMORY.replace("= 50", "= 20") + SOFT  # latency is 9 ms under odd seeds
    task = limited(tmp_path / "task", limits)
    study = study_on(tmp_path / "study", task, 0.6, workers=2, fixed_steps=True)
    play_entries(study, [Entry(program("stock"), "control"), Entry(QUEUE)], 3, silent)
    sql = "SELECT v.* FROM verifications AS v JOIN arms USING (arm_id) WHERE role = 'program' AND status != 'baseline'"
    verified = query(study.folder, sql)
    broken = [row for row in verified if row["status"] == "invalid"]
    fine = [row for row in verified if row["status"] == "ok"]
    assert broken and fine and len(broken) + len(fine) == len(verified)
    assert all(row["gain"] == 0.0 and row["metric"] is None and row["constraints"]["latency"] == 9.0 for row in broken)
    assert all(row["gain"] > 0.1 and row["constraints"]["memory"] > 20 for row in fine)
    assert {row["reason"] for row in broken} == {"constraint latency: 9 ms, needed at most 8 ms"}
    rows = {(row["role"], row["name"]): row for row in query(study.folder, "FROM constraints")}
    assert set(rows) == {(role, name) for role in ("control", "program") for name in ("latency", "memory")}
    latency, memory = rows["program", "latency"], rows["program", "memory"]
    assert (latency["at_most"], latency["at_least"], latency["unit"], latency["hard"]) == (8.0, None, "ms", True)
    assert (latency["n"], latency["broken"]) == (len(verified), len(broken))
    assert (latency["least"], latency["most"]) == (7.0, 9.0)
    assert memory["n"] == memory["broken"] == len(verified) and memory["hard"] is False
    (untouched,) = query(study.folder, "SELECT min(constraints -> 'latency') AS least FROM baselines")
    assert float(untouched["least"]) == 5.0

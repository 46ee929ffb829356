"""Which rows of a confirmation share the error of the baseline that gains are taken against."""

from __future__ import annotations

from pathlib import Path

from analysis.events import BaselineEvent, VerificationEvent
from arena.arms import Entry, enter
from arena.match import announce
from arena.task_study import TaskStudy
from meta.confirmation import against
from programs.shelf import starter
from tests.events import example
from tests.studies import make_study, silent


def test_a_row_that_failed_or_ended_where_it_began_was_not_held_against_the_baseline(tmp_path: Path) -> None:
    statuses = {
        "champion": ("ok", "ok", "crash", "ok", "timeout", "invalid"),
        "control": ("baseline", "baseline", "ok", "ok", "crash", "crash"),
    }
    with make_study(tmp_path / "s") as study:
        entries = [Entry(starter("local"), "champion"), Entry(starter("stock"), "control")]
        match = enter(TaskStudy(study), "confirmation", entries, purpose="confirmation", stream="confirmation")
        announce(TaskStudy(study), match, silent)
        for seed, metric in enumerate((0.5, 0.7)):
            row = {"stream": "confirmation", "seed": seed, "status": "ok", "metric": metric}
            study.record(example(BaselineEvent, match_id=match.match_id, task=study.task.name, **row))
        for arm in match.arms:
            for k, status in enumerate(statuses[arm.role]):
                told = {"run_id": f"r{arm.role}{k // 2}", "seed": k, "status": status, "stream": "confirmation"}
                study.record(example(VerificationEvent, arm_id=arm.arm_id, **told))
        found = against(TaskStudy(study), match.match_id)
    assert found.baseline == (0.5, 0.7)
    assert found.touched == {"champion": 0.5, "control": 1 / 3}

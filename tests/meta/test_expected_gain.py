"""What a program is expected to gain by what a study knows, before it is raced."""

from __future__ import annotations

import pytest

from analysis.evidence.task_evidence import evidence
from analysis.study import open_study
from bench.simulated_tasks import random_law
from bench.whole import resized, whole_study
from meta.expected_gain import ExpectedGain
from programs.program import Program
from tests.studies import TINY, planted

LAW = random_law(2)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> ExpectedGain:
    folder = tmp_path_factory.mktemp("known")
    task, plan = planted(folder / "task"), resized(TINY, generations=0, opening_runs=6, opening_more=6)
    whole_study(task, plan, 1, folder / "study", run_budget=1.6)
    with open_study(folder / "study", views=()) as con:
        return ExpectedGain(task, evidence(con, task.name))


def listed(*edits: tuple[str, object]) -> Program:
    terms = [knob if value is True else f"{knob}={value}" for knob, value in edits]
    ideas = "".join(f"- Use `{term}`.\n" for term in terms)
    return Program.parse(f"---\nmetaloop:\n  proposers: {{queue: 1.0}}\n---\n# List\n\n## Ideas\n\n{ideas}")


def tried(known: ExpectedGain) -> list[tuple[str, object]]:
    """Edits with a column of the model, the one of the largest true effect first."""
    found = {edit for law in known._laws for edit in law.effects}
    return sorted(found, key=lambda edit: -LAW.effects[edit])


def test_child_with_what_helps_is_raced_and_what_hurts_is_not(known: ExpectedGain) -> None:
    best, worst = listed(*tried(known)[:2]), listed(tried(known)[-1])
    assert known.problem(best, worst) == ""
    refused = known.problem(worst, best)
    assert refused.startswith("is not expected to gain more than its parent (-")
    assert "(+0" in known.problem(best, best)

"""The ledger of a project has the volunteers' runs, marked as theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from analysis.ledger.run_state import StudyState
from analysis.study import query
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.recording import TRUST, Reported, checked, reported
from arena.home.results import contributors, state_of
from arena.home.tables import RunLease
from inner_loop.events import DecisionEvent, Experiment
from tests.arena.home.clients import Client, better, work

EXPERIMENT: dict[str, Any] = {
    "kind": "experiment", "run_id": "rx", "experiment_id": "e1", "number": 0, "parent_number": None,
    "source_id": "s1", "edit": {"set": {}, "apply": []}, "config": {"LR": 0.1}, "seed": 1, "replicate": 0,
    "fraction": 1.0, "status": "ok", "metric": 0.5, "device_seconds_charged": 0.2, "device_seconds_spent": 0.2,
    "wall_seconds": 0.3, "cached": True, "reason": "", "trust": "verified", "findings": ["clock: x"],
}  # fmt: skip
DECISION = {"kind": "decision", "run_id": "rx", "experiment_id": "e1", "decision": "baseline", "reason": ""}


def lines(*records: dict[str, Any]) -> str:
    return "\n".join(json.dumps(record) for record in records)


def test_a_volunteers_record_becomes_the_leases_run_and_is_marked_as_self_reported() -> None:
    read = checked("r1", lines(EXPERIMENT, DECISION), 9)
    assert read is not None
    experiment, decision = read
    assert isinstance(experiment, Experiment) and isinstance(decision, DecisionEvent)
    assert experiment.trust == TRUST and not experiment.findings and not experiment.cached
    assert experiment.run_id == decision.run_id == "r1"
    assert experiment.experiment_id == decision.experiment_id != "e1"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r | {"metric": 1e16},
        lambda r: r | {"device_seconds_charged": -1.0},
        lambda r: r | {"number": -1},
        lambda r: r | {"number": 10**9},
        lambda r: r | {"config": {"LR": 1e300}},
        lambda r: r | {"diff": "x" * 100_000},
        lambda r: {key: value for key, value in r.items() if key != "seed"},
        lambda r: r | {"edit": 7},
    ],
)
def test_a_record_with_one_wild_value_is_not_used_at_all(spoil: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    assert checked("r1", lines(spoil(EXPERIMENT), DECISION), 9) is None


def test_other_records_that_are_not_used() -> None:
    for text in (
        "no json",
        "[]",
        '{"kind": "experiment"}',
        lines(EXPERIMENT).replace("0.5", "NaN"),
        lines(DECISION),  # about no experiment
        lines(EXPERIMENT, DECISION | {"decision": "merge"}),
        lines(EXPERIMENT, EXPERIMENT | {"experiment_id": "e2"}),  # two of one number
        lines(EXPERIMENT, DECISION, DECISION),
        lines(
            *(EXPERIMENT | {"experiment_id": f"e{k}", "number": k} for k in range(10))
        ),  # more than the budget allows
        "[" * 100_000,
    ):
        assert checked("r1", text, 9) is None
    assert checked("r1", lines({"kind": "verification", "gain": 99.0}), 9) == []


def test_runs_lie_in_the_ledger_without_a_verified_gain(project: Project, host: ProjectHost) -> None:
    ann, bob = Client(host, "Ann"), Client(host, "Bob")
    ann.propose(better(project, MOMENTUM=0.9), 0.5, events=lines(EXPERIMENT, DECISION))
    bob.propose(better(project, LR="1e-05"), 99.0, events="junk")
    carl = Client(host, "Carl")
    carl.result(carl.lease().lease, {}, claimed_gain=0.0)
    work(project)
    state = StudyState.read(project.folder / "ledger")
    runs = {run.started.run_id: run for run in state.runs.values() if run.started}
    assert len(runs) == 3 and all(run.ended and run.ended.state == "finished" for run in runs.values())
    assert {row["verified_gain"] for row in query(project.folder, "SELECT * FROM runs")} == {None}
    assert {row["trust"] for row in query(project.folder, "SELECT trust FROM experiments")} == {TRUST}
    assert len(query(project.folder, "SELECT * FROM findings")) == 2  # the junk, and no record at all
    credit = query(project.folder, "SELECT design FROM credit WHERE method = 'edit'")
    assert {row["design"] for row in credit} <= {"observational"}  # strangers say how their edits were chosen
    work(project)
    assert len(StudyState.read(project.folder / "ledger").runs) == 3
    with project.database.read() as connection:
        [who] = contributors(connection)
        assert not any(lease.events for lease in connection.query(RunLease))  # what strangers sent is kept once
    assert who.name == "Ann" and who.blocks == 1 and who.low < who.gain < who.high
    shown = state_of(project)
    assert shown.verified_seconds > 0 and shown.searched_seconds > 0 and shown.runs_out == 0


def test_what_a_volunteers_model_cost_is_only_reported() -> None:
    text = lines(
        {"kind": "run_started", "researcher": "chat"}, {"kind": "run_ended", "calls": 3, "tokens": 99, "usd": 0.5}
    )
    assert reported(text) == Reported(researcher="chat", calls=3, tokens=99, usd=0.5)
    wild = {"kind": "run_ended", "researcher": 7, "calls": -1, "tokens": True, "usd": 1e99}
    assert reported(lines(wild)) == reported("junk\n[]") == reported("") == Reported()

"""The live state of a study and what `status` and the screen show of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger
from analysis.ledger.events import Event, MatchArm, MatchConfig, MatchEvent, StudyEvent, VerificationEvent
from analysis.ledger.writing_events import ProgramEvent
from analysis.study import query
from inner_loop.events import DecisionEvent, Experiment, FindingEvent, RunEndedEvent, RunStartedEvent
from meta.cli.output import Output
from meta.cli.screen import header, screen
from meta.kinds.cost import OVERHEAD
from meta.ui.live import LiveStudy
from meta.ui.status import StudyStatus, arm_statuses, kept_changes, remaining, run_statuses
from tests.events import example

from .cli_study import AT, config, write_study

ARMS = (MatchArm("a1", "p1", "program"), MatchArm("a2", "stock", "control"), MatchArm("a3", "stock", "a/a"))
MATCH = example(MatchEvent, match_id="m1", label="generation-1", purpose="race", config=MatchConfig("lower", "nll"),
                arms=ARMS)  # fmt: skip
KEYS = {
    "study", "state", "stopped_because", "as_of", "last_event_at", "task", "match_id", "purpose", "generation",
    "matches", "programs", "runs_finished", "workers", "devices_per_run", "runs_running", "runs_unfinished",
    "runs_planned", "seconds_left", "experiments", "replays", "device_seconds_charged", "device_seconds_unused",
    "faults", "findings", "trust", "champion", "verdict",
}  # fmt: skip


def begun(run_id: str, arm_id: str = "a1", **more: Any) -> RunStartedEvent:
    return example(RunStartedEvent, run_id=run_id, match_id="m1", arm_id=arm_id, program_id="p1", **more)


def tried(number: int, metric: float | None = None, cost: float = 1.0, run_id: str = "r1") -> Experiment:
    known = {"experiment_id": f"e{number}", "number": number, "metric": metric, "device_seconds_charged": cost}
    return example(Experiment, run_id=run_id, status="ok", started_at="2026-01-02T03:04:05Z", **known)


def decided(number: int, decision: str) -> DecisionEvent:
    return example(DecisionEvent, run_id="r1", experiment_id=f"e{number}", decision=decision)


def studied(folder: Path, *events: Event) -> LiveStudy:
    study = LiveStudy(folder)
    for event in events:
        study.take(event)
    return study


def lines_of(study: LiveStudy) -> list[str]:
    return list(header(StudyStatus(study, at_work=False), "study", 80))


def test_its_rows_have_the_counts_of_the_ledger(tmp_path: Path) -> None:
    study = LiveStudy.read(write_study(tmp_path / "study"))
    status = StudyStatus(study, at_work=False, with_arms=True)
    assert (status.runs_finished, status.runs_unfinished, status.experiments) == (11, 0, 33)  # baselines included
    assert (status.device_seconds_charged, status.state, status.trust) == (11.0, "finished", "unverified")
    assert status.match is not None
    assert status.record().keys() == KEYS and status.elapsed == "0:00:00"
    child, *_ = status.arms
    assert {"program": "child", "from": "local", "runs": 3, "kept": 3, "tried": 6}.items() <= child.record().items()
    assert child.gain == pytest.approx(0.075) and child.n == 3 and child.claimed == 0.7
    assert {arm.state for arm in status.arms} == {"unverified"} and len(run_statuses(study, status.match)) == 11
    assert all(len(line) <= 80 for line in header(status, "study", 80))
    for kind in ("rows", "leak", "rows"):
        study.take(example(FindingEvent, finding=kind))
    assert lines_of(study)[-2:] == ["findings: leak (1), rows (2)", "unverified: the code ran without a sandbox"]
    assert StudyStatus(study, at_work=False).findings == 3


def test_it_agrees_with_the_views_on_records_that_came_twice(tmp_path: Path) -> None:
    """As after kills: each record again, with other figures."""

    def checked(seed: int, gain: float, status: str = "ok") -> Event:
        known = {"seed": seed, "gain": gain, "status": status, "stream": "selection", "trust": "scored"}
        return example(VerificationEvent, run_id="r1", arm_id="a1", program_id="p1", **known)

    started = begun("r1", stream="selection")
    events = [
        MATCH, started,
        tried(0, 2.0), decided(0, "baseline"), tried(1, 1.5), tried(2, 1.9), tried(2, 1.8, 7.0),
        decided(1, "keep"), decided(2, "keep"), decided(2, "discard"), decided(1, "keep"),
        example(RunEndedEvent, run_id="r1", state="interrupted", charged=3.0),
    ]  # fmt: skip
    whole = {"claimed_best": 1.4, "claimed_gain": 0.6, "experiments": 3, "kept": 1, "repeats": 1}
    ended = [
        example(RunEndedEvent, run_id="r1", state="finished", charged=4.0, **whole),
        example(RunEndedEvent, run_id="r1", state="finished", charged=9.0),
        checked(2, 0.4), checked(2, 0.7), checked(1, 0.1), checked(1, 0.9), checked(3, 0.0, "crash"),
    ]  # fmt: skip
    with Ledger(tmp_path / "ledger", "main") as ledger:
        for event in [*events, started]:
            ledger.append(event.to_record())
        study = LiveStudy.read(tmp_path)
        run = study.runs["r1"]
        assert (run.state, run.measured, run.kept, run.charged) == ("running", 3, 1, 3.0)
        assert run.claimed == 1.5 and run.claimed_gain(1.0) == 0.5
        assert run.experiments["e2"].metric == 1.9 and run.decisions["e2"].decision == "discard"
        [row] = query(tmp_path, "SELECT state, device_seconds_charged FROM runs")
        assert tuple(row.values()) == ("running", 3.0)
        for event in ended:
            ledger.append(event.to_record())
    study.refresh()
    [row] = query(tmp_path, "SELECT verified_gain, experiments, kept, device_seconds_charged, state, trust FROM runs")
    assert (run.gain, run.measured, run.kept, run.charged, run.state, run.trust) == tuple(row.values())
    assert (run.claimed, run.claimed_gain(1.0), run.tried) == (1.4, 0.6, 1) and run.gain == pytest.approx(0.5 / 3)
    assert not run.experiments and not run.decisions  # which nothing shows any more
    assert query(tmp_path, "SELECT failed_seeds FROM standings") == [{"failed_seeds": 1}]


def test_events_without_their_run_or_program_are_taken(tmp_path: Path) -> None:
    study = studied(tmp_path, tried(1), decided(1, "keep"), begun("r2", run_seed=1))
    assert study.current is None and StudyStatus(study, at_work=True).runs_running == 1
    config(tmp_path)
    assert StudyStatus(LiveStudy(tmp_path), at_work=False).last_event_at == AT
    later = replace(tried(2), started_at="2026-01-02T03:04:08Z", wall_seconds=1.0)
    assert studied(tmp_path, begun("r1"), tried(1), later).utilization == 0.25
    assert lines_of(study) and "p1" in kept_changes(studied(tmp_path, begun("r1"), tried(1), decided(1, "keep")))[0]


def test_the_last_kept_changes_are_listed_once_and_cut(tmp_path: Path) -> None:
    events = [e for n in range(5) for e in (tried(n, 1.0 - n / 10), decided(n, "keep"), decided(n, "keep"))]
    lines = kept_changes(studied(tmp_path, MATCH, begun("r1"), *events))
    assert [line.split()[-3:] for line in lines] == [["exp", f"{n}:", f"{1 - n / 10:.4f}"] for n in (2, 3, 4)]
    assert lines[0].startswith("03:04 p1 r1 kept exp 2:")


def test_the_rest_of_a_plan_takes_as_long_as_the_runs_so_far(tmp_path: Path) -> None:
    study = studied(tmp_path, MATCH, begun("r1", device_seconds_budget=4.0), tried(0, cost=1.0))
    assert remaining(study) is None
    config = {"kind": "match", "plan": {"runs": 2, "roles": ["", "control", "aa"]}, "workers": 2}
    study.take(example(StudyEvent, config=config))
    work = remaining(study)
    assert work and (work.runs, work.ended, work.done, work.seconds_left) == (6, 0, 0.25, None)
    study.take(example(RunEndedEvent, run_id="r1", state="finished", wall_seconds=10.0))
    work = remaining(study)
    assert work and (work.ended, work.done) == (1, 1.0) and work.seconds_left == 5 * 10.0 / 2 * OVERHEAD


def test_screen_of_80_columns_shows_names_and_work_without_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"idea-queue-learnt-v{i}" for i in range(2, 6)]
    arms = (*(MatchArm(f"a-{name}", name, "program") for name in names), *ARMS[1:])
    known = [example(ProgramEvent, program_id=name, name=name) for name in (*names, "stock")]
    study = studied(tmp_path, replace(MATCH, arms=arms), *known)
    for index, arm in enumerate(arms):
        study.take(begun(f"r{index}", arm.arm_id))
        study.take(tried(1, run_id=f"r{index}"))

    def shown() -> str:
        Output(person=True).show(screen(StudyStatus(study, at_work=True, with_arms=True), "study", width=80))
        return capsys.readouterr().out

    text = shown()
    assert all(name in text for name in (*names, "stock (control)", "stock (A/A)"))
    assert max(map(len, text.splitlines())) <= 80 and "measuring" not in text and "0/1" in text
    assert "best claimed" in text and "(runs)" in text  # no mean over the runs; (1) counts them
    for index in range(len(arms)):
        study.take(example(RunEndedEvent, run_id=f"r{index}", state="finished"))
    assert "measuring final scripts" in shown()
    study.take(example(StudyEvent, config={"kind": "match", "plan": {"runs": 4, "roles": ["", "", ""]}}))
    time_left = next(line for line in shown().splitlines() if line.startswith("time left"))
    assert re.search(r"\[=+ +\]$", time_left) and len(time_left) <= 80


def test_study_stopped_by_a_spending_limit_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reason = "--max-usd 5 is reached"
    study = studied(tmp_path, MATCH, begun("r1"), tried(1))
    study.take(example(RunEndedEvent, run_id="r1", state="stopped", reason=reason))
    assert StudyStatus(study, at_work=False).stopped_because == reason
    assert StudyStatus(study, at_work=True).stopped_because is None  # it goes on
    assert arm_statuses(study, MATCH)[0].ended == 0
    Output(person=True).show(screen(StudyStatus(study, at_work=False, with_arms=True), "study", width=80))
    text = capsys.readouterr().out
    assert f"stopped: {reason}" in text and "0/1" in text
    assert next(line for line in text.splitlines() if "3 arms" in line).endswith("stopped")

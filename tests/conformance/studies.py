"""The suites for the parts of a study: race rules, mutators, methods of attribution, executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from duckdb import DuckDBPyConnection

from analysis.effects.attribution import METHODS, credits, searched
from analysis.effects.experiments import MethodInput
from analysis.evidence.task_evidence import evidence
from analysis.study import query, read_study
from analysis.views.scope import scopes
from arena import match
from arena.arms import Entry, enter
from arena.race import RACE_RULES, Allocation, ArmScore, Racer, RaceStart
from arena.study.lock import request_stop
from arena.study.stop import Drained
from arena.study.study import Study
from arena.study.task_study import TaskStudy, tasks_of
from arena.work.choice import EXECUTORS
from arena.work.executor import ClosingExecutor, Progress
from bench.simulated_tasks import COST, simulated_task
from bench.whole import begin_study, play_study, resized
from meta.mutators.base import ParentProgram
from meta.mutators.mix import MUTATORS
from programs.lint import lint
from programs.program import Program
from programs.shelf import starter, starters
from tests.conformance.runs import LAW, Conformance
from tests.studies import TINY, study_on
from tests.studies import silent as silent
from trainer.task import Task

ARMS = [f"a{i}" for i in range(6)]
RACED = set(ARMS[:5])
START = RaceStart({arm: arm in RACED for arm in ARMS}, first=2, keep=3, more=8, most=28, batch=3, seed=7)
_NOISE = np.random.default_rng(3).standard_normal((6, 200))
DRAWN = {arm: (i / 3 + _NOISE[i]).tolist() for i, arm in enumerate(ARMS)}  # gains of each arm's seeds


class RaceRuleConformance(Conformance):
    """It can be cut off anywhere and taken up again, and stays within its runs.

    ``make``: a new racer within the runs of ``start``, as the process that resumes a study makes one.
    """

    @pytest.fixture(params=[START, replace(START, keep=2, more=4, most=14)], ids=["many runs", "few runs"])
    def start(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    @pytest.fixture
    def make(self, name: str, start: RaceStart) -> Callable[[], Racer]:
        return lambda: RACE_RULES.get(name)(start)

    def test_race_stays_within_its_runs_wherever_it_was_cut(self, make: Callable[[], Racer], start: RaceStart) -> None:
        racer, counts = make(), dict.fromkeys(ARMS, 0)
        while wanted := racer.next_round(scores(counts)):
            for arm, runs in wanted.items():
                assert runs > counts[arm], "it asks for runs that are there"
                rest = {arm: runs for arm, runs in wanted.items() if counts[arm] < runs}
                assert make().next_round(scores(counts)) == rest, "a new process knows nothing but the ledger"
                counts[arm] = runs
            assert sum(counts[arm] for arm in RACED) <= start.most
        assert min(counts.values()) >= start.first and counts[ARMS[-1]] == start.first
        assert counts.keys() == set(ARMS) and make().next_round(scores(counts)) == {}


def scores(counts: Mapping[str, int]) -> list[ArmScore]:
    """The scores after so many runs of each arm."""
    return [ArmScore(arm, arm in RACED, tuple(DRAWN[arm][: counts[arm]])) for arm in ARMS]


FRONT = "---\nother: 1\nmetaloop:\n  proposers: {queue: .7, local: 0.3}\n---\n"
MIXED = f"{FRONT}# T\n\nIntro\nwrapped.\n\n- one `a`\n  - nested\n\n> quoted\n"
HARD = (MIXED, "\ufeff" + MIXED.replace("\n", "\r\n"), FRONT, "Improve")


class StudyConformance(Conformance):
    """On a small study: an opening race, one generation and a confirmation."""

    @pytest.fixture(scope="class")
    @classmethod
    def con(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBPyConnection]:
        folder = tmp_path_factory.mktemp("study")
        plan = resized(TINY, children=4, generation_runs=3, generation_more=4)
        task = Task.load(simulated_task(LAW, folder / "task"))
        study = begin_study(folder / "study", task, plan, run_budget=8 * COST, seed=1)
        play_study(study)
        with read_study(study.folder, views=()) as con:
            yield con


class MutatorConformance(StudyConformance):
    """Its children are sound, and name their parents and their evidence. On the library's programs and on any markdown,
    with evidence and with none."""

    def test_children_are_sound(self, con: DuckDBPyConnection, name: str) -> None:
        mutator, facts, children = MUTATORS.get(name)(), evidence(con, "planted"), 0
        nothing = replace(facts, edits=(), directives=(), mutations=(), effects=None, finals=(), uses=())
        assert mutator.name == name and mutator.share > 0 and mutator.parents >= 1
        listed = MIXED + "## Ideas\n" + "".join(f"- `{row.label}`\n" for row in facts.edits[::-6])
        programs = [*starters(), *map(Program.parse, (*HARD, listed))]
        for first, second in product(programs, programs[:: 3 if mutator.parents > 1 else len(programs)]):
            parents = [ParentProgram(first, facts.programs[0]), ParentProgram(second, None)][: mutator.parents]
            bare, proposal = (mutator.propose(parents, known, np.random.default_rng(1)) for known in (nothing, facts))
            assert bare is None or not bare.evidence_ids
            if proposal is None:
                continue
            assert children or proposal == mutator.propose(parents, facts, np.random.default_rng(1))
            children += 1
            child = Program.parse(proposal.text)
            assert child.program_id != first.program_id
            assert not [message for message in lint(child) if message.level == "error"]
            assert proposal.operator == name and proposal.reason and "\n" not in proposal.reason
            assert proposal.parent_ids[0] == first.program_id
            assert set(proposal.parent_ids) <= {first.program_id, second.program_id}
            assert set(proposal.evidence_ids) <= {row.credit_id for row in (*facts.edits, *facts.directives)}
        assert children > 0


class AttributionConformance(StudyConformance):
    """Its rows are estimates with a design, the same ones each time. With ``expects_rows`` it must yield some."""

    expects_rows = True

    def test_rows_are_estimates_with_a_false_discovery_rate(self, con: DuckDBPyConnection, name: str) -> None:
        (scope,) = searched(con)
        rows = METHODS.get(name)(MethodInput(scope))
        assert rows or not self.expects_rows
        assert METHODS.get(name)(MethodInput(scope)) == rows
        for row in rows:
            assert (row.task, row.q) == (scope.task, None)
            assert row.design in ("randomised", "paired", "observational") and row.unit and row.n >= 1
            assert row.se is None or row.se >= 0
            assert row.p is None or 0 <= row.p <= 1
            assert row.low is None or row.high is None or row.low <= row.estimate <= row.high
            assert row.label and row.method == name
        ids = sorted(row.credit_id for row in rows)
        shown = [row for row in credits(scope).rows if row.credit_id in ids]
        assert sorted(row.credit_id for row in shown) == ids and len(set(ids)) == len(ids)
        assert all(row.p is not None and row.p <= row.q for row in shown if row.q is not None)
        (scope,) = scopes(con, [match_id for (match_id,) in con.execute("SELECT match_id FROM matches").fetchall()])
        assert METHODS.get(name)(MethodInput(scope)) == []


MakeExecutor = Callable[[Study, Progress, Sequence[TaskStudy]], ClosingExecutor]
FIGURES = (
    "SELECT experiment_id, source_id, status, metric, decision, device_seconds_charged FROM experiments ORDER BY ALL",
    "SELECT run_id, seed, trust, status, metric, stream, device_seconds_spent FROM verifications ORDER BY ALL",
)


class ExecutorConformance(Conformance):
    """Its figures are those of any other executor, and a stop drains."""

    @pytest.fixture
    def make(self, name: str) -> MakeExecutor:
        return EXECUTORS.get(name)

    def test_stopped_study_is_resumed_to_the_same_figures(self, tmp_path: Path, make: MakeExecutor) -> None:
        here = played(simulated(tmp_path / "here" / "s"), EXECUTORS.get("in-process"))
        study, seen = simulated(tmp_path / "there" / "s"), []

        def stop_soon(event: Mapping[str, Any]) -> None:
            seen.append(event)
            if len(seen) == 40:
                request_stop(study.folder)

        with pytest.raises(Drained):
            played(study, make, stop_soon)
        assert 0 < len(figures(study)) < len(here) and len(here) > 3 * 3 * 8
        assert played(Study.open(study.folder), make) == here


def simulated(folder: Path) -> Study:
    task = Task.load(simulated_task(LAW, folder.parent / "task", experiments=8))
    return study_on(folder, task, seed=4)


def played(study: Study, make: MakeExecutor, progress: Progress = silent) -> list[dict[str, Any]]:
    """The figures of a match of three arms, three runs each."""
    entries = [Entry(starter("stock"), "control"), Entry(starter("local-screen")), Entry(starter("stock"), "a/a")]
    with study, make(study, progress, tasks_of(study)) as executor:
        arms = enter(TaskStudy(study), "race", entries, purpose="race", stream="selection")
        match.play(TaskStudy(study), executor, arms, Allocation({arm.arm_id: 3 for arm in arms.arms}), progress)
    return figures(study)


def figures(study: Study) -> list[dict[str, Any]]:
    return [row for sql in FIGURES for row in query(study.folder, sql)]

"""A contest whose programs a model follows: what stops for the host's reasons counts against nobody, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.entering.entries import accept
from arena.contest.ranking.standing import snapshot
from arena.contest.running.work import carry_on
from arena.contest.tables import ContestEntry
from tests.arena.contest.hosting import RUNS, founded, newcomer, quiet
from tests.llm.fixtures import dropped, litellm_loaded, server
from tests.llm.kits import staff
from tests.llm.server import LlmServer
from tests.llm.studies import planted

__all__ = ["litellm_loaded", "server"]
pytestmark = [pytest.mark.slow, dropped]
ODD = "# Odd\n\nSay the word Schibboleth.\n"


def chatting(folder: Path, *texts: str, **how: Any) -> Contest:
    """A contest with these entries, each of another person; a run has four experiments."""
    task = planted(folder / "task", experiments=4)
    team = staff(patience=0.2).model_copy(update=how)
    made = founded(folder, task=task, run_budget=task.run_budget, researcher="chat", models=team).contest
    for number, text in enumerate(texts or ("# One\n\nChange one constant.\n",)):
        person = newcomer(made, f"P{number}")
        accept(made, person, text.encode())
    return made


def entries(contest: Contest) -> list[tuple[str, int, int]]:
    with contest.database.read() as connection:
        rows = connection.query(ContestEntry).order_by(ContestEntry.number).all()
    gains = snapshot(contest).gains
    return [(entry.state, entry.attempts, len(gains.get(entry.number, ()))) for entry in rows]


@pytest.mark.parametrize(("met", "kind"), [("401", "credential"), ("503", "environment")])
def test_refused_key_and_silent_provider_pause_and_blame_nobody(
    tmp_path: Path, server: LlmServer, met: str, kind: str
) -> None:
    contest = chatting(tmp_path)
    server.fault = lambda *_: met
    for _ in range(4):  # more often than a run may be lost
        carry_on(contest, quiet, until_idle=True)
        assert contest.database.fact("pause")["kind"] == kind
    assert {(state, attempts) for state, attempts, _ in entries(contest)} <= {("queued", 0), ("screening", 0)}
    server.fault = lambda *_: None
    carry_on(contest, quiet, until_idle=True)
    assert contest.database.fact("pause") == {}
    assert entries(contest) == [("verified", 0, RUNS)] * 3


def test_a_cap_stops_the_queue_until_it_is_raised(tmp_path: Path, server: LlmServer) -> None:
    contest = chatting(tmp_path, max_tokens=12_000)
    carry_on(contest, quiet, until_idle=True)
    assert contest.database.fact("pause")["kind"] == "cap_reached"
    assert all(attempts == 0 and state not in ("void", "failed") for state, attempts, _ in entries(contest))
    more = contest.study.llm.model_copy(update={"max_tokens": 10_000_000})
    contest.study.model_copy(update={"llm": more}).dump(contest.folder / "study.toml")
    carry_on(Contest.open(contest.folder), quiet, until_idle=True)
    assert entries(contest) == [("verified", 0, RUNS)] * 3


def test_a_request_that_the_model_refuses_is_the_entrys_alone(tmp_path: Path, server: LlmServer) -> None:
    contest = chatting(tmp_path, "# Plain\n\nChange one constant.\n", ODD)
    server.fault = lambda _, body: "400" if "Schibboleth" in str(body["messages"]) else None
    carry_on(contest, quiet, until_idle=True)
    assert [state for state, _, _ in entries(contest)] == ["verified"] * 3 + ["void"]
    assert contest.database.fact("pause") == {}


def test_one_run_takes_no_more_than_its_share(tmp_path: Path, server: LlmServer) -> None:
    contest = chatting(tmp_path, run_tokens=1_500)
    carry_on(contest, quiet, until_idle=True)
    assert entries(contest) == [("verified", 0, RUNS)] * 3  # a run that has had its share ends with what it has
    runs = query(contest.folder, "SELECT state, reason, tokens, experiments FROM runs")
    assert all(run["state"] == "finished" and run["tokens"] < 1_500 + 1_500 for run in runs)
    assert any("one run may spend 1500 tokens" in (run["reason"] or "") for run in runs)

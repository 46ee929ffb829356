"""The decision of a contest: the leaders once more on the stream `confirmation`, and what their runs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.report.standings import aa_spread
from analysis.standings import ALPHA
from analysis.statistics import holm, interval, mean_interval, welch, welch_difference
from arena.contest import acts, arms, careful
from arena.contest.board import board_rows
from arena.contest.contest import Contest
from arena.contest.settings import utc_now
from arena.contest.tables import Entry
from arena.executor import Executor, Progress
from arena.inprocess import executor_of
from arena.match import Match, gains_of, play
from arena.study import Study

Gains = Mapping[int, Sequence[float]]  # entry's number → verified gains of its confirming runs


def leaders(contest: Contest) -> list[int]:
    """Numbers of the entries that go on, best first: who may hold rank 1, each program once, its earliest entry."""
    rows = [row for row in board_rows(contest) if row["role"] == "program" and row["rank_low"] == 1]
    first: dict[str, int] = {}
    for row in rows:
        first[row["program_id"]] = min(row["number"], first.get(row["program_id"], row["number"]))
    return list(first.values())[: contest.config.most_leaders]


def confirm(contest: Contest, study: Study, executor: Executor, progress: Progress) -> dict[str, Any]:
    """Play the leaders and both controls on fresh seeds and data; returns the announcement. Resumes after a kill."""
    state = contest.state()
    numbers = state.get("leaders")
    if numbers is None:  # settled before the first confirming run, so that a kill cannot change who takes part
        numbers = leaders(contest)
        contest.state(deciding=utc_now().isoformat(), leaders=numbers)
    entries = taking_part(contest, numbers)
    match = entered(study, entries, arms.CONFIRMATION)
    play(study, executor, match, careful.Careful(contest, match, entries, contest.config.confirm_runs), progress)
    acts.tell(contest, study)
    left_out = careful.told(contest, match, entries)
    gone = {who["number"] for who in left_out}
    gains = {entry.number: gains_of(study, arm) for entry, arm in zip(entries, match.arms, strict=True)
             if entry.number not in gone}  # fmt: skip
    decided = announcement(contest, [entry for entry in entries if entry.number in gains], gains)
    return decided | {"left_out": left_out, "hidden": elsewhere(contest, study, entries, progress)}


def elsewhere(contest: Contest, study: Study, entries: Sequence[Entry], progress: Progress) -> list[dict[str, Any]]:
    """The same entries on each hidden task, with workers of its own; it decides nothing."""
    found = []
    for number in range(len(study.config.reserve)):
        away = study.on_reserve(number)
        match = entered(away, entries, arms.hidden_label(away.task.name))
        runs = careful.Careful(contest, match, entries, contest.config.confirm_runs)
        with executor_of(away, progress) as executor:
            play(away, executor, match, runs, progress)
        rows = [row for row in board_rows(contest, match.label) if row["gain"] is not None]
        found.append({"task": away.task.name, "unit": away.task.unit, "rows": rows, "aa_spread": aa_spread(rows)})
    return found


def taking_part(contest: Contest, numbers: Sequence[int]) -> list[Entry]:
    """The leaders in their order, then the controls."""
    with contest.database.read() as connection:
        rows = connection.scalars(select(Entry).options(undefer(Entry.raw)).where(
            Entry.number.in_(numbers) | (Entry.role != "program"))).all()  # fmt: skip
    return sorted(
        rows, key=lambda e: (e.role != "program", numbers.index(e.number) if e.number in numbers else e.number)
    )


def entered(study: Study, entries: Sequence[Entry], label: str) -> Match:
    """The match of these entries, an arm each; further ones of the same program draw their own seeds."""
    match = arms.match_of(study, label)
    before: list[str] = []
    found = []
    for entry in entries:
        found.append(arms.arm_of(match, entry, before.count(entry.program_id)))
        before.append(entry.program_id)
    return arms.match_of(study, label, found)


def announcement(contest: Contest, entries: Sequence[Entry], gains: Gains) -> dict[str, Any]:
    """What is told: who won by how much, how sure, beside whom; and the secret."""
    decided = decide(entries, gains)
    rows = [row for row in board_rows(contest, arms.CONFIRMATION) if row["gain"] is not None]
    return {
        **decided, "decided_at": utc_now().isoformat(), "unit": contest.task.unit, "aa_spread": aa_spread(rows),
        "secret": contest.study.secret, "secret_hash": contest.config.secret_hash, "rows": rows,
    }  # fmt: skip


def decide(entries: Sequence[Entry], gains: Gains) -> dict[str, Any]:
    """The rule: highest mean wins if Welch's test, Holm-corrected over all pairs, tells it from the others.

    ``outcome``: won, shared (leaders that cannot be told from the first), none (stock cannot be told from it), or
    empty, where nobody took part.
    """
    best = max((e for e in entries if e.role == "program"), key=lambda e: mean(gains[e.number]), default=None)
    if best is None:
        return {"outcome": "empty", "winners": [], "headline": "Nobody took part to the end"}
    ahead = told_from(best.number, gains)
    stock = next(e for e in entries if e.role == "control")
    rivals = [e for e in entries if e.role == "program" and e is not best and e.number not in ahead]
    beaten = all(e.number in ahead for e in entries if e.role != "program")
    winners = [best, *rivals] if beaten else []
    outcome = "none" if not beaten else "shared" if rivals else "won"
    gain, (low, high) = mean_interval(gains[best.number]), over(gains[best.number], gains[stock.number])
    return {
        "outcome": outcome,
        "winners": [_who(e) for e in winners],
        "headline": headline(outcome, [e.entrant for e in winners], best),
        "best": _who(best),
        "gain": gain.mean, "low": gain.low, "high": gain.high, "n": gain.n,
        "over_stock": mean(gains[best.number]) - mean(gains[stock.number]), "over_low": low, "over_high": high,
    }  # fmt: skip


def _who(entry: Entry) -> dict[str, Any]:
    return {"entry_id": entry.entry_id, "number": entry.number, "entrant": entry.entrant, "name": entry.name}


def headline(outcome: str, names: Sequence[str], best: Entry) -> str:
    if outcome == "won":
        return f"{names[0]} won"
    if outcome == "shared":
        return f"{', '.join(names[:-1])} and {names[-1]} share the win: their runs do not tell them apart"
    return f"Nobody won: the first, which is {best.entrant}'s, is not shown to beat stock"


def told_from(number: int, gains: Gains) -> set[int]:
    """Whom the test tells from ``number`` and has below it, corrected over all pairs of the match."""
    pairs = list(combinations(gains, 2))
    raw = [welch(gains[a], gains[b]) for a, b in pairs]
    adjusted = holm([1.0 if p is None else p for p in raw])
    told = {a + b - number for (a, b), p in zip(pairs, adjusted, strict=True) if p < ALPHA and number in (a, b)}
    return {other for other in told if mean(gains[other]) < mean(gains[number])}


def over(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float | None, float | None]:
    """95% interval of a difference of means."""
    difference, se, df = welch_difference(ours, theirs)
    return interval(difference or 0.0, se, df)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0

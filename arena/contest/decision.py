"""The decision of a contest: the leaders once more on the stream `confirmation`, and what their runs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.statistics import mean_interval
from arena.contest import acts, arms, careful
from arena.contest.board import aa_spread, board_rows, over_tasks
from arena.contest.contest import Contest
from arena.contest.pace import Deciding
from arena.contest.score import Scores, plain
from arena.contest.settings import utc_now
from arena.contest.tables import Entry
from arena.executor import Executor, Progress
from arena.executors import executor_of
from arena.match import Match, gains_of, play
from arena.study import Study

Gains = Mapping[int, Sequence[float]]  # entry's number → verified gains of its confirming runs


def leaders(contest: Contest) -> list[int]:
    """Numbers of the entries that go on, best first: who may hold rank 1, each program once, its earliest entry."""
    rows = [row for row in over_tasks(contest)[0] if row["role"] == "program" and row["rank_low"] == 1]
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
    counted = counter(contest, study, entries, progress)
    gains = {each.task.name: run_again(contest, each, executor, entries, counted) for each in study.on_tasks()}
    acts.tell(contest, study)
    left_out = careful.told(contest, entries)
    gone = {who["number"] for who in left_out}
    decided = announcement(contest, [entry for entry in entries if entry.number not in gone], gains)
    return decided | {"left_out": left_out, "hidden": elsewhere(contest, study, entries, progress)}


def counter(contest: Contest, study: Study, entries: Sequence[Entry], progress: Progress) -> Deciding:
    """Tells the pages how many confirming runs there are and have been, on all tasks."""
    matches = [(each, entered(each, entries, arms.CONFIRMATION)) for each in study.on_tasks()]
    played = [gains_of(each, arm.arm_id) for each, match in matches for arm in match.arms]
    return Deciding(contest, progress, len(played) * contest.config.confirm_runs, sum(map(len, played)))


def run_again(
    contest: Contest, study: Study, executor: Executor, entries: Sequence[Entry], progress: Progress
) -> Gains:  # fmt: skip
    """The fresh runs on the task that the study is on; of an entry that is left out as many as it has."""
    match = entered(study, entries, arms.CONFIRMATION)
    play(study, executor, match, careful.Careful(contest, entries, contest.config.confirm_runs), progress)
    return {entry.number: gains_of(study, arm.arm_id) for entry, arm in zip(entries, match.arms, strict=True)}


def elsewhere(contest: Contest, study: Study, entries: Sequence[Entry], progress: Progress) -> list[dict[str, Any]]:
    """The same entries on each hidden task, with workers of its own; it decides nothing."""
    found = []
    for number in range(len(study.config.reserve)):
        away = study.on_reserve(number)
        match = entered(away, entries, arms.HIDDEN)
        runs = careful.Careful(contest, entries, contest.config.confirm_runs, away.task.name)
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


def entered(study: Study, entries: Sequence[Entry], kind: str) -> Match:
    """The match of these entries, an arm each; further ones of the same program draw their own seeds."""
    match = arms.match_of(study, kind)
    before: list[str] = []
    found = []
    for entry in entries:
        found.append(arms.arm_of(match, entry, before.count(entry.program_id)))
        before.append(entry.program_id)
    return arms.match_of(study, kind, found)


def announcement(contest: Contest, entries: Sequence[Entry], gains: Mapping[str, Gains]) -> dict[str, Any]:
    """What is told: who won by how much, how sure, beside whom; and the secret. ``gains`` by task, the first first."""
    decided = decide(entries, scores_of(entries, gains))
    board, scales, unit = over_tasks(contest, arms.CONFIRMATION)
    rows = [row for row in board if row["gain"] is not None]
    return {
        **decided, "decided_at": utc_now().isoformat(), "unit": unit, "scales": scales, "aa_spread": aa_spread(rows),
        "secret": contest.study.secret, "secret_hash": contest.config.secret_hash, "rows": rows,
    }  # fmt: skip


def scores_of(entries: Sequence[Entry], gains: Mapping[str, Gains]) -> Scores[int]:
    """The gains as they are where there is one task, else over stock's. The control and its A/A arm are one sample,
    under the control's number; the entries of different people stay apart."""
    control = next((e.number for e in entries if e.role == "control"), None)
    twins = [e.number for e in entries if e.role == "a/a" and control is not None]
    numbers = [e.number for e in entries if e.number not in twins]

    def joined(on: Gains, number: int) -> list[float]:
        return [gain for each in (number, *(twins if number == control else ())) for gain in on[each]]

    first, *further = gains.values()
    if not further:
        return plain({number: joined(first, number) for number in numbers})
    cells = {n: {task: mean_interval(joined(on, n)) for task, on in gains.items()} for n in numbers}
    return Scores(cells, list(gains), [e.number for e in entries if e.number in numbers and e.role != "program"])


def decide(entries: Sequence[Entry], scores: Scores[int]) -> dict[str, Any]:
    """The rule: the highest score wins if the test, Holm-corrected over all pairs, tells it from the others.

    ``outcome``: won, shared (leaders that cannot be told from the first), none (stock cannot be told from it), or
    empty, where nobody took part.
    """
    entries = [e for e in entries if e.number in scores.values]
    best = max((e for e in entries if e.role == "program"), key=lambda e: scores.values[e.number], default=None)
    if best is None:
        return {"outcome": "empty", "winners": [], "headline": "Nobody took part to the end"}
    ahead = scores.told_from(best.number)
    stock = next(e for e in entries if e.role == "control")
    rivals = [e for e in entries if e.role == "program" and e is not best and e.number not in ahead]
    beaten = all(e.number in ahead for e in entries if e.role != "program")
    winners = [best, *rivals] if beaten else []
    outcome = "none" if not beaten else "shared" if rivals else "won"
    _, low, high = scores.interval(best.number)
    more, least, most = scores.over(best.number, stock.number)
    return {
        "outcome": outcome,
        "winners": [_who(e) for e in winners],
        "headline": headline(outcome, [e.entrant for e in winners], best),
        "best": _who(best),
        "gain": scores.values[best.number], "low": low, "high": high, "n": scores.runs(best.number),
        "over_stock": more, "over_low": least, "over_high": most,
    }  # fmt: skip


def _who(entry: Entry) -> dict[str, Any]:
    return {"entry_id": entry.entry_id, "number": entry.number, "entrant": entry.entrant, "name": entry.name}


def headline(outcome: str, names: Sequence[str], best: Entry) -> str:
    if outcome == "won":
        return f"{names[0]} won"
    if outcome == "shared":
        return f"{', '.join(names[:-1])} and {names[-1]} share the win: their runs do not tell them apart"
    return f"Nobody won: the first, which is {best.entrant}'s, is not shown to beat stock"

"""The decision of a contest: the leaders' runs on the stream `confirmation`, and the announcement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.statistics import mean_interval
from arena.arms import Match
from arena.contest import acts, arms, careful
from arena.contest.board import aa_spread, board_rows, check_of, is_measured, over_tasks
from arena.contest.contest import Contest
from arena.contest.pace import Deciding
from arena.contest.score import Scores, plain
from arena.contest.settings import utc_now
from arena.contest.stored import Announcement, HiddenTaskResult, NamedEntry
from arena.contest.tables import ContestEntry
from arena.executor import Executor, Progress
from arena.executors import executor_of
from arena.match import play
from arena.measuring import gains_of
from arena.study import Study
from arena.task_study import TaskStudy, reserved_tasks, tasks_of

Gains = Mapping[int, Sequence[float]]  # entry's number → verified gains of its confirming runs


def leaders(contest: Contest) -> list[int]:
    """Numbers of the leaders, best first: rank range includes 1; of entries with one program the earliest.

    If stock is significantly above every entry, the best of them: the decision then says that it does not beat stock.
    """
    rows = [row for row in over_tasks(contest)[0] if row["role"] == "program" and is_measured(row)]
    first: dict[str, int] = {}
    for row in [row for row in rows if row["rank_low"] == 1] or rows[:1]:
        first[row["program_id"]] = min(row["number"], first.get(row["program_id"], row["number"]))
    return list(first.values())[: contest.config.most_leaders]


def confirm(contest: Contest, study: Study, executor: Executor, progress: Progress) -> Announcement:
    """Run the leaders and both controls on fresh seeds and data; returns the announcement. Resumes after a kill."""
    state = contest.state()
    numbers = state.get("leaders")
    if numbers is None:  # stored before the first confirming run, so that a kill cannot change the leaders
        numbers = leaders(contest)
        contest.state(deciding=utc_now().isoformat(), leaders=numbers)
    entries = taking_part(contest, numbers)
    counted = counter(contest, study, entries, progress)
    gains = {each.task.name: run_again(contest, each, executor, entries, counted) for each in tasks_of(study)}
    acts.record_acts(contest, study)
    left_out = careful.left_out_rows(contest, entries)
    gone = {who["number"] for who in left_out}
    decided = announcement(contest, [entry for entry in entries if entry.number not in gone], gains)
    return {**decided, "left_out": left_out, "hidden": hidden_results(contest, study, entries, progress)}


def counter(contest: Contest, study: Study, entries: Sequence[ContestEntry], progress: Progress) -> Deciding:
    """Counts the confirming runs on all tasks for the pages."""
    matches = [(each, entered(each, entries, arms.CONFIRMATION)) for each in tasks_of(study)]
    played = [gains_of(each, arm.arm_id) for each, match in matches for arm in match.arms]
    return Deciding(contest, progress, len(played) * contest.config.confirm_runs, sum(map(len, played)))


def run_again(
    contest: Contest, on: TaskStudy, executor: Executor, entries: Sequence[ContestEntry], progress: Progress
) -> Gains:
    """The confirming runs on one task; an entry that is left out keeps the runs it has."""
    match = entered(on, entries, arms.CONFIRMATION)
    play(on, executor, match, careful.IsolatingRacer(contest, entries, contest.config.confirm_runs), progress)
    return {entry.number: gains_of(on, arm.arm_id) for entry, arm in zip(entries, match.arms, strict=True)}


def hidden_results(
    contest: Contest, study: Study, entries: Sequence[ContestEntry], progress: Progress
) -> list[HiddenTaskResult]:
    """The same entries on each hidden task; not part of the decision."""
    results: list[HiddenTaskResult] = []
    for on in reserved_tasks(study):
        match = entered(on, entries, arms.HIDDEN)
        runs = careful.IsolatingRacer(contest, entries, contest.config.confirm_runs, on.task.name)
        with executor_of(study, progress, [on]) as executor:
            play(on, executor, match, runs, progress)
        rows = [row for row in board_rows(contest, match.label) if is_measured(row)]
        results.append({"task": on.task.name, "unit": on.task.unit, "rows": rows, "aa_spread": aa_spread(rows)})
    return results


def taking_part(contest: Contest, numbers: Sequence[int]) -> list[ContestEntry]:
    """The leaders in their order, then the controls."""
    with contest.database.read() as connection:
        rows = connection.scalars(
            select(ContestEntry)
            .options(undefer(ContestEntry.raw))
            .where(ContestEntry.number.in_(numbers) | (ContestEntry.role != "program"))
        ).all()
    return sorted(
        rows, key=lambda e: (e.role != "program", numbers.index(e.number) if e.number in numbers else e.number)
    )


def entered(on: TaskStudy, entries: Sequence[ContestEntry], kind: str) -> Match:
    """The match of these entries, one arm each; entries of the same program draw different seeds."""
    match = arms.match_of(on, kind)
    before: list[str] = []
    entered_arms = []
    for entry in entries:
        entered_arms.append(arms.arm_of(match, entry, before.count(entry.program_id)))
        before.append(entry.program_id)
    return arms.match_of(on, kind, entered_arms)


def announcement(contest: Contest, entries: Sequence[ContestEntry], gains: Mapping[str, Gains]) -> Announcement:
    """The announcement: outcome, gains, intervals, rows, secret. ``gains``: by task, starting with the first."""
    decided = decide(entries, scores_of(entries, gains))
    board, scales, unit = over_tasks(contest, arms.CONFIRMATION)
    rows = [row for row in board if is_measured(row)]
    check = check_of(rows, unit)
    if check is not None and not check.passed:
        decided = withheld(decided)
    return {
        **decided,
        "decided_at": utc_now().isoformat(),
        "unit": unit,
        "scales": scales,
        "aa_spread": aa_spread(rows),
        "secret": contest.study.secret,
        "secret_hash": contest.config.secret_hash,
        "rows": rows,
    }


def scores_of(entries: Sequence[ContestEntry], gains: Mapping[str, Gains]) -> Scores[int]:
    """Scores: gains on one task, else gains divided by stock's. The control and its A/A arm are one sample, under the
    control's number; entries with the same program stay separate."""
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


def decide(entries: Sequence[ContestEntry], scores: Scores[int]) -> Announcement:
    """The rule: the highest score wins if it is significantly above all others, Holm-corrected over all pairs.

    ``outcome``: won; shared (some leaders are not significantly below the first); none (the first is not significantly
    above stock); empty (no entry took part).
    """
    entries = [e for e in entries if e.number in scores.values]
    best = max((e for e in entries if e.role == "program"), key=lambda e: scores.values[e.number], default=None)
    if best is None:
        return {"outcome": "empty", "winners": [], "headline": "No winner: no entry completed the decision"}
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
        "gain": scores.values[best.number],
        "low": low,
        "high": high,
        "n": scores.runs(best.number),
        "over_stock": more,
        "over_low": least,
        "over_high": most,
    }


def withheld(decided: Announcement) -> Announcement:
    """Equal programs did not get equal results in the confirmation: no entry wins; the gains stay."""
    headline = "No winner: the A/A check failed, stock's two arms differ significantly"
    return {**decided, "outcome": "none", "winners": [], "headline": headline} if decided["winners"] else decided


def _who(entry: ContestEntry) -> NamedEntry:
    return {"entry_id": entry.entry_id, "number": entry.number, "entrant": entry.entrant, "name": entry.name}


def headline(outcome: str, names: Sequence[str], best: ContestEntry) -> str:
    if outcome == "won":
        return f"{names[0]} won"
    if outcome == "shared":
        return f"{', '.join(names[:-1])} and {names[-1]} share the win: no significant difference from the best"
    return f"No winner: the best entry, by {best.entrant}, is not significantly better than stock"

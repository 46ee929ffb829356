"""The decision of a contest: the leaders' runs on the stream `confirmation`, and the announcement."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import undefer

from analysis.statistics import Estimate, error_of, mean_interval, welch_difference
from analysis.wording import decimals, many, ranks, typical
from arena.arms import Match, TaskMatch
from arena.contest.contest import Contest
from arena.contest.entering.copies import copies
from arena.contest.entering.entries import change
from arena.contest.ranking.announced import headline, look_lines, race_places
from arena.contest.ranking.race import ALPHA, Gains, Race, follow, leaders_of, runs_to_separate, samples_of
from arena.contest.ranking.standing import aa_difference, aa_spread, ranked_entries
from arena.contest.running import arms
from arena.contest.running.pace import ConfirmingRuns, not_in_race
from arena.contest.settings import ContestConfig
from arena.contest.stored import Announcement, LeftOutEntry, MeasuredRow, RaceLoss
from arena.contest.tables import ContestEntry
from arena.measuring import settled_gains
from arena.race import ArmScore
from arena.serving.clock import utc_now
from arena.study.setup import RunCost
from arena.study.study import Study
from arena.study.task_study import TaskStudy, tasks_of
from programs.common.ids import content_id

NOBODY: Announcement = {
    "outcome": "empty", "winners": [], "headline": "No winner: no entry completed the decision"
}  # fmt: skip


def board_of(contest: Contest, study: Study) -> tuple[list[ContestEntry], list[MeasuredRow]]:
    """All entries, in the order of arrival, and the board without the copies of earlier ones."""
    study.follow()
    with contest.database.read() as connection:
        entries = list(connection.scalars(select(ContestEntry).order_by(ContestEntry.number)))
    alike = copies(entries)
    originals = [entry for entry in entries if entry.number not in alike]
    return entries, ranked_entries(originals, study.state, study.config.study_id, arms.BOARD)


def leaders(contest: Contest, study: Study) -> list[int]:
    """`race.leaders_of` all measured runs but those of copies."""
    return leaders_of(board_of(contest, study)[1], contest.config.most_leaders)


def not_racing(contest: Contest, study: Study, numbers: Collection[int]) -> dict[int, str]:
    """Why each other entry is not among the leaders ``numbers``, by its number."""
    entries, rows = board_of(contest, study)
    board, alike, reasons = {row["number"]: row for row in rows}, copies(entries), {}
    for entry in (entry for entry in entries if entry.role == "program" and entry.number not in numbers):
        row = board.get(entry.number)
        if entry.state in ("void", "failed"):
            reasons[entry.number] = entry.reason
        elif entry.number in alike:
            earlier = alike[entry.number].number
            reasons[entry.number] = (
                f"not in the race of the leaders: it behaves like entry {earlier}, which was earlier"
            )
        elif row is None:
            reasons[entry.number] = "not in the race of the leaders: it has no measured gain"
        else:
            rank, better = f"rank {ranks(row['rank_low'], row['rank_high'])}", row["rank_low"] - 1
            why = f"significantly below {many(better, 'other row')} of the board"
            why = why if better else f"the race takes {contest.config.most_leaders}"
            reasons[entry.number] = f"not among the leaders when their race began: {rank}, {why}"
    return reasons


def spectators(contest: Contest, study: Study, reasons: Mapping[int, str]) -> list[LeftOutEntry]:
    """The entries that are not in the race, in the order of the board, with why."""
    with contest.database.read() as connection:
        entries = connection.scalars(select(ContestEntry).order_by(ContestEntry.number)).all()
    rows = ranked_entries(entries, study.state, study.config.study_id, arms.BOARD)
    gains = {row["number"]: row["gain"] for row in rows}
    others = [entry for entry in entries if entry.number in reasons]
    others.sort(key=lambda entry: -gains.get(entry.number, -math.inf))
    return [{**entry.named, "why": reasons[entry.number]} for entry in others]


def begin(contest: Contest, study: Study) -> LeadersRace:
    """The race of the leaders, as it stands. They are chosen once, before the first confirming run, so that a kill
    cannot change them."""
    numbers = contest.state().get("leaders")
    if numbers is None:
        numbers = leaders(contest, study)
        reasons = {str(number): why for number, why in not_racing(contest, study, numbers).items()}
        for entry in taking_part(contest, numbers):
            change(contest, entry.number, attempts=0)
        contest.database.set_fact("not_racing", **reasons)  # apart: every page reads the state
        contest.state(deciding=utc_now().isoformat(), leaders=numbers)
    entries = taking_part(contest, numbers)
    task_study = tasks_of(study)[0]
    return LeadersRace(contest, entries, TaskMatch(task_study, entered(task_study, entries, arms.CONFIRMATION)))


def decided(race: LeadersRace) -> Announcement:
    """The announcement of a race that is over."""
    contest = race.contest
    entries = entries_of(contest, race.numbers.values())
    left = left_out(contest, entries)
    rows: list[LeftOutEntry] = [{**e.named, "why": left[e.number]} for e in entries if e.number in left]
    others = spectators(contest, race.match.on.study, not_in_race(contest))
    computed = figures(contest.config, race.match.on, entries, left.keys())
    return {**computed, "decided_at": utc_now().isoformat(), "left_out": rows, "not_racing": others}


def left_out(contest: Contest, entries: Sequence[ContestEntry]) -> dict[int, str]:
    """number → reason, of the entries that the decision leaves out: void, or given up."""
    given_up = contest.state().get("left_out") or {}
    reasons = {e.number: given_up[str(e.number)] for e in entries if str(e.number) in given_up}
    numbers = [entry.number for entry in entries]
    with contest.database.read() as connection:
        query = select(ContestEntry).where(ContestEntry.number.in_(numbers), ContestEntry.state == "void")
        return reasons | {entry.number: entry.reason for entry in connection.scalars(query)}


def entries_of(contest: Contest, numbers: Iterable[int]) -> list[ContestEntry]:
    """These entries in this order, as they are now."""
    wanted = list(numbers)
    with contest.database.read() as connection:
        query = select(ContestEntry).where(ContestEntry.number.in_(wanted))
        by_number = {entry.number: entry for entry in connection.scalars(query)}
    return [by_number[number] for number in wanted]


class LeadersRace:
    """The race of the leaders, which `match.play` plays: the runs that its entries still need, and how it stands.

    Host actions count, too: an entry that became void or was given up asks for no more runs."""

    def __init__(self, contest: Contest, entries: Sequence[ContestEntry], match: TaskMatch) -> None:
        self.contest, self.entries, self.match = contest, entries, match
        self.numbers = {arm.arm_id: entry.number for entry, arm in zip(entries, match.match.arms, strict=True)}

    def next_round(self, scores: Sequence[ArmScore]) -> Mapping[str, int]:
        """The runs until the next look. Those of entries that have lost runs come last, one at a time."""
        gains = {self.numbers[score.arm_id]: score.gains for score in scores}
        wanted = self._race(gains, left_out(self.contest, self.entries)).wanted
        short = {number: runs for number, runs in wanted.items() if len(gains[number]) < runs}
        suspects = [entry.number for entry in entries_of(self.contest, short) if entry.attempts > 0]
        requested = {number: runs for number, runs in short.items() if number not in suspects}
        if short and not requested:
            requested = {number: len(gains[number]) + 1 for number in list(short)[:1]}
        return {arm_id: requested[number] for arm_id, number in self.numbers.items() if number in requested}

    def standings(self) -> ConfirmingRuns:
        """The runs so far, those that there will be if no look of the race ends it for an entry, and how the
        race stands."""
        self.entries = entries_of(self.contest, self.numbers.values())  # an account may have been removed
        left, gains = left_out(self.contest, self.entries), gains_of(self.match.on, self.entries)
        race = self._race(gains, left)
        done = {number: len(runs) for number, runs in gains.items()}
        most = self.contest.config.confirm_runs
        names = {e.number: e.label if e.role == "program" else "stock" for e in self.entries}
        numbers = {n: name if name == "stock" else f"entry {n}" for n, name in names.items()}  # for the log
        digits = decimals(typical(math.sqrt(error_of(runs)) for runs in gains.values()))
        standings = race_places(race, names, digits, done) | {
            number: f"left out: {why}" for number, why in left.items()
        }
        return {
            "done": sum(done.values()),
            "wanted": sum(max(runs, most * (number in race.wanted)) for number, runs in done.items()),
            "race": [{**e.named, "said": standings[e.number]} for e in self.entries if e.number in standings],
            "looks": look_lines(race, numbers, digits),
            "next_look": max(race.wanted.values(), default=0),
        }

    def _race(self, gains: Gains, gone: Collection[int]) -> Race:
        return race_of(self.contest.config, self.entries, gains, gone)


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


def gains_of(on: TaskStudy, entries: Sequence[ContestEntry]) -> Gains:
    match_id = arms.match_of(on, arms.CONFIRMATION).match_id
    return {e.number: settled_gains(on, content_id("a", match_id, e.entry_id)) for e in entries}


def race_of(config: ContestConfig, entries: Sequence[ContestEntry], gains: Gains, gone: Collection[int]) -> Race:
    """The race without the entries that are left out; those count as leaders all the same."""
    leaders = sum(entry.role == "program" for entry in entries)
    return follow([entry for entry in entries if entry.number not in gone], gains, config.looks, leaders)


def figures(
    config: ContestConfig, on: TaskStudy, entries: Sequence[ContestEntry], gone: Collection[int]
) -> Announcement:
    """All of the announcement that follows from the ledger: outcome, gains, intervals, rows. ``entries``: the leaders
    and both arms of stock; ``gone``: numbers of those that are left out."""
    study, task, gains = on.study, on.task, gains_of(on, entries)
    race = race_of(config, entries, gains, gone)
    left = [entry for entry in entries if entry.number not in gone]
    rows = ranked_entries(left, study.state, study.config.study_id, arms.CONFIRMATION)
    apart = aa_difference(rows, task.unit, " in these runs")
    decided = decide(left, race, gains, RunCost(task, config.run_budget, study.config.verify_seeds).run)
    if race.samples is not None:
        rows = race_rows(rows, decided, race, samples_of(left, gains))
    if apart is not None:
        decided["aa_difference"] = apart
    secret: Announcement = {"secret": study.config.secret, "secret_hash": config.secret_hash}
    return {**decided, **secret, "unit": task.unit, "aa_spread": aa_spread(rows), "rows": rows}


def decide(entries: Sequence[ContestEntry], race: Race, gains: Gains, run_seconds: float) -> Announcement:
    """The rule: the entry that is left wins if it is above stock; several that are left and above stock share
    the win, and the announcement says what separating the first two of them would cost. ``run_seconds``: device-seconds
    of one run."""
    samples = race.samples
    if samples is None:  # no leader was there for a look
        return {**NOBODY}
    means = {number: fmean(sample) for number, sample in samples.items()}
    by_number = {entry.number: entry for entry in entries}
    left = sorted(race.entries, key=lambda number: -means[number])
    winners = [by_number[number] for number in left if number in race.above_stock]
    outcome = "none" if not winners else "shared" if len(winners) > 1 else "won"
    last = left or [number for number in means if by_number[number].role == "program"]
    if not last:
        return {**NOBODY}
    best = winners[0] if winners else by_number[max(last, key=lambda number: means[number])]
    stock = next(entry for entry in entries if entry.role == "control")
    low, high = mean_interval(samples[best.number]).interval(ALPHA / 2 / len(race.looks))
    lead = welch_difference(samples[best.number], samples[stock.number])
    over_low, over_high = lead.interval(race.level)
    decided: Announcement = {
        "outcome": outcome,
        "winners": [entry.named for entry in winners],
        "headline": headline([entry.named for entry in winners], best.named),
        "best": best.named,
        "gain": means[best.number],
        "low": low,
        "high": high,
        "n": len(samples[best.number]),
        "over_stock": lead.or_zero,
        "over_low": over_low,
        "over_high": over_high,
        "race": {
            "looks": list(race.looks),
            "looked": race.looked,
            "level": race.level,
            "leaders": sum(entry.role == "program" for entry in entries),
            "runs": sum(map(len, gains.values())),
            "equal_runs": race.looked * len(entries),
        },
        "lost": losses(race, stock.number),
    }
    if outcome == "shared":
        runs = runs_to_separate(samples[winners[0].number], samples[winners[1].number], race.level)
        price = None if runs is None else 2 * runs * run_seconds
        decided["separate"] = {"runs": runs, "device_seconds": price}
    return decided


def losses(race: Race, stock: int) -> list[RaceLoss]:
    """Why each entry that did not win did not."""
    samples = race.samples
    assert samples is not None
    unshown = {
        number: (None, fmean(samples[number]) - fmean(samples[stock]), race.looked)
        for number in race.entries
        if number not in race.above_stock
    }
    return [
        {"number": number, "below": to, "by": by, "runs": runs, "above_stock": number in race.above_stock}
        for number, (to, by, runs) in (race.out | unshown).items()
    ]


def race_rows(rows: Sequence[MeasuredRow], decided: Announcement, race: Race, samples: Gains) -> list[MeasuredRow]:
    """The rows with the intervals and rank ranges that a race allows: each interval holds at all looks together, and
    all that the race says of a rank is who may be the best. ``samples``: of all runs of the leaders."""
    first = {who["number"] for who in decided["winners"]} or set(race.entries)
    won = decided["outcome"] == "won"
    ranked_rows = []
    for row in rows:
        level = ALPHA / 2 / len(race.looks)
        is_sampled = row["role"] == "program" and row["number"] in samples
        measured = Estimate(row["gain"], row["se"], row["n"] - 1)
        low, high = (mean_interval(samples[row["number"]]) if is_sampled else measured).interval(level)
        may_be_first = row["number"] in first or not (decided["winners"] or row["role"] == "program")
        rank_range = {"rank_low": 1 if may_be_first else 2, "rank_high": 1 if may_be_first and won else len(rows)}
        ranked_rows.append(cast(MeasuredRow, {**row, "low": low, "high": high, **rank_range}))
    return ranked_rows

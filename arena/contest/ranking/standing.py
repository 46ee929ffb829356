"""The board and the queue at one moment: what the ledger has of the runs, joined with the entries of the database."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import TypeVar, cast

from sqlalchemy import select

from analysis.ledger.run_state import RunState, StudyState
from analysis.verdict.decision import ArmGain, twins
from analysis.verdict.standings import StandingRun, rank
from analysis.wording import decimals, estimate, typical
from arena.contest.contest import Contest
from arena.contest.entering.copies import copies, copy_sentence
from arena.contest.ranking.announced import outcomes
from arena.contest.ranking.history import RunProgress
from arena.contest.running.arms import BOARD
from arena.contest.running.pace import in_race, run_seconds
from arena.contest.running.queue import forecast, in_line, turns
from arena.contest.settings import Phase
from arena.contest.stored import Announcement, MeasuredRow
from arena.contest.tables import ContestEntry
from arena.serving.clock import utc_now
from arena.study.lock import is_taken
from arena.work.spend import spend_of
from programs.common.ids import content_id
from programs.common.text import word_list

SNAPSHOT_SECONDS = 2.0  # all readers share one for as long
STANDING_COLUMNS = word_list("""
    arm_id program_id n gain se low high rank_low rank_high claimed trust failed_seeds device_seconds_charged tokens usd
""")

Row = TypeVar("Row")
QueuePositions = Mapping[int, tuple[int, float]]  # number → position in the queue, whole seconds to its last run's end


@dataclass(frozen=True)
class RowRange:
    """A range of rows of a long list: at most ``most`` after the first ``skip``."""

    skip: int = 0
    most: int = 100

    @classmethod
    def page(cls, number: int, most: int) -> RowRange:
        return cls((max(number, 1) - 1) * most, most)

    def of(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows[self.skip : self.skip + self.most]


@dataclass(frozen=True)
class Snapshot:
    """What all pages show at one moment. ``entries``: all, without their texts, in the order of arrival; ``rows``: the
    board, best first, without void entries; ``copies``: number → the earliest entry that behaves alike; ``race`` and
    ``outcomes``: number → how an entry stands in the race while it goes on, and what the decision says of it."""

    as_of: datetime
    phase: Phase
    entries: Mapping[int, ContestEntry]
    gains: Mapping[int, Sequence[float]]  # verified, of the runs on the board
    rows: Sequence[MeasuredRow]
    copies: Mapping[int, ContestEntry]
    positions: QueuePositions
    at_work: Counter[int]  # runs in progress
    digits: int  # decimal places of the board's gains
    aa_difference: str | None
    announcement: Announcement
    race: Mapping[int, str]
    outcomes: Mapping[int, str]
    hides_texts: bool

    def rows_of(self, numbers: Iterable[int]) -> list[MeasuredRow]:
        """The rows of these entries, best first."""
        wanted = set(numbers)
        return [row for row in self.rows if row["number"] in wanted]

    def of_person(self, person_id: int | None) -> list[ContestEntry]:
        """The entries of a person; of None the controls."""
        return [entry for entry in self.entries.values() if entry.person_id == person_id]


def snapshot(contest: Contest) -> Snapshot:
    """The latest, which is at most a few seconds old."""
    return contest.snapshots.get(time.monotonic() // SNAPSHOT_SECONDS, lambda: _snapshot(contest))


def _snapshot(contest: Contest) -> Snapshot:
    phase, announcement, race = contest.phase(), contest.announcement(), in_race(contest)
    with contest.database.read() as connection:
        entries = {entry.number: entry for entry in connection.scalars(select(ContestEntry).order_by("number"))}
    history = contest.history
    history.follow()  # after the entries: a state never says more than the runs
    with history.lock:
        played = played_runs(list(entries.values()), history.state, contest.study.study_id, BOARD)
    gains = defaultdict[int, list[float]](list)
    for entry, run, _ in played:
        if run.verified_gain is not None:
            gains[entry.number].append(run.verified_gain)
    alike = copies(entries.values())
    hidden = contest.config.texts_after_close and phase in ("upcoming", "open")
    rows = ranked_rows(played)
    for row in rows:
        row["copy_of"] = "" if hidden else copy_sentence(alike.get(row["number"]))
        row["race"] = race.get(row["number"], "")
    return Snapshot(
        utc_now(), phase, entries, gains, rows, alike, _positions(contest, phase, entries, gains), at_work(contest),
        decimals(typical(row["se"] for row in rows)), aa_difference(rows, contest.task.unit), announcement, race,
        outcomes(announcement), hidden,
    )  # fmt: skip


def at_work(contest: Contest) -> Counter[int]:
    """Number → the runs of an entry that are in progress, as the queue's process reported last."""
    return Counter(cast(list[int], contest.database.fact("pulse").get("numbers", [])))


def _positions(
    contest: Contest, phase: Phase, entries: Mapping[int, ContestEntry], gains: Mapping[int, Sequence[float]]
) -> QueuePositions:
    """Positions of all entries with runs left, in the order of the queue; the estimates count down while nothing
    changes. Once the queue is over, one that the host reinstates waits for none."""
    if phase in ("deciding", "decided"):
        return {}
    runs_done = {number: len(measured) for number, measured in gains.items()}
    waiting, served = in_line(entries.values(), runs_done, contest.config.runs, contest.costs)
    seconds_of_run, _ = run_seconds(contest)
    order = forecast(turns(waiting, served, contest.costs), seconds_of_run, contest.study.workers)
    begun = [entry.entry_id for entry in entries.values() if entry.state in ("screening", "running")]
    runs = [run for entry_id in begun for run in contest.history.progress(entry_id)]
    passed = elapsed(runs, utc_now(), seconds_of_run) if is_taken(contest.folder) else 0.0  # else no run goes on
    return {number: (position, max(1.0, round(seconds - passed))) for number, (position, seconds) in order.items()}


def elapsed(runs: Iterable[RunProgress], now: datetime, run_seconds: float) -> float:
    """Seconds since the runs in progress began, on average; of each at most nine tenths of ``run_seconds``: how much
    longer than usual a run takes is not known."""
    began = [(now - datetime.fromisoformat(run["began"])).total_seconds() for run in runs]
    return fmean([min(max(seconds, 0.0), 0.9 * run_seconds) for seconds in began] or [0.0])


# -- ranks -----------------------------------------------------------------------------------------------------------


def ranked_entries(entries: Sequence[ContestEntry], state: StudyState, study_id: str, label: str) -> list[MeasuredRow]:
    """One row for each of these entries with a measured run in the match ``label``, best first, as in the view
    `standings`. Void entries have none."""
    return ranked_rows(played_runs(entries, state, study_id, label))


def played_runs(
    entries: Sequence[ContestEntry], state: StudyState, study_id: str, label: str
) -> list[tuple[ContestEntry, StandingRun, int]]:
    """The runs of these entries in the match ``label``, each with its entry and the number of edits that it kept."""
    match_id = content_id("m", study_id, label)
    by_arm = {content_id("a", match_id, entry.entry_id): entry for entry in entries}
    return [
        (entry, standing_run(run, entry.state == "void"), run.ended.kept if run.ended else 0)
        for _, run in sorted(state.runs.items())
        if run.started and run.started.match_id == match_id and (entry := by_arm.get(run.started.arm_id))
    ]


def ranked_rows(played: Sequence[tuple[ContestEntry, StandingRun, int]]) -> list[MeasuredRow]:
    """The standings of these runs."""
    by_arm = {run.arm_id: entry for entry, run, _ in played}
    kept = Counter[object]()
    for _, run, edits in played:
        kept[run.arm_id] += edits
    rows = []
    for standing in rank([run for _, run, _ in played]):
        if standing.gain is not None:
            entry = by_arm[standing.arm_id]
            columns = {name: getattr(standing, name) for name in STANDING_COLUMNS}
            columns |= {name: getattr(entry, name) for name in ("state", "role", "words")}
            rows.append(cast(MeasuredRow, {**columns, **entry.named, "kept": kept[standing.arm_id]}))
    return rows


def standing_run(run: RunState, void: bool) -> StandingRun:
    """The columns of the view `runs` that standings are made from."""
    assert run.started is not None
    started, ended = run.started, run.ended
    verified = run.verifications.values()
    calls = spend_of(run.calls) if run.calls else None
    spend = ended if ended and ended.tokens is not None else calls
    return StandingRun(
        match_id=started.match_id, arm_id=started.arm_id, program_id=started.program_id,
        task=started.task, stream=started.stream, state=ended.state if ended else "running",
        claimed_gain=ended.claimed_gain if ended else None, verified_gain=run.gain,
        failed_seeds=sum(event.status not in ("ok", "baseline") for event in verified),
        trust=run.trust, device_seconds_charged=run.charged,
        tokens=spend.tokens if spend else None, usd=spend.usd if spend else None,
        wall_seconds=ended.wall_seconds if ended else None,
        experiment_wall_seconds=ended.experiment_wall_seconds if ended else None,
        score_stream=started.stream if verified else None, role=None, name=None, words=None, purpose=None, void=void,
    )  # fmt: skip


def aa_spread(rows: Sequence[MeasuredRow]) -> float | None:
    """Largest difference between two arms of the same program."""
    apart = [
        abs(row["gain"] - other["gain"])
        for row in rows
        if row["role"] == "a/a"
        for other in rows
        if other["program_id"] == row["program_id"] and other is not row
    ]
    return max(apart, default=None)


def aa_difference(rows: Sequence[MeasuredRow], unit: str, where: str = "") -> str | None:
    """The A/A difference in a sentence; None without two arms of stock. ``where``: in which runs."""
    aa = twins(ArmGain(row["program_id"], row["role"], None, unit, row["n"], row["gain"], row["se"]) for row in rows)
    if aa is None:
        return None
    return f"Stock (A/A) minus stock (control){where}: {estimate(aa.lead.value, *aa.lead.interval(), aa.unit)}."

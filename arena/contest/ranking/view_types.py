"""The types of what pages and the API show of a contest."""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import JsonValue
from typing_extensions import TypedDict

from arena.contest.entering.acts import ActRow
from arena.contest.ranking.history import RunProgress, RunResult
from arena.contest.running.pace import ConfirmingRuns
from arena.contest.settings import Phase
from arena.contest.stored import Announcement, LedgerHead, MeasuredRow, NamedEntry
from arena.serving.clock import Moment


class TaskLimit(TypedDict):
    """A constraint of the task: its ``limit`` in words."""

    name: str
    limit: str


Reached = dict[str, dict[str, float]]  # entry's id → constraint → average over the entry's runs


class ContestView(TypedDict):
    """The contest: task, budgets, times, phase."""

    contest_id: str
    title: str
    phase: Phase
    now: Moment
    opens: Moment
    closes: Moment
    closed_early: str
    deciding: ConfirmingRuns
    task: str
    task_id: str
    metric: str
    unit: str
    gain: str  # what a gain is, as a sentence
    direction: str
    description: str
    limits: list[TaskLimit]
    run_budget: float
    screen_budget: float
    runs: int
    confirm_runs: int
    entries_per_person: int
    texts_after_close: bool
    join: str
    contact: str
    researcher: str
    hardware_class: str
    secret_hash: str
    rules_hash: str
    people: int | None
    states: dict[str, int]
    left: int  # entries with runs left
    close_asked: bool
    stock: str | None  # entry id of stock's first arm
    report: bool  # whether it is published
    ledger_head: NotRequired[LedgerHead | None]  # hosts of before have none


class EntryRow(NamedEntry):
    """What everybody may know of an entry at once: hashes, but not the text."""

    role: str
    program_id: str
    sha256: str
    words: int
    received_at: Moment
    state: str
    reason: str
    changed_at: Moment
    runs_done: int


class ListedRow(EntryRow):
    """An entry as `entries.json` of an export has it."""

    salt: str  # by which the entrant's name is compared with the ledger; empty once the account is removed


class AcceptedRow(EntryRow):
    new: bool  # whether it was not there before
    lint: list[Any]


class VoidGain(TypedDict):
    """The average verified gain of the measured runs of a void entry."""

    n: int
    gain: float
    low: float | None
    high: float | None


class VoidRow(EntryRow):
    as_it_was: VoidGain | None  # of its measured runs


class BoardView(TypedDict):
    """A range of the latest board, and a page of the entries without a measured run.

    ``pinned``: the controls and the viewer's own entries, if the board has more than one page.
    """

    as_of: Moment
    unit: str
    digits: int  # decimal places of its gains
    aa_difference: str | None
    fresh: str
    rows: list[MeasuredRow]
    own: list[int]  # numbers of the viewer's entries
    pinned: list[MeasuredRow]
    total: int
    skip: int
    most: int
    unmeasured: list[EntryRow]
    unmeasured_total: int
    unmeasured_skip: int
    unmeasured_most: int
    void: list[VoidRow]
    void_total: int
    announcement: Announcement
    since: list[ActRow]
    wanted: int
    reached: Reached
    race: NotRequired[dict[int, str]]  # while it goes on: how an entry stands in it, or why it is not in it


class QueueRow(EntryRow):
    place: int
    eta_seconds: float
    at_work: int  # its runs in progress


class EntryView(EntryRow):
    """An entry with its standing, position in the queue, runs and, if the viewer may read it, its text."""

    unit: str
    mine: bool
    hidden: bool  # whether its text is hidden from the viewer
    pace_measured: bool  # whether its waiting time comes from runs, not from the budget
    standing: MeasuredRow | None
    beside: list[MeasuredRow]  # the rows of stock
    arms: int  # rows of the board
    confirmed: MeasuredRow | None
    copy_of: str  # which earlier entry it behaves like; empty while that one's text is hidden
    outcome: str  # of the decision; see `announced`
    race: str  # how it stands in the race of the leaders, while it goes on
    headline: str  # of a winner
    places: dict[int, str]
    board_digits: int  # decimal places of the board's gains
    digits: int | None  # decimal places of the decision's gains; None before it
    queue: QueueRow | None
    progress: list[RunProgress]
    results: list[RunResult]
    reached: Reached
    lint: list[Any]
    acts: list[ActRow]
    text: str | None


class QueueView(TypedDict):
    """The entries with runs left, in the order of the queue, with the expected time.

    ``own``: those of the viewer, at any position.
    """

    rows: list[QueueRow]
    own: list[QueueRow]
    waiting: int
    skip: int
    most: int
    run_seconds: float
    measured: bool
    pulse: JsonValue
    in_hand: JsonValue
    pause: dict[str, JsonValue]
    workers: int
    as_of: Moment


class HostRow(EntryRow):
    attempts: int
    copy_of: str  # which earlier entry it behaves like


class OwnEntryRow(EntryRow):
    outcome: str  # as in EntryView; while the decision goes on, its race
    confirmed: bool  # whether it took part in the decision
    standing: MeasuredRow | None  # of the runs that decided, if it took part; else of the board


class PersonView(TypedDict):
    """A person's own page: quota and entries."""

    name: str
    joined_at: Moment
    used: int
    quota: int
    unit: str  # of the gains
    digits: int  # their decimal places
    entries: list[OwnEntryRow]

"""The decision about a champion: made once, from the confirmation, and recorded in the ledger.

One one-sided test at LEVEL is announced, of champion minus the reference: stock (with its A/A arm) or the user's own
program. The difference of stock's two arms (A/A) is shown beside it, and no verdict depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from analysis.ledger.json_values import read_as
from analysis.statistics import Estimate
from analysis.verdict.origin import Origin
from trainer.freshness import NOTHING
from trainer.freshness import SEEDS as SEEDS_ONLY
from trainer.rows import COUNT, DRAWN, EXACT, ROWS, SEEDS, SPLIT, UNKNOWN, VALUES

if TYPE_CHECKING:
    from pydantic import JsonValue

LEVEL = 0.025
BETTER, OPEN = "better", "open"
SEED_ALONE = "seed alone"  # code of a remark on a script


@dataclass(frozen=True)
class ArmRuns:
    """A program's verified gains in a match, in ``unit``."""

    program_id: str
    name: str
    unit: str | None
    gains: Sequence[float]


Arms = tuple[ArmRuns, ArmRuns]


@dataclass(frozen=True)
class EarlierRuns:
    """The runs of the same two programs in an earlier ``study``, as they were when ``match --add`` counted them."""

    study: str
    arms: Arms


@dataclass(frozen=True)
class ArmGain:
    """The columns of the view `standings` that an A/A difference needs."""

    program_id: str | None
    role: str | None
    task: str | None
    unit: str | None
    n: int
    gain: float | None
    se: float | None


@dataclass(frozen=True)
class ArmsDifference:
    """A/A: ``lead`` of stock's second arm over its first, on one task, from the runs of both."""

    task: str
    unit: str
    lead: Estimate


@dataclass(frozen=True)
class Compared:
    """The champion against another program: its name, its gain, the champion's lead over it, the ratio."""

    name: str
    gain: Estimate
    lead: Estimate
    ratio: float | None


@dataclass(frozen=True)
class OnOneTask:
    """One of several training tasks, in its own unit: the scale that divides its gains (``of_stock``: stock's gain in
    the search, else a standard deviation between runs), the gains of champion and reference."""

    task: str
    unit: str
    scale: float
    of_stock: bool
    champion: Estimate
    tested: Estimate
    lead: Estimate


@dataclass(frozen=True)
class HeldOut:
    """The result on a held-out task, in its unit. ``champion`` and ``tested`` None: the champion behaves like stock
    there, and nothing was run. ``p``: after Holm over the tested tasks; None where nothing is tested."""

    task: str
    unit: str
    champion: Estimate | None
    tested: Compared | None
    p: float | None
    holds: bool
    is_tested: bool = True


@dataclass(frozen=True)
class FoundScript:
    """A train.py and its gain over the untouched one, in ``unit``, from ``n`` trainings that chose nothing.

    ``low``, ``high``: the 95% interval; None where there is none, never two equal numbers. ``noise``: the words of
    `trainer.rows` for the noises that it contains; empty where no noise is known. ``start`` and ``end``: the mean
    ``metric`` of the untouched script and of this one. ``data``: `Task.data_noise`. ``timed``: the metric is a time,
    which has no data. ``seeded``: whether a training seed is given. ``rows``: the number of rows that it was measured
    on, where that is known. ``seconds``: the device time of the harvest, verification included. ``remarks``: see
    `script_remarks`.
    """

    task: str
    unit: str
    seconds: float
    experiments: int
    gain: float | None
    low: float | None
    high: float | None
    n: int
    trust: str | None
    drift: float | None = None  # see `HarvestEvent`
    noise: str = ""
    start: float | None = None
    end: float | None = None
    metric: str = ""
    data: str = UNKNOWN
    timed: bool = False
    seeded: bool = True
    rows: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()

    @property
    def new_seed(self) -> str:
        """The seed that is its only change; empty where it has others."""
        return dict(self.remarks).get(SEED_ALONE, "")

    @property
    def is_exact(self) -> bool:
        return EXACT in self.noise.split()

    @property
    def has_rows_noise(self) -> bool:
        return ROWS in self.noise.split()

    @property
    def on_new_rows(self) -> bool:
        """Whether the gain is of rows that chose nothing."""
        return self.data in (DRAWN, SPLIT) or (self.data == VALUES and self.has_rows_noise)

    @property
    def is_better(self) -> bool:
        """Whether it is shown to be better, at least on the same data: an exact metric by any gain, another one by an
        interval above 0 that contains the noise of the rows or, where that of a share's rows is unknown, of seeds.
        Another value of a seed is no better script."""
        if self.new_seed:
            return False
        if self.is_exact:
            return (self.gain or 0.0) > 0
        known = self.has_rows_noise or (SEEDS in self.noise.split() and self.data != COUNT)
        return known and self.low is not None and self.low > 0

    @property
    def on_same_data(self) -> bool:
        """Whether nothing is shown about other data."""
        return not (self.is_exact or self.timed or self.on_new_rows or self.has_rows_noise)

    @property
    def leaves_rows_out(self) -> bool:
        """Whether its interval leaves out the noise of rows that chose nothing."""
        return self.on_new_rows and self.low is not None and not self.has_rows_noise

    @property
    def has_unknown_noise(self) -> bool:
        return not self.noise


@dataclass(frozen=True)
class Looks:
    """Gains in the metric's unit; None where the rows' noise does not give them.

    ``tries``: scripts that were scored on the search's rows, ``earlier`` ones of the nights before included; ``rows``:
    their number. ``step``: the smallest step of the metric; ``resolvable``: the gain that is significant in 80% of
    cases. ``kept``: the sum of the kept gains; ``luck``: what so many tries without any effect would have shown, as the
    best of so many normal errors; ``p``: by the luck test, the chance of at least ``kept``, rather too large.
    """

    metric: str
    tries: int
    earlier: int = 0
    rows: int | None = None
    step: float | None = None
    resolvable: float | None = None
    kept: float | None = None
    luck: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Caveat:
    """``level``: stop (do not rely on the result), mind (it is weaker) or note (good to know)."""

    level: str
    title: str
    text: str


@dataclass(frozen=True)
class Contributed:
    """What a program did in a night: its turns, its changes that became `main`, and their gain."""

    name: str
    turns: int
    kept: int
    gain: float


@dataclass(frozen=True)
class Decision:
    """``state``: better or open (not shown). Gains in ``unit``, positive is better.

    ``tested``: the reference of the one announced test, with its one-sided ``p``; ``beside``: stock, if the reference
    is the user's own program. ``own``: the program given to ``improve``; ``same_as``: stock or champion, if the own
    program behaves like it, so that the test is against stock. ``fresh``: which parts of the confirmation are fresh
    (`trainer.freshness`).
    """

    state: str
    name: str
    unit: str
    tasks: tuple[OnOneTask, ...]
    champion: Estimate
    tested: Compared
    p: float | None  # None: no test was possible, of a night
    beside: Compared | None = None
    bare: Estimate | None = None  # the champion without its ideas
    aa: tuple[ArmsDifference, ...] = ()
    own: str = ""
    same_as: str = ""
    trust: str | None = None
    fresh: str = ""
    match_ids: tuple[str, ...] = ()
    scripts: tuple[FoundScript, ...] = ()
    simulated: tuple[str, ...] = ()  # tasks whose results a formula gives
    origin: Origin | None = None  # what the champion started from
    start: Compared | None = None  # that program, where the confirmation ran it; nothing is tested on it
    learnt: Compared | None = None  # a program with ideas learnt on other tasks, likewise
    night: tuple[Contributed, ...] = ()  # of a night: the gains of the test are those of turns, not of runs
    held_out: tuple[HeldOut, ...] = ()
    short: bool = False  # a night too short to show which program is better
    looks: Looks | None = None  # of the search at the same rows, in an own repository
    caveats: tuple[Caveat, ...] = ()  # as they were when it was decided

    @property
    def holds(self) -> bool:
        return self.state == BETTER

    @property
    def against_own(self) -> bool:
        return bool(self.own) and not self.same_as and self.tested.name == self.own

    @property
    def script(self) -> FoundScript | None:
        """The train.py that is shown to be better than the untouched one, of the first task; of a night, `main`."""
        own = (script for script in self.scripts if not self.tasks or script.task == self.tasks[0].task)
        return next((script for script in own if script.is_better), None)

    @property
    def has_new_program(self) -> bool:
        """Whether its champion is shown to be better and is not the user's own program, as far as it acts."""
        return self.holds and self.same_as != "champion"

    @property
    def tried_nothing(self) -> bool:
        """Of a night: whether its budget was used up before any change was tried."""
        return bool(self.night) and not any(program.turns for program in self.night)

    @property
    def uses_search_data(self) -> bool:
        """Whether the confirmation's runs were scored on the data that they searched on."""
        return self.fresh in (SEEDS_ONLY, NOTHING)

    @property
    def added_nothing(self) -> bool:
        """Of a night that goes on from an earlier one: whether `main` is still that of the earlier one."""
        return bool(self.night and self.scripts) and not any(contribution.kept for contribution in self.night)

    def rests_on(self, match_id: str | None) -> bool:
        """Whether it was made from this match."""
        return match_id in self.match_ids

    def record(self) -> dict[str, JsonValue]:
        return asdict(self)


def state_of(p: float) -> str:
    """The rule. ``p``: one-sided, of the announced test."""
    return BETTER if p < LEVEL else OPEN


def arms_difference(task: str, unit: str, first: Estimate, second: Estimate) -> ArmsDifference:
    """The A/A difference of two arms of the same program, both with a gain.

    Two arms of one program have one variance, so the error of their difference is from the pooled variance (Student
    1908), not Welch's.
    """
    df, se = first.n + second.n - 2.0, None
    if first.se is not None and second.se is not None:
        squares = sum((arm.se or 0.0) ** 2 * arm.n * (arm.n - 1) for arm in (first, second))
        se = math.sqrt(squares / df * (1 / first.n + 1 / second.n))
    return ArmsDifference(task, unit, Estimate(second.or_zero - first.or_zero, se, df, n=first.n + second.n))


def twins(arms: Iterable[ArmGain]) -> ArmsDifference | None:
    """The A/A difference of a match's standings: the control and its second arm; None without one."""
    known = [arm for arm in arms if arm.gain is not None]
    for twin in (arm for arm in known if arm.role == "a/a"):
        for arm in known:
            if arm.program_id == twin.program_id and arm.role != "a/a":
                gains = (Estimate(control.gain, control.se, n=control.n) for control in (arm, twin))
                return arms_difference(arm.task or "", arm.unit or "", *gains)
    return None


def decision_of(event: Mapping[str, JsonValue]) -> Decision:
    """The decision of a `champion` event."""
    return read_as(Decision, event["decision"])

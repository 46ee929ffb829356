"""The decision about a champion: made once, from the confirmation, and recorded in the ledger.

One one-sided test at LEVEL is announced, of champion minus the reference: stock (with its A/A arm) or the user's own
program. The difference of stock's two arms (A/A) is shown beside it, and no verdict depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from analysis.found_scripts import FoundScript
from analysis.ledger.json_values import read_as
from analysis.looks import Looks
from analysis.statistics import Estimate
from analysis.verdict.origin import Origin
from analysis.wording import interval_decimals
from trainer.freshness import NOTHING
from trainer.freshness import SEEDS as SEEDS_ONLY

if TYPE_CHECKING:
    from pydantic import JsonValue

LEVEL = 0.025
BETTER, OPEN = "better", "open"


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
    def digits(self) -> int:
        """Decimal places of its gains and differences: those of the announced one (of a night, of `main`), so that a
        figure looks the same wherever it is shown."""
        shown = (self.script if self.night else None) or self.tested.lead
        return interval_decimals(shown.low, shown.high)

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
        return bool(self.night and self.scripts) and not any(one.kept for one in self.night)

    def rests_on(self, match_id: str | None) -> bool:
        """Whether it was made from this match."""
        return match_id in self.match_ids

    def record(self) -> dict[str, JsonValue]:
        return asdict(self)


def state_of(p: float) -> str:
    """The rule. ``p``: one-sided, of the announced test."""
    return BETTER if p < LEVEL else OPEN


def arms_difference(first: ArmGain, second: ArmGain) -> ArmsDifference:
    """The A/A difference of two arms of the same program, both with a gain.

    Two arms of one program have one variance, so the error of their difference is from the pooled variance (Student
    1908), not Welch's.
    """
    assert first.gain is not None and second.gain is not None
    difference, df = second.gain - first.gain, first.n + second.n - 2.0
    se = None
    if first.se is not None and second.se is not None:
        squares = sum(arm_se**2 * n * (n - 1) for arm_se, n in ((first.se, first.n), (second.se, second.n)))
        se = math.sqrt(squares / df * (1 / first.n + 1 / second.n))
    return ArmsDifference(first.task or "", first.unit or "", Estimate(difference, se, df, n=first.n + second.n))


def twins(arms: Iterable[ArmGain]) -> ArmsDifference | None:
    """The A/A difference of a match's standings: the control and its second arm; None without one."""
    known = [arm for arm in arms if arm.gain is not None]
    for twin in (arm for arm in known if arm.role == "a/a"):
        for arm in known:
            if arm.program_id == twin.program_id and arm.role != "a/a":
                return arms_difference(arm, twin)
    return None


def decision_of(event: Mapping[str, JsonValue]) -> Decision:
    """The decision of a `champion` event."""
    return read_as(Decision, event["decision"])

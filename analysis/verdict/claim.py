"""The claim of a study, one pre-declared one-sided test on a stream that nothing else has used; and the decision.

On several tasks it is still one test, of the mean over tasks of champion minus stock, each divided by the task's scale:
stock's mean gain in the search (`analysis.views.scales`). The scales are known before the first run of the
confirmation, from other runs, so the test is of a linear form and holds its level however little stock gains anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis.statistics import Estimate, mean_interval, mean_over_tasks, ratio, shared_error, skewed_difference
from analysis.verdict.decision import (
    BETTER,
    ArmsDifference,
    Compared,
    Decision,
    OnOneTask,
    arms_difference,
    state_of,
)
from analysis.verdict.decision import LEVEL as LEVEL
from analysis.views.scales import GainScale
from programs.program import Program

STOCK, TWIN, OWN, START, LEARNT = "control", "a/a", "own", "start", "learnt"  # roles
Gains = Mapping[str, Sequence[float]]  # role → gains of its runs


@dataclass(frozen=True)
class Claim:
    """The result of the confirmation. Gains in the task's unit, positive is better; two-sided 95% intervals. Over
    several tasks the means are those over the tasks, each in its scale, and ``tasks`` holds each of them.

    ``tested``: the reference, the user's own program where it is an arm (its name is then `OWN`), else stock, with the
    runs of its A/A arm; ``aa`` compares the two on each task. ``beside``: stock beside an own program. ``p``: the
    one-sided Welch test of champion minus reference, corrected for skewness (`analysis.statistics.Estimate`): the one
    test that the study announces, at LEVEL. ``bare``: the champion without its ideas. ``start``: the program that the
    champion started from, ``learnt``: one with ideas learnt on other tasks; each where it is an arm, with its name
    given later, and nothing is tested on them.
    """

    champion: Estimate
    tested: Compared
    p: float
    beside: Compared | None = None
    bare: Estimate | None = None
    tasks: tuple[OnOneTask, ...] = ()
    aa: tuple[ArmsDifference, ...] = ()
    start: Compared | None = None
    learnt: Compared | None = None

    @property
    def stock(self) -> Estimate:
        return (self.beside or self.tested).gain

    @property
    def holds(self) -> bool:
        """Whether it is announced."""
        return state_of(self.p) == BETTER


@dataclass(frozen=True)
class Against:
    """The reference of the gains: the baseline's metrics over the shared seeds of the stream, and for each role the
    share of its verifications that were compared with them (a run that failed or ended at the baseline gains exactly
    0). Without metrics the baseline is taken as known, not as a mean over a few seeds."""

    baseline: tuple[float, ...] = ()
    touched: Mapping[str, float] = field(default_factory=dict)


def claim(gains: Gains, measured: Against = Against(), on: tuple[str, str] = ("", "")) -> Claim:
    """The announced test. ``on``: name of the task and its unit, for the A/A difference."""
    aa = arms_of(gains, *on)
    gains, measured = pooled(gains, measured)
    made = _claim(
        {role for role in gains if gains[role]},
        lambda role: mean_interval(gains.get(role) or ()),
        lambda role: difference(gains, measured, role),
    )
    return replace(made, aa=aa)


def claim_over(measured_on: Sequence[tuple[GainScale, Gains, Against]]) -> Claim:
    """The announced test over several tasks. Degrees of freedom by Satterthwaite over the tasks, which are
    independent."""
    alone = [claim(gains, measured, (scale.task, scale.unit)) for scale, gains, measured in measured_on]
    tasks = tuple(
        OnOneTask(s.task, s.unit, s.size, s.of_stock, on_task.champion, on_task.tested.gain, on_task.tested.lead)
        for (s, _, _), on_task in zip(measured_on, alone, strict=True)
    )
    sides = [(*pooled(gains, measured), scale.size) for scale, gains, measured in measured_on]

    def mean(role: str) -> Estimate:
        means = [mean_interval(gains.get(role) or ()).over(size) for gains, _, size in sides]
        return mean_over_tasks(means) if all(one.n for one in means) else Estimate()

    def apart(role: str) -> Estimate:
        return mean_over_tasks([difference(gains, measured, role).over(size) for gains, measured, size in sides])

    roles = set.intersection(*({role for role in gains if gains[role]} for gains, _, _ in sides))
    return replace(_claim(roles, mean, apart), tasks=tasks, aa=tuple(each for on_task in alone for each in on_task.aa))


def _claim(
    roles: Collection[str],
    mean: Callable[[str], Estimate],
    apart: Callable[[str], Estimate],
) -> Claim:
    """``roles``: those with runs, on every task; ``apart``: champion minus the program of a role."""
    reference, champion = OWN if OWN in roles else STOCK, mean("champion")

    def beside(role: str, name: str = "") -> Compared:
        gain, lead = mean(role), apart(role)
        return Compared(name, gain, lead, ratio(champion.value, gain))

    return Claim(
        champion,
        beside(reference, OWN if reference == OWN else "stock"),
        apart(reference).one_sided(),
        beside=beside(STOCK, "stock") if reference == OWN and STOCK in roles else None,
        bare=mean("without-ideas") if "without-ideas" in roles else None,
        start=beside(START) if START in roles else None,
        learnt=beside(LEARNT) if LEARNT in roles else None,
    )


def arms_of(gains: Gains, task: str, unit: str) -> tuple[ArmsDifference, ...]:
    """The A/A difference: stock's second arm minus its first; empty where there is no second one. The error of the
    shared baseline is in both."""
    arms = [mean_interval(gains.get(role) or ()) for role in (STOCK, TWIN)]
    if not all(arm.n for arm in arms):
        return ()
    return (arms_difference(task, unit, *arms),)


def pooled(gains: Gains, measured: Against) -> tuple[Gains, Against]:
    """Stock and its A/A arm as one sample: they are the same program. No other arms are ever pooled."""
    if not (gains.get(STOCK) and gains.get(TWIN)):
        return gains, measured
    both = [*gains[STOCK], *gains[TWIN]]
    share = math.fsum(measured.touched.get(role, 0.0) * len(gains[role]) for role in (STOCK, TWIN)) / len(both)
    return {**gains, STOCK: both}, replace(measured, touched={**measured.touched, STOCK: share})


def difference(gains: Gains, measured: Against, role: str) -> Estimate:
    """Champion minus the program of a role."""
    touched = [measured.touched.get(side, 0.0) for side in ("champion", role)]
    return skewed_difference(gains["champion"], gains[role], shared_error(measured.baseline, *touched))


@dataclass(frozen=True)
class Champion:
    program: Program
    decision: Decision


def named(tested: Compared, own: str) -> Compared:
    """The reference of a claim, with the name of the user's program where it is that."""
    return replace(tested, name=own) if tested.name == OWN else tested

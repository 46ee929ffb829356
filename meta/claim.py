"""The claim of a study: one pre-declared one-sided test on a stream that nothing else has used.

On several tasks it is still one test, of the mean over tasks of champion minus stock, each divided by the task's scale:
stock's mean gain in the search (`analysis.scales`). The scales are known before the first run of the confirmation, from
other runs, so the test is of a linear form and holds its level however little stock gains anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.scales import UNIT, GainScale
from analysis.statistics import (
    ErrorEstimate,
    Mean,
    interval,
    limits,
    mean_interval,
    mean_over_tasks,
    one_sided,
    ratio,
    shared_error,
    skewed_difference,
)
from analysis.verdict.decision import BETTER, ArmGain, ArmsDifference, Compared, arms_difference, state_of
from analysis.verdict.decision import LEVEL as LEVEL

STOCK, TWIN, OWN, START, LEARNT = "control", "a/a", "own", "start", "learnt"  # roles
Gains = Mapping[str, Sequence[float]]  # role → gains of its runs


@dataclass(frozen=True)
class Claim:
    """The result of the confirmation. Gains in the task's unit, positive is better; two-sided 95% intervals. Over
    several tasks the means are those over the tasks, each in its scale, and ``tasks`` holds the claim on each of them.

    ``stock`` are the runs of stock and of its A/A arm together, ``aa`` compares the two on each
    task. ``own``: the user's own program, where it is an arm; it is then the reference, else stock is. ``start``: the
    program that the champion started from, ``learnt``: one with ideas learnt on other tasks; each where it is an arm,
    and nothing is tested on them. ``difference`` is champion
    minus reference; ``p`` its one-sided Welch test, corrected for skewness (`analysis.statistics.one_sided`): the one
    test that the study announces, at LEVEL. ``over_stock``: (difference, low, high) to stock beside an own program.
    ``families``: of a study over families, whose tasks are new members of these; n then counts tasks.
    """

    champion: Mean
    stock: Mean
    without_ideas: Mean | None
    difference: float
    low: float | None
    high: float | None
    p: float
    tasks: tuple[OnTask, ...] = ()
    aa: tuple[ArmsDifference, ...] = ()
    own: Mean | None = None
    over_stock: tuple[float, float | None, float | None] | None = None
    families: tuple[str, ...] = ()
    start: Compared | None = None
    learnt: Compared | None = None

    @property
    def reference(self) -> Mean:
        return self.own or self.stock

    @property
    def holds(self) -> bool:
        """Whether it is announced."""
        return state_of(self.p) == BETTER


@dataclass(frozen=True)
class OnTask:
    """One of several home tasks. ``scale``: what its gains are divided by, in its unit; ``of_stock``: that is stock's
    mean gain in the search, else a standard deviation between runs."""

    task: str
    unit: str
    scale: float
    of_stock: bool
    claim: Claim


@dataclass(frozen=True)
class Against:
    """The reference of the gains: the baseline's metrics over the shared seeds of the stream, and for each role the
    share of its verifications that were compared with them (a run that failed or ended at the baseline gains exactly
    0)."""

    baseline: tuple[float, ...]
    touched: Mapping[str, float]


def claim(gains: Gains, measured: Against | None = None, on: tuple[str, str] = ("", "")) -> Claim:
    """The announced test. Without ``measured`` the baseline is taken as known, not as a mean over a few seeds.

    ``on``: name of the task and its unit, for the A/A difference.
    """
    aa = arms_of(gains, *on)
    gains, measured = pooled(gains, measured)
    reference = OWN if gains.get(OWN) else STOCK
    best, stock, bare = gains["champion"], gains.get(STOCK, ()), gains.get("without-ideas")
    apart = _difference(*against_role(gains, measured, reference))
    low, high = limits(apart)

    def beside(role: str) -> Compared | None:
        if not gains.get(role):
            return None
        lead = _difference(*against_role(gains, measured, role))
        return compared(mean_interval(best), mean_interval(gains[role]), lead)

    tested = Claim(
        champion=mean_interval(best),
        stock=mean_interval(stock),
        without_ideas=mean_interval(bare) if bare else None,
        difference=apart.value,
        low=low,
        high=high,
        p=one_sided(apart),
        aa=aa,
        start=beside(START),
        learnt=beside(LEARNT),
    )
    if reference == STOCK:
        return tested
    tested = replace(tested, own=mean_interval(gains[OWN]))
    if not stock:
        return tested
    other = _difference(gains, measured)  # stock beside the user's own program, without a test
    return replace(tested, over_stock=(other.value, *limits(other)))


def claim_over(measured_on: Sequence[tuple[GainScale, Gains, Against]], families: tuple[str, ...] = ()) -> Claim:
    """The announced test over several tasks. Degrees of freedom by Satterthwaite over the tasks, which are
    independent. ``families``: whose new members the tasks are: a sample, so that the error is that between tasks."""
    tasks = [
        OnTask(s.task, s.unit, s.size, s.of_stock, claim(gains, measured, (s.task, s.unit)))
        for s, gains, measured in measured_on
    ]
    sides = [(scale, *pooled(gains, measured)) for scale, gains, measured in measured_on]
    reference = OWN if all(gains.get(OWN) for _, gains, _ in sides) else STOCK
    bare = all(gains.get("without-ideas") for _, gains, _ in sides)

    def apart(role: str) -> ErrorEstimate:
        each = [(_difference(*against_role(gains, measured, role)), scale.size) for scale, gains, measured in sides]
        return mean_over_tasks(each, drawn=bool(families))

    def mean(of: Callable[[Claim], Mean | None]) -> Mean:
        return mean_over(tasks, of, drawn=bool(families))

    def beside(role: str, of: Callable[[Claim], Compared | None]) -> Compared | None:
        if not all(gains.get(role) for _, gains, _ in sides):
            return None
        return compared(champion, mean(lambda c: gain_of(of(c))), apart(role))

    tested, champion = apart(reference), mean(lambda c: c.champion)
    low, high = limits(tested)
    result = Claim(
        champion=champion,
        stock=mean(lambda c: c.stock),
        without_ideas=mean(lambda c: c.without_ideas) if bare else None,
        difference=tested.value,
        low=low,
        high=high,
        p=one_sided(tested),
        tasks=tuple(tasks),
        aa=_arms_over(families, measured_on) if families else tuple(each for on in tasks for each in on.claim.aa),
        families=families,
        start=beside(START, lambda c: c.start),
        learnt=beside(LEARNT, lambda c: c.learnt),
    )
    if reference == STOCK:
        return result
    other, own = apart(STOCK), mean(lambda c: c.own)
    return replace(result, own=own, over_stock=(other.value, *limits(other)))


def _arms_over(
    families: tuple[str, ...], measured_on: Sequence[tuple[GainScale, Gains, Against]]
) -> tuple[ArmsDifference, ...]:
    """The A/A difference over new tasks of families, in their scales; empty without a second arm on each."""
    if not all(gains.get(STOCK) and gains.get(TWIN) for _, gains, _ in measured_on):
        return ()
    each = [(skewed_difference(gains[TWIN], gains[STOCK]), scale.size) for scale, gains, _ in measured_on]
    apart = mean_over_tasks(each, drawn=True)
    low, high = interval(apart.value, apart.se, apart.df)
    unit = measured_on[0][0].unit if len(families) == 1 else UNIT
    return (ArmsDifference(", ".join(families), unit, apart.value, low, high, len(each), len(each)),)


def compared(champion: Mean, gain: Mean, apart: ErrorEstimate) -> Compared:
    """The champion beside a program that the announced test does not use, which gets its name with the decision."""
    return Compared("", gain, apart.value, *limits(apart), ratio(champion.mean, gain))


def gain_of(other: Compared | None) -> Mean | None:
    return other.gain if other else None


def arms_of(gains: Gains, task: str, unit: str) -> tuple[ArmsDifference, ...]:
    """The A/A difference: stock's second arm minus its first; empty where there is no second one. The error of the
    shared baseline is in both."""
    first, second = (mean_interval(gains.get(role) or ()) for role in (STOCK, TWIN))
    if not first.n or not second.n:
        return ()
    return (arms_difference(*(ArmGain(None, None, task, unit, arm.n, arm.mean, arm.se) for arm in (first, second))),)


def pooled(gains: Gains, measured: Against | None) -> tuple[Gains, Against | None]:
    """Stock and its A/A arm as one sample: they are the same program. No other arms are ever pooled."""
    if not gains.get(STOCK):
        return gains, measured
    both = [gains[STOCK], gains.get(TWIN) or ()]
    joined = {role: runs_of for role, runs_of in gains.items() if role != TWIN} | {STOCK: [*both[0], *both[1]]}
    if measured is None or not both[1]:
        return joined, measured
    shares = [measured.touched.get(role, 0.0) * len(runs) for role, runs in zip((STOCK, TWIN), both, strict=True)]
    return joined, replace(measured, touched={**measured.touched, STOCK: math.fsum(shares) / len(joined[STOCK])})


def against_role(gains: Gains, measured: Against | None, reference: str) -> tuple[Gains, Against | None]:
    """The two sides under the names that the test uses: ``reference`` as control."""
    sides = {"champion": "champion", STOCK: reference}
    if measured is not None:
        measured = replace(measured, touched={name: measured.touched.get(of, 0.0) for name, of in sides.items()})
    return {name: gains[of] for name, of in sides.items()}, measured


def _difference(gains: Gains, measured: Against | None) -> ErrorEstimate:
    """Champion minus stock."""
    touched = measured.touched if measured else {}
    baseline = measured.baseline if measured else ()
    error = shared_error(baseline, touched.get("champion", 0.0), touched.get("control", 0.0))
    return skewed_difference(gains["champion"], gains["control"], error)


def mean_over(tasks: Sequence[OnTask], of: Callable[[Claim], Mean | None], drawn: bool = False) -> Mean:
    means = [(mean, on.scale) for on in tasks if (mean := of(on.claim)) is not None and mean.mean is not None]
    if len(means) < len(tasks):
        return Mean(None, None, 0, None, None)
    estimates = [(ErrorEstimate(mean.mean or 0.0, mean.se, mean.n - 1.0), size) for mean, size in means]
    middle, se, df, _ = mean_over_tasks(estimates, drawn)
    n = len(means) if drawn else min(mean.n for mean, _ in means)
    return Mean(middle, se, n, *interval(middle, se, df))

"""The decision that a study announces, made from its claim; and a sentence on each held-out task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.decision import Compared, Contributed, Decision, OnOneTask, state_of
from analysis.decision_text import gated
from analysis.figures_text import gains, skewed, times, with_interval
from analysis.found_scripts import FoundScript
from analysis.origin import Origin
from analysis.pace import Pace
from analysis.scales import UNIT
from analysis.wording import many
from meta.claim import Claim, ReservedClaim
from programs.program import Program
from trainer.cards import freshness
from trainer.task import Task


@dataclass(frozen=True)
class Champion:
    program: Program
    claim: Claim
    verdict: str
    decision: Decision
    on_reserve: tuple[ReservedClaim, ...] = ()  # on held-out tasks

    @property
    def trust(self) -> str | None:
        """The weakest of the confirmation's verifications."""
        return self.decision.trust


def decide(
    program: Program,
    claim: Claim,
    tasks: Sequence[Task],
    *,
    trust: str | None = None,
    own: str = "",
    same_as: str = "",
    match_ids: Sequence[str] = (),
    scripts: Sequence[FoundScript] = (),
    origin: Origin | None = None,
    pace: Pace | None = None,
    carries: bool = False,
    night: tuple[Contributed, ...] = (),
    continued: bool = False,
) -> Decision:
    """The decision. ``own``: name of the user's own program; ``same_as``: the program that it behaves like, if any;
    ``match_ids``: the matches behind the claim."""
    ratio = claim.ratio_stock
    reference = night[0].name if night else own if claim.own else "stock"
    over = Compared("stock", claim.stock, *claim.over_stock, ratio) if claim.over_stock and ratio else None
    return Decision(
        state=state_of(claim.p), name=program.name, unit=UNIT if claim.tasks else tasks[0].unit,
        tasks=tuple(
            OnOneTask(on.task, on.unit, on.scale, on.of_stock, on.claim.champion, on.claim.reference, on.claim.low,
                      on.claim.high, on.claim.ratio)
            for on in claim.tasks
        ),
        champion=claim.champion,
        tested=Compared(
            reference, claim.reference, claim.difference, claim.low, claim.high, claim.ratio
        ),
        p=claim.p, beside=over, bare=claim.without_ideas, bare_ratio=claim.ratio_without_ideas, aa=claim.aa,
        own=own, same_as=same_as, trust=trust, fresh=freshness.least(tasks),
        cures=tuple(dict.fromkeys(cure for task in tasks for cure in freshness.cures(task))),
        match_ids=tuple(match_ids), scripts=tuple(scripts), families=claim.families,
        origin=origin,
        start=replace(claim.start, name=origin.start) if claim.start and origin else None,
        learnt=claim.learnt, carries=carries, night=night, continued=continued,
        pace=pace, simulated=tuple(task.name for task in tasks if task.law is not None),
    )  # fmt: skip


def sentence(on: ReservedClaim) -> str:
    """The sentence of the verdict on one held-out task."""
    where = f"On the held-out task {on.task}"
    if on.claim is None:
        return f"{where}, it behaves like stock"
    measured = on.claim
    reference = "your program" if measured.own else "stock"
    both = gains(measured.champion, measured.reference, on.unit)
    difference = with_interval(measured.difference, measured.low, measured.high)
    figures = f"gain {both} of {reference}"
    middle = skewed(measured.difference, measured.low, measured.high).replace(" The", "; the").removesuffix(".")
    ratio = times(measured.reference, measured.ratio, measured)
    if on.variant:
        return f"{where} (an estimate, not part of the test): {figures}{ratio}, difference {difference}{middle}"
    if measured.families:
        where = f"On {many(measured.champion.n, 'held-out task')} of the family {on.task}"
    tested = f"p = {on.p_adjusted:.2g} after Holm"
    beats = (
        f"beats {reference} too{ratio.replace(', ', ' and gains ', 1)}"
        if on.holds
        else f"is not shown to beat {reference}"
    )
    beats += gated(on.holds, on.p_adjusted)
    return f"{where}, it {beats} ({figures}, difference {difference}; {tested}){middle}"

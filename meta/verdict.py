"""The decision that a study announces, made from its claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.scales import UNIT
from analysis.statistics import ratio
from analysis.verdict.decision import Compared, Contributed, Decision, HeldOut, OnOneTask, state_of
from analysis.verdict.origin import Origin
from meta.claim import Claim
from programs.program import Program
from trainer.cards import freshness
from trainer.task import Task


@dataclass(frozen=True)
class Champion:
    program: Program
    decision: Decision


def decide(
    program: Program,
    claim: Claim,
    tasks: Sequence[Task],
    *,
    own: str = "",
    origin: Origin | None = None,
    night: tuple[Contributed, ...] = (),
) -> Decision:
    """The decision. ``own``: name of the user's own program."""
    reference = night[0].name if night else own if claim.own else "stock"
    on_stock = ratio(claim.champion.mean, claim.stock)
    return Decision(
        state=state_of(claim.p), name=program.name,
        unit=tasks[0].unit if not claim.tasks or len(claim.families) == 1 else UNIT,
        tasks=() if claim.families else tuple(
            OnOneTask(on.task, on.unit, on.scale, on.of_stock, on.claim.champion, on.claim.reference, on.claim.low,
                      on.claim.high)
            for on in claim.tasks
        ),
        champion=claim.champion, tested=tested_of(claim, reference), p=claim.p,
        beside=Compared("stock", claim.stock, *claim.over_stock, on_stock) if claim.over_stock else None,
        bare=claim.without_ideas, aa=claim.aa, own=own, fresh=freshness.least(tasks), families=claim.families,
        origin=origin, start=replace(claim.start, name=origin.start) if claim.start and origin else None,
        learnt=claim.learnt, night=night, simulated=tuple(task.name for task in tasks if task.law is not None),
    )  # fmt: skip


def tested_of(claim: Claim, name: str) -> Compared:
    """The champion beside the reference of the claim."""
    times = ratio(claim.champion.mean, claim.reference)
    return Compared(name, claim.reference, claim.difference, claim.low, claim.high, times)


def held_out(
    task: str, unit: str, claim: Claim | None, p: float | None, holds: bool, variant: bool = False
) -> HeldOut:  # fmt: skip
    """The result on a held-out task; see `HeldOut`."""
    tested = tested_of(claim, "your program" if claim.own else "stock") if claim else None
    return HeldOut(task, unit, claim.champion if claim else None, tested, p, holds, variant)

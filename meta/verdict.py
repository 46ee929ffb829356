"""A claim as a sentence for people: what was confirmed, or that nothing was."""

from __future__ import annotations

from analysis.scales import UNIT
from analysis.statistics import Mean, Ratio
from analysis.trust import marked
from meta.claim import Claim, Elsewhere
from programs.program import Program


def verdict(program: Program, claim: Claim, unit: str, trust: str | None = None) -> str:
    """One sentence that says what was confirmed, or that nothing was, and how little it can be trusted if so."""
    doubt = f"; {marked(trust)}" if marked(trust) else ""
    figures = f"{gains(claim, unit)}; {claim.champion.n} and {claim.stock.n} fresh runs"
    if claim.tasks:
        figures = f"{over(claim)}; {claim.champion.n} and {claim.stock.n} fresh runs on each"
    if not claim.holds:
        return f"{program.name} is not shown to beat stock ({figures}; one-sided p = {claim.p:.2g}){doubt}"
    return f"{program.name} beats stock{times(claim.ratio)} ({figures}; one-sided p = {claim.p:.2g}){doubt}"


def gains(claim: Claim, unit: str) -> str:
    return f"gain {figure(claim.champion)} {unit} against {figure(claim.stock)} of stock"


def over(claim: Claim) -> str:
    """The figures of a claim over several tasks, and of each of them."""
    apart = f"{claim.difference:.4g}"
    if claim.low is not None and claim.high is not None:
        apart += f" [{claim.low:.4g}, {claim.high:.4g}]"
    told = [f"on {on.task} {gains(on.claim, on.unit)}{times(on.claim.ratio)}" for on in claim.tasks]
    return f"mean over {len(told)} tasks, {apart} {UNIT} apart; {'; '.join(told)}"


def sentence(found: Elsewhere) -> str:
    """One reserved task for people, as the verdict goes on."""
    if found.claim is None:
        return f"on {found.task}, which evolution never saw, it behaves like stock"
    there = found.claim
    figures = f"gain {figure(there.champion)} {found.unit} against {figure(there.stock)} of stock"
    tested = f"p = {found.p_adjusted:.2g} after Holm"
    if found.holds:
        return (
            f"on {found.task}, which evolution never saw, it beats stock too{times(there.ratio)} ({figures}; {tested})"
        )
    return f"on {found.task}, which evolution never saw, it is not shown to beat stock ({figures}; {tested})"


def figure(mean: Mean) -> str:
    if mean.mean is None:
        return "not measured"
    if mean.low is None or mean.high is None:
        return f"{mean.mean:.4g}"
    return f"{mean.mean:.4g} [{mean.low:.4g}, {mean.high:.4g}]"


def times(ratio: Ratio) -> str:
    if ratio.ratio is None:
        return ""
    bound = "no lower bound" if ratio.lower is None else f"at least {ratio.lower:.2f}"
    return f", {ratio.ratio:.2f} times its gain ({bound})"

"""The prose of a study's card: figures, evolution's own share, held-out tasks, A/A."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis import night_text
from analysis.decision import Decision
from analysis.decision_text import OTHER_LOAD, result, tested_p
from analysis.figures_text import difference, differs, with_interval
from analysis.own_share import not_by_evolution, start_of
from analysis.report.rows import HeldOutResult
from analysis.wording import many

MOST_NAME = 40  # characters of a name
STOCK = "Stock: the plain loop."


def short_names(d: Decision) -> Decision:
    """The decision with names that a card has room for."""
    return replace(
        d,
        name=short(d.name),
        own=short(d.own),
        tested=replace(d.tested, name=short(d.tested.name)),
        origin=d.origin and replace(d.origin, start=short(d.origin.start)),
    )


def short(name: str) -> str:
    return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"


def card_headline(d: Decision) -> str:
    """The result, and what evolution did not add to it; the difference is in the line below."""
    return f"{result(d)}{not_by_evolution(d)}"


def verdict_lines(d: Decision, held_out: Sequence[HeldOutResult]) -> list[str]:
    if d.night:
        return [f"{night_text.turns(d)}."]
    counted = many(d.champion.n, "new task") if d.families else f"{many(d.champion.n, 'run')} against {d.tested.gain.n}"
    figures = f"{difference(d.tested, d.unit, d.digits)}, {counted}, one-sided p {tested_p(d.p)}."
    load = f"{OTHER_LOAD}." if d.pace and d.pace.other_load else ""
    checks = " ".join(filter(None, (held_out_task(held_out), load, aa_difference(d))))
    return [line for line in (figures, own_share(d), checks) if line]


def own_share(d: Decision) -> str:
    """What evolution added to the program that the champion started from; empty without a lead, and where the announced
    test compares the two."""
    start = start_of(d)
    if start is None:
        return ""
    if not start.steps:
        return f"The champion is {start.first}."
    if d.start is None:
        return "Evolution's own share is not known."
    share = f"Evolution's own share: {difference(d.start, '', d.digits)}"
    return f"{share}." if differs(d.start) else f"{share}, not significant."


def held_out_task(results: Sequence[HeldOutResult]) -> str:
    """The difference on the one held-out task; of several, on how many the champion is significantly better."""
    ran = [on for on in results if on["claim"] is not None]
    tested = [on for on in ran if not on.get("variant")]
    if len(tested) > 1:
        ahead = sum(on["holds"] for on in tested)
        return f"Significantly better on {ahead} of {many(len(results), 'held-out task')}."
    if not ran or (claim := (tested or ran)[0]["claim"]) is None:
        return "Held-out task: behaves like stock." if results else ""
    apart = with_interval(claim["difference"], claim["low"], claim["high"], (tested or ran)[0]["unit"])
    clear = "" if not tested else ", significant" if tested[0]["holds"] else ", not significant"
    return f"Held-out task: {apart}{clear}."


def aa_difference(d: Decision) -> str:
    """On the first task of several."""
    if not d.aa:
        return ""
    first = d.aa[0]
    unit = "" if first.unit == d.unit else first.unit
    return f"A/A: {with_interval(first.difference, first.low, first.high, unit)}."

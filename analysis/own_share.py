"""What evolution added to the program that the champion started from, as text."""

from __future__ import annotations

from analysis.decision import Decision, shown_larger
from analysis.figures_text import difference, differs, gains, skewed
from analysis.origin import Origin
from analysis.wording import interval_decimals, number


def compared(d: Decision) -> list[str]:
    """Names of the programs that the announced test compares the champion with."""
    return [d.tested.name, *([d.own] if d.same_as == "stock" else [])]


def start_of(d: Decision) -> Origin | None:
    """Where a champion with a lead comes from; None where the announced test itself compares the two."""
    return d.origin if d.holds and d.origin is not None and d.origin.start not in compared(d) else None


def as_good(d: Decision) -> Origin | None:
    """Where a changed champion comes from, if the match shows no gain over that program."""
    start = start_of(d)
    known = start is not None and start.steps and d.start is not None and d.start.low is not None
    return start if known and d.start is not None and (d.start.low or 0.0) <= 0 else None


def not_by_evolution(d: Decision) -> str:
    """The end of a headline with a lead that evolution did not earn; empty where it did, or where that is unknown."""
    start = start_of(d)
    if start is not None and not start.steps:
        return "; evolution kept the program that it started from"
    if d.start is None or (start := as_good(d)) is None:
        return ""
    if differs(d.start):
        return f"; evolution made {start.first} worse"
    earned = f"{start.first} did it, " if shown_larger(d.start.gain, d.tested.gain) else ""
    return f"; {earned}evolution added nothing measurable"


def own_share(d: Decision) -> str:
    """Who earned the lead: what evolution added to the program it started from, in a sentence. Empty without a lead,
    where the announced test compares the two, and where evolution changed nothing, which ``origin`` says."""
    start = start_of(d)
    if start is None or not start.steps:
        return ""
    what = f"Evolution's own share, the champion's gain minus that of {start.first} that it started from, is"
    if d.start is None:
        return f"{what} not known, because that program did not run in this match."
    digits = interval_decimals(d.start.low, d.start.high)
    known = "" if d.start.low is not None else " (one run each)"
    clear = "" if differs(d.start) else ", which is not significant"
    middle = skewed(d.start.difference, d.start.low, d.start.high)
    return (
        f"{what} {difference(d.start, d.unit)}{known}{clear}.{middle} That program gains "
        f"{number(d.start.gain.mean, digits)} {d.unit} in the same match."
    )


def first_program(d: Decision) -> str:
    """That the program which the champion started from did as well, and how to get it; empty if that is not so."""
    start = as_good(d)
    if d.start is None or start is None:
        return ""
    return (
        f"In the confirmation, {start.first} gains {gains(d.start.gain, d.champion, d.unit)} of the champion that was "
        f"evolved from it. metaloop export STUDY --program {start.start} --prose -o FILE writes it."
    )

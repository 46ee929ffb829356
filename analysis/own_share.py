"""What evolution added to the program that the champion started from, as text."""

from __future__ import annotations

import shlex

from analysis.decision import Compared, Decision, shown_larger
from analysis.figures_text import difference, differs, skewed
from analysis.origin import Origin
from analysis.statistics import Mean
from analysis.wording import number

MOST, NEARLY_ALL = 0.5, 0.9  # of a lead that the program it started from has as well
STUDY = "STUDY"  # in a command line, where the folder is not known


def compared(d: Decision) -> list[str]:
    """Names of the programs that the announced test compares the champion with."""
    return [d.tested.name, *([d.own] if d.same_as == "stock" else [])]


def start_of(d: Decision) -> Origin | None:
    """Where a champion with a lead comes from; None where the announced test itself compares the two."""
    return d.origin if d.holds and d.origin is not None and d.origin.start not in compared(d) else None


def as_good(d: Decision) -> Origin | None:
    """Where a changed champion comes from, if the match shows that this program earned the lead, and no gain over it:
    it beats stock as well, or is shown to be better than the champion."""
    start = start_of(d)
    if start is None or not start.steps or d.start is None or d.start.low is None or d.start.low > 0:
        return None
    return start if differs(d.start) or shown_larger(d.start.gain, d.tested.gain) else None


def not_by_evolution(d: Decision) -> str:
    """The end of a headline with a lead that evolution did not earn; empty where it did, or where that is unknown."""
    start = start_of(d)
    if start is not None and not start.steps:
        return f"; evolution found nothing better than {d.name}"
    if d.start is None or (start := as_good(d)) is None:
        return ""
    if differs(d.start):
        return f"; evolution made {start.first} worse"
    lead, added = d.tested.difference, d.start.difference
    share = 1 - added / lead if lead and added is not None else 0.0
    if share < MOST:
        return f"; its lead over {start.first} that it started from is not significant"
    how_much = "nearly all" if share >= NEARLY_ALL else "most"
    return f"; {how_much} of the lead comes from {start.first} that it started from"


def own_share(d: Decision) -> str:
    """Who earned the lead: what evolution added to the program it started from, in a sentence. Empty without a lead,
    where the announced test compares the two, and where evolution changed nothing, which ``origin`` says."""
    start = start_of(d)
    if start is None or not start.steps:
        return ""
    what = "Evolution's own share, the champion's gain minus that of the program it started from"
    if d.start is None:
        return f"{what}, is not known, because that program did not run in this match."
    middle = skewed(d.start.difference, d.start.low, d.start.high)
    return f"{what} ({in_match(d.start.gain, d)}), is {lead_over(d.start, d)}.{middle}"


def in_match(gain: Mean, d: Decision) -> str:
    return f"{number(gain.mean, d.digits)} {d.unit} in the same match"


def lead_over(other: Compared, d: Decision) -> str:
    """The champion's gain minus that of another arm, from how many runs, and whether it is significant."""
    runs = f"{d.champion.n} and {other.gain.n} {'new tasks' if d.families else 'runs'}"
    known = "one run each" if other.low is None else runs
    clear = "" if differs(other) else ", which is not significant"
    return f"{difference(other, d.unit, d.digits)} ({known}){clear}"


def beside_learnt(d: Decision) -> str:
    """What a start from other tasks would have given, in a sentence; empty where none ran."""
    if d.learnt is None:
        return ""
    return (
        "A program with ideas learnt on other tasks, from which this study did not start, gains "
        f"{in_match(d.learnt.gain, d)}; the champion's gain minus that is {lead_over(d.learnt, d)}."
    )


def memory(d: Decision) -> str:
    """How much of the champion's gain its ideas carry, which fit the tasks of this study; empty where the champion did
    not run without them."""
    answer = "The champion's first idea is this study's best script. " * d.carries
    if d.bare is None or d.bare.mean is None:
        return answer.rstrip()
    gained = number(d.champion.mean, d.digits)
    return f"{answer}Without its ideas, the champion gains {in_match(d.bare, d)}, with them {gained}."


def export_first(start: Origin, study: str, target: str = "start.md") -> str:
    """Roles of a learnt list (``@learning_rate=0.03?``) mean nothing to an agent, so it is written for one."""
    return f"metaloop export {study} --for agent --program {shlex.quote(start.start)} -o {target}"


def first_program(d: Decision, study: str = STUDY) -> str:
    """That the champion is not shown to be better than the program that it started from (``own_share`` has the
    figures), and how to get that; else empty. ``study``: its folder as a word of a command line, where that is known.
    """
    start = as_good(d)
    if d.start is None or start is None:
        return ""
    shown = "is shown to gain less" if differs(d.start) else "is not shown to gain more"
    said = f"{d.name} {shown} than {start.first}, from which it was evolved."
    return f"{said} To get that program: {export_first(start, study)}."

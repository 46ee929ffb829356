"""The differences between two programs, directive by directive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from bisect import bisect_left
from difflib import SequenceMatcher

from programs.directives import CHARTER, ORDER, Directive
from programs.program import Program

SIMILAR = 0.6
Rank = tuple[float, int, int, int]


@dataclass(frozen=True)
class Diff:
    """Directives that only one program has, and pairs (old, new) that are versions of each other."""

    added: tuple[Directive, ...]
    removed: tuple[Directive, ...]
    changed: tuple[tuple[Directive, Directive], ...]


def diff(old: Program, new: Program) -> Diff:
    """Directives with the same id are equal; otherwise the most similar text under the same heading is a change.

    Texts must have a similarity of at least 0.6. Charter fields are always paired by name, and the order of the ideas
    with the order of the ideas. The result is the same on every machine.
    """
    removed, added = _only(old, new), _only(new, old)
    changed = []
    for _, before, after in sorted(_candidates(removed, added), key=lambda ranked: ranked[0]):
        if before in removed and after in added:
            removed.remove(before)
            added.remove(after)
            changed.append((before, after))
    changed.sort(key=lambda pair: pair[1].position)
    return Diff(tuple(added), tuple(removed), tuple(changed))


def _only(program: Program, other: Program) -> list[Directive]:
    known = {d.directive_id for d in other.directives}
    return [d for d in program.directives if d.directive_id not in known]


def moved(old: Program, new: Program) -> list[tuple[Directive, int, int]]:
    """The ideas whose moves turn the old order into the new one, with their old and new place in the whole lists, from
    1; those of the longest equal runs stay."""
    before, after = ([d.directive_id for d in program.directives if d.kind == "idea"] for program in (old, new))
    was, now = [one for one in before if one in after], [one for one in after if one in before]
    runs = SequenceMatcher(None, was, now, autojunk=False).get_matching_blocks()
    stay = {one for run in runs for one in now[run.b : run.b + run.size]}
    ideas = {d.directive_id: d for d in new.directives}
    return [(ideas[one], before.index(one) + 1, after.index(one) + 1) for one in now if one not in stay]


def _candidates(
    removed: Sequence[Directive], added: Sequence[Directive]
) -> Iterator[tuple[Rank, Directive, Directive]]:
    """Pairs that may be versions of each other, ranked by similarity, then distance, then order."""
    matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
    for after in added:
        matcher.set_seq2(after.text)  # difflib caches its analysis of the second sequence
        for index, before in enumerate(removed):
            if _slot(before) == _slot(after):
                matcher.set_seq1(before.text)
                ratio = min(matcher.real_quick_ratio(), matcher.quick_ratio())
                ratio = matcher.ratio() if ratio >= SIMILAR else 0.0
                if ratio >= SIMILAR or before.kind in (CHARTER, ORDER):
                    yield (-ratio, abs(before.position - after.position), after.position, index), before, after


def _slot(directive: Directive) -> tuple[str, str]:
    """What the versions of a directive have in common."""
    if directive.kind == CHARTER:
        return CHARTER, directive.text.partition(":")[0]
    return (ORDER, "") if directive.kind == ORDER else ("", directive.heading)

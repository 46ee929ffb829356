"""The differences between two programs, directive by directive."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from programs.directives import CHARTER, ORDER, Directive
from programs.program import Program

SIMILAR = 0.6
MOST_PAIRED = 100_000_000  # characters of one program times those of the other, where both differ
Rank = tuple[float, int, int, int]


@dataclass(frozen=True)
class Diff:
    """Directives that only one program has, and pairs (old, new) that are versions of each other."""

    added: tuple[Directive, ...]
    removed: tuple[Directive, ...]
    changed: tuple[tuple[Directive, Directive], ...]


def diff(old: Program, new: Program) -> Diff:
    """Directives with the same id are equal; otherwise the most similar text under the same heading is a change.

    Texts must have a similarity of at least 0.6; beyond MOST_PAIRED they are all removed and added. Charter fields are
    always paired by name, and the order of the ideas with the order of the ideas. The result is the same on every
    machine.
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
    1; as many as possible stay."""
    before = {d.directive_id: position for position, d in enumerate(_ideas(old), 1)}
    both = [
        (d, before[d.directive_id], position) for position, d in enumerate(_ideas(new), 1) if d.directive_id in before
    ]
    stay = _longest_rising([position for _, position, _ in both])
    return [moved for moved in both if moved[1] not in stay]


def _ideas(program: Program) -> list[Directive]:
    return [directive for directive in program.directives if directive.kind == "idea"]


def _longest_rising(places: Sequence[int]) -> set[int]:
    """The places of a longest part of the list, gaps allowed, that rises."""
    ends: list[int] = []  # of a rising part of each length, the smallest last place
    before: dict[int, int | None] = {}
    for position in places:
        length = bisect_left(ends, position)
        before[position] = ends[length - 1] if length else None
        ends[length : length + 1] = [position]
    stay, last = set[int](), ends[-1] if ends else None
    while last is not None:
        stay.add(last)
        last = before[last]
    return stay


def _candidates(
    removed: Sequence[Directive], added: Sequence[Directive]
) -> Iterator[tuple[Rank, Directive, Directive]]:
    """Pairs that may be versions of each other, ranked by similarity, then distance, then order."""
    matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
    characters = [
        sum(len(directive.text) for directive in directives if directive.kind != ORDER)
        for directives in (removed, added)
    ]
    is_compared = characters[0] * characters[1] <= MOST_PAIRED
    for after in added:
        matcher.set_seq2(after.text)  # difflib caches its analysis of the second sequence
        for index, before in enumerate(removed):
            if _slot(before) == _slot(after):
                ratio = 1.0 if before.kind in (CHARTER, ORDER) else 0.0
                if not ratio and is_compared:
                    matcher.set_seq1(before.text)
                    ratio = min(matcher.real_quick_ratio(), matcher.quick_ratio())
                    ratio = matcher.ratio() if ratio >= SIMILAR else 0.0
                if ratio >= SIMILAR:
                    yield (-ratio, abs(before.position - after.position), after.position, index), before, after


def _slot(directive: Directive) -> tuple[str, str]:
    """What the versions of a directive have in common."""
    if directive.kind == CHARTER:
        return CHARTER, directive.text.partition(":")[0]
    return (ORDER, "") if directive.kind == ORDER else ("", directive.heading)

"""The differences between two programs, directive by directive."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from programs.directives import CHARTER, ORDER, Directive
from programs.program import Program

SIMILAR = 0.6
SHOWN = 60  # characters of an idea that moved
Rank = tuple[float, int, int, int]


@dataclass(frozen=True)
class Diff:
    """Directives that only one program has, and pairs (old, new) that are versions of each other."""

    added: tuple[Directive, ...]
    removed: tuple[Directive, ...]
    changed: tuple[tuple[Directive, Directive], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff(old: Program, new: Program) -> Diff:
    """Directives with the same id are equal; otherwise the most similar text under the same heading is a change.

    Texts must have a similarity of at least 0.6. Charter fields are always paired by name, and the order of the ideas
    with the order of the ideas.
    """
    old_ids = {d.directive_id for d in old.directives}
    new_ids = {d.directive_id for d in new.directives}
    removed = [d for d in old.directives if d.directive_id not in new_ids]
    added = [d for d in new.directives if d.directive_id not in old_ids]
    changed = []
    for _, before, after in sorted(_candidates(removed, added), key=lambda ranked: ranked[0]):
        if before in removed and after in added:
            removed.remove(before)
            added.remove(after)
            changed.append((before, after))
    changed.sort(key=lambda pair: pair[1].position)
    return Diff(tuple(added), tuple(removed), tuple(changed))


@dataclass(frozen=True)
class MovedIdea:
    """An idea at another place among the ideas that both programs have; places count from 1 in each whole list."""

    idea: Directive
    name: str
    before: int
    after: int
    last: bool  # of the new list

    def __str__(self) -> str:
        return f'"{self.name}" from place {self.before} to {self.after}{", the last" if self.last else ""}'


def moved(old: Program, new: Program) -> list[MovedIdea]:
    """The fewest ideas whose moves turn the old order into the new one."""
    before, after = (_ideas(program) for program in (old, new))
    both = [one for one in after if one in before]
    # The longest run of ideas that kept their order: of each idea, the best run that ends with it.
    runs: list[list[str]] = []
    for one in both:
        earlier = [run for run in runs if before[run[-1]].position < before[one].position]
        runs.append([*_longest(earlier), one])
    kept = set(_longest(runs))
    words = Counter(_words(one.text) for one in after.values())
    positions = [{one: at for at, one in enumerate(program, 1)} for program in (before, after)]
    return [
        MovedIdea(
            after[one],
            _short(_words(after[one].text, words)),
            positions[0][one],
            positions[1][one],
            positions[1][one] == len(after),
        )
        for one in both
        if one not in kept
    ]


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _words(text: str, others: Mapping[str, int] | None = None) -> str:
    """What names an idea: its words before the first edit, or its edits where another one (``others``: how many have
    the same words) begins alike; a short text is its own name."""
    begin, mark, _ = text.partition("`")
    if others is None:
        return begin or text
    if others[begin or text] > 1 and mark:
        return " ".join(re.findall(r"`[^`]+`", text))
    return text if len(text) <= SHOWN else begin.rstrip(" :") or text


def _longest(runs: Sequence[list[str]]) -> list[str]:
    return max(runs, key=len) if runs else []


def _ideas(program: Program) -> dict[str, Directive]:
    """By id, in their order."""
    return {d.directive_id: d for d in program.directives if d.kind == "idea"}


def _candidates(
    removed: Sequence[Directive], added: Sequence[Directive]
) -> Iterator[tuple[Rank, Directive, Directive]]:
    """Pairs that may be versions of each other, ranked by similarity, then distance, then order.

    The ranking is the same on every machine.
    """
    matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
    for after in added:
        matcher.set_seq2(after.text)  # difflib caches its analysis of the second sequence
        for index, before in enumerate(removed):
            if _comparable(before, after):
                matcher.set_seq1(before.text)
                special = before.kind in (CHARTER, ORDER)
                ratio = _ratio(matcher)
                if special or ratio >= SIMILAR:
                    yield (-ratio, abs(before.position - after.position), after.position, index), before, after


def _comparable(before: Directive, after: Directive) -> bool:
    if CHARTER in (before.kind, after.kind):
        return before.kind == after.kind and _field(before) == _field(after)
    if ORDER in (before.kind, after.kind):
        return before.kind == after.kind
    return before.heading == after.heading


def _ratio(matcher: SequenceMatcher[str]) -> float:
    """The similarity of the matcher's two texts; 0 if it is below SIMILAR."""
    if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < SIMILAR:
        return 0.0
    return matcher.ratio()


def _field(directive: Directive) -> str:
    return directive.text.partition(":")[0]

"""What changed between two programs, directive by directive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from programs.directives import CHARTER, ORDER, Directive
from programs.program import Program

SIMILAR = 0.6


@dataclass(frozen=True)
class Diff:
    """Directives that only one program has, and pairs (old, new) that are versions of each other."""

    added: tuple[Directive, ...]
    removed: tuple[Directive, ...]
    changed: tuple[tuple[Directive, Directive], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff(old: Program, new: Program) -> Diff:
    """Same id is the same; else the most similar text under the same heading (ratio ≥ 0.6) is a change.

    Charter fields are paired by name and the order of the ideas with the order, however little they resemble.
    """
    old_ids = {d.directive_id for d in old.directives}
    new_ids = {d.directive_id for d in new.directives}
    removed = [d for d in old.directives if d.directive_id not in new_ids]
    added = [d for d in new.directives if d.directive_id not in old_ids]
    changed = []
    for before, after in sorted(_candidates(removed, added), key=lambda pair: _rank(*pair)):
        if before in removed and after in added:
            removed.remove(before)
            added.remove(after)
            changed.append((before, after))
    changed.sort(key=lambda pair: pair[1].position)
    return Diff(tuple(added), tuple(removed), tuple(changed))


def _candidates(removed: Sequence[Directive], added: Sequence[Directive]) -> Iterator[tuple[Directive, Directive]]:
    for before in removed:
        for after in added:
            if _may_match(before, after):
                yield before, after


def _may_match(before: Directive, after: Directive) -> bool:
    if CHARTER in (before.kind, after.kind):
        return before.kind == after.kind and _field(before) == _field(after)
    if ORDER in (before.kind, after.kind):
        return before.kind == after.kind
    return before.heading == after.heading and _ratio(before, after) >= SIMILAR


def _ratio(before: Directive, after: Directive) -> float:
    matcher = SequenceMatcher(None, before.text, after.text, autojunk=False)
    if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < SIMILAR:
        return 0.0
    return matcher.ratio()


def _rank(before: Directive, after: Directive) -> tuple[float, int, int]:
    """Most similar first, then nearest, then in order: the same pairs on every machine."""
    return -_ratio(before, after), abs(before.position - after.position), after.position


def _field(directive: Directive) -> str:
    return directive.text.partition(":")[0]

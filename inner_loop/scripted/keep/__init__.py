"""Keep rules decide whether a candidate replaces its parent: one rule per file, made from the charter's section
`keep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs.charter import KEEP_RULES

if TYPE_CHECKING:
    from inner_loop.contracts import KeepRule
    from programs.charter import Keep


def make(keep: Keep) -> KeepRule:
    """The rule that a charter names."""
    rule: KeepRule = KEEP_RULES.get(keep.rule)(keep)
    return rule

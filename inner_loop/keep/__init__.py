"""What replaces what is kept: one rule per file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inner_loop.citations import Citations
    from inner_loop.contracts import KeepRule
    from programs.charter import Keep


def make(keep: Keep, citations: Citations) -> KeepRule:
    """The rule that a charter names."""
    from inner_loop.keep.better import Better
    from inner_loop.keep.margin import Margin
    from inner_loop.keep.paired import Paired

    if keep.rule == "margin":
        return Margin(keep.margin, citations.cite("keep.rule", "keep.margin"))
    if keep.rule == "paired":
        return Paired(keep.pairs, citations.cite("keep.rule", "keep.pairs"))
    return Better()
